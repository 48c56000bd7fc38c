"""
title: Direct Uploads
author: The OpenRouter pipe maintainers
description: Gives the model the files you attach, instead of what Open WebUI finds in them.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

import logging
import sys
from fnmatch import fnmatchcase
from mimetypes import guess_type
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

LOG = logging.getLogger(__name__)
MEGABYTE = 1024 * 1024
DOCUMENTS = "application/pdf,text/plain,text/markdown,application/json,text/csv"
FILMS = "video/mp4,video/mpeg,video/quicktime,video/webm"
SPOKEN = {"audio": "sound", "video": "video"}


# A value that is refused would end the chat, so what cannot be read counts as the default.
def whole(least: int, most: int, default: int) -> BeforeValidator:
    """Read a number between these two."""

    def read(value: Any) -> int:
        try:
            return max(least, min(most, int(float(value))))
        except (TypeError, ValueError, OverflowError):
            return default

    return BeforeValidator(read)


def read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


Text = Annotated[str, BeforeValidator(read_text)]
Switch = Annotated[bool, BeforeValidator(lambda value: value if value in (True, False) else True)]
TYPES = "Media types, comma-separated, `*` for any ending; others stay with Open WebUI."


class Filter:
    """A switch in the chat: with it on, files go to the model, and not into retrieval."""

    class Valves(BaseModel):
        """What holds for everyone; what it keeps back stays in Open WebUI's retrieval."""

        priority: Annotated[int, whole(-1000, 1000, 0)] = Field(
            default=0, description="Where it stands among other filters; the lowest comes first."
        )
        DIRECT_TOTAL_PAYLOAD_MAX_MB: Annotated[int, whole(1, 500, 50)] = Field(
            default=50,
            title="All files of a request (MB)",
            description="The newest files go out until this is reached.",
        )
        DIRECT_MAX_FILES: Annotated[int, whole(1, 100, 20)] = Field(
            default=20, title="Files per request", description="The newest ones count."
        )
        DIRECT_FILE_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 50)] = Field(
            default=50, title="Largest document (MB)"
        )
        DIRECT_AUDIO_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 25)] = Field(
            default=25, title="Largest recording (MB)"
        )
        DIRECT_VIDEO_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 20)] = Field(
            default=20, title="Largest video (MB)"
        )
        DIRECT_FILE_MIME_ALLOWLIST: Text = Field(
            default=DOCUMENTS, title="Types of documents", description=TYPES
        )
        DIRECT_AUDIO_MIME_ALLOWLIST: Text = Field(
            default="audio/*", title="Types of recordings", description=TYPES
        )
        DIRECT_VIDEO_MIME_ALLOWLIST: Text = Field(
            default=FILMS, title="Types of videos", description=TYPES
        )

    class UserValves(BaseModel):
        """What each user sends while the switch is on."""

        DIRECT_FILES: Switch = Field(default=True, title="Documents")
        DIRECT_AUDIO: Switch = Field(default=True, title="Recordings")
        DIRECT_VIDEO: Switch = Field(default=True, title="Videos")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Cpath d='M13 3H6v18h12V8"
            "zm0 0v5h5M12 18v-7m-3 3 3-3 3 3'/%3E%3C/svg%3E"
        )

    async def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __model__: dict[str, Any] | None = None,
        __user__: dict[str, Any] | None = None,
        __id__: str = "",
    ) -> dict[str, Any]:
        """Take files out of Open WebUI's retrieval, and tell the pipe to send them."""
        pipe_id, model_id = __id__.removesuffix("_direct_uploads"), base_of(__model__ or {})
        uploads = [file for file in body.get("files") or [] if is_upload(file)]
        files = {file["id"]: file for file in uploads if file["id"] not in known_to(__model__)}
        if not files or not model_id.startswith(f"{pipe_id}."):
            return body
        own = (__user__ or {}).get("valves")
        wanted = own if isinstance(own, self.UserValves) else self.UserValves()
        try:
            stored = await read_stored(list(files))
            newest_first = {file_id: stored.get(file_id, {}) for file_id in reversed(files)}
            verdicts = self.judge(newest_first, wanted, inputs_of(pipe_id, model_id))
        except Exception:  # what cannot be judged stays with Open WebUI
            LOG.exception("Direct Uploads: the files could not be looked up")
            return body
        sent = [file for file_id, file in files.items() if verdicts[file_id] == ""]
        # A new list: side by side, another model's request has the old one.
        body["files"] = [
            file for file in body["files"] if not is_upload(file) or verdicts.get(file["id"]) != ""
        ]
        # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
        __metadata__["openrouter_pipe"] = {
            **__metadata__.get("openrouter_pipe", {}),
            "uploads": [{"id": file["id"], "name": file.get("name")} for file in sent],
            "kept_uploads": {file_id: why for file_id, why in verdicts.items() if why},
        }
        return body

    def judge(
        self, newest_first: dict[str, dict[str, Any]], own: Any, inputs: Any
    ) -> dict[str, str | None]:
        """Why each file stays with Open WebUI; empty for one that goes, `None` if none is to."""
        verdicts: dict[str, str | None] = {}
        files_left = self.valves.DIRECT_MAX_FILES
        most = self.valves.DIRECT_TOTAL_PAYLOAD_MAX_MB
        bytes_left = most * MEGABYTE
        for file_id, meta in newest_first.items():
            verdict, size = self.reason(meta, own, inputs), meta.get("size") or 0
            if verdict == "" and not files_left:
                verdict = f"only the {self.valves.DIRECT_MAX_FILES} newest files go out"
            elif verdict == "" and size > bytes_left:
                verdict = f"with the others it is larger than {most} MB"
            elif verdict == "":
                files_left, bytes_left = files_left - 1, bytes_left - size
            verdicts[file_id] = verdict
        return verdicts

    def reason(self, meta: dict[str, Any], own: Any, inputs: Any) -> str | None:
        """What speaks against one file by itself, as Open WebUI has it stored."""
        media_type = type_of(meta)
        kind = media_type.partition("/")[0]
        word = kind.upper() if kind in SPOKEN else "FILE"
        most = getattr(self.valves, f"DIRECT_{word}_MAX_UPLOAD_SIZE_MB")
        allowed = getattr(self.valves, f"DIRECT_{word}_MIME_ALLOWLIST").split(",")
        if not meta or not getattr(own, "DIRECT_FILES" if word == "FILE" else f"DIRECT_{word}"):
            return None
        if not any(fnmatchcase(media_type, pattern.strip().lower()) for pattern in allowed):
            return f"files of type {media_type or 'unknown'} do not go out"
        if kind in SPOKEN and inputs is not None and kind not in inputs:
            return f"this model takes no {SPOKEN[kind]}"
        if (meta.get("size") or 0) > most * MEGABYTE:
            return f"it is larger than {most} MB"
        return ""


