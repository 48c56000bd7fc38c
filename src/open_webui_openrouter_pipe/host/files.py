"""Files of Open WebUI: what a user has uploaded, or a model has made for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException

from ..core.context import HostHandles, RequestContext
from ..core.errors import FileNotStoredError
from ..core.json_values import as_object, text_of, whole_of
from .users import load_user


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as Open WebUI knows it."""

    id: str
    name: str

    @property
    def url(self) -> str:
        """Its address on the same server, for whoever is signed in."""
        return f"/api/v1/files/{self.id}/content"


async def store_file(
    context: RequestContext, content: bytes, name: str, media_type: str
) -> StoredFile:
    """Store a file for the person who asks; raises `FileNotStoredError` with the host's reason."""
    user = await load_user(context.host)
    if user is None:
        raise FileNotStoredError("The file belongs to nobody: the call names no user.")
    return await _upload(
        file=UploadFile(BytesIO(content), filename=name, headers=_headers(media_type)),
        request=context.host.request,
        metadata={"chat_id": context.chat_id, "message_id": context.message_id},
        user=user,
    )


async def remove_file(file_id: str) -> None:
    """Delete a file that was of use for a moment only."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]
    from open_webui.storage.provider import Storage  # pyright: ignore[reportMissingImports]

    file = await Files.get_file_by_id(file_id)
    if file is not None and await Files.delete_file_by_id(file_id):
        await asyncio.to_thread(Storage.delete_file, file.path)


def _headers(media_type: str) -> Headers:
    return Headers({"content-type": media_type})


async def _upload(**what: Any) -> StoredFile:
    from open_webui.routers.files import (  # pyright: ignore[reportMissingImports]
        upload_file_handler,
    )

    try:
        # Every argument: what is left out becomes a marker object of FastAPI, which counts as true.
        stored = await upload_file_handler(
            **what, process=False, process_in_background=False, background_tasks=None, db=None
        )
    except HTTPException as error:
        raise FileNotStoredError(
            f"Open WebUI did not store the file: {error.detail}",
            "The admin should check the disk, and the size limit of files.",
        ) from error
    return StoredFile(stored.id, stored.filename)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that the person who asks may read."""

    id: str
    path: str
    """Where Open WebUI's storage keeps it."""
    version: int
    """Changes with its content."""
    text: str
    """What Open WebUI has read out of it, for its own retrieval; often nothing."""


async def find_file(context: RequestContext, file_id: str) -> FoundFile | None:
    """Find a file; `None` where there is none, and just so where this person may not read it."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]
    from open_webui.utils.access_control.files import (  # pyright: ignore[reportMissingImports]
        has_access_to_file,
    )

    user, file = await load_user(context.host), await Files.get_file_by_id(file_id)
    if user is None or file is None or not file.path:
        return None
    if file.user_id != user.id and not await has_access_to_file(file_id, "read", user):
        return None
    text = text_of(as_object(file.data).get("content")).strip()
    return FoundFile(file.id, file.path, whole_of(file.updated_at) or 0, text)


def local_path(file: FoundFile) -> str:
    """Where the file lies on this machine; blocks while a cloud's storage hands it over."""
    from open_webui.storage.provider import Storage  # pyright: ignore[reportMissingImports]

    return Storage.get_file(file.path)


def reads_documents(handles: HostHandles) -> bool:
    """Whether Open WebUI itself gives the model the text of attached documents."""
    model = as_object(handles.metadata.get("model"))
    meta = as_object(as_object(model.get("info")).get("meta"))
    return as_object(meta.get("capabilities")).get("file_context", True) is not False