def is_upload(file: Any) -> bool:
    """Whether an entry of the request is a file, and no collection, note or page."""
    return isinstance(file, dict) and file.get("type") == "file" and isinstance(file.get("id"), str)


def known_to(model: dict[str, Any] | None) -> set[str]:
    """The ids of the model's own knowledge: Open WebUI adds it to what people attach."""
    meta = ((model or {}).get("info") or {}).get("meta") or {}
    return {entry["id"] for entry in meta.get("knowledge") or [] if entry.get("id")}


def base_of(model: dict[str, Any]) -> str:
    return (model.get("info") or {}).get("base_model_id") or model.get("id") or ""


def type_of(meta: dict[str, Any]) -> str:
    """The media type; by the name where the browser knew none."""
    claim = (meta.get("content_type") or "").partition(";")[0].strip().lower()
    if claim in ("", "application/octet-stream"):
        claim = guess_type(meta.get("name") or "")[0] or claim
    return claim


def inputs_of(pipe_id: str, model_id: str) -> Any:
    """What the model takes, as the pipe has learnt it; `None` where nobody knows."""
    pipe = sys.modules.get("open_webui_openrouter_pipe_process")
    ask = getattr(pipe, "model_inputs", {}).get(pipe_id)
    return ask(model_id.removeprefix(f"{pipe_id}.")) if ask else None


async def read_stored(file_ids: list[str]) -> dict[str, dict[str, Any]]:
    """What Open WebUI has written down of each file: name, type, size."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]

    found = await Files.get_file_metadatas_by_ids(file_ids)
    return {file.id: file.meta or {} for file in found}
