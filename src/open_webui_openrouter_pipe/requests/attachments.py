"""What people attach: found, checked, and put into their messages as the model takes it."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

from ..api.bodies import CompletionsBody
from ..core.context import RequestContext
from ..core.errors import PipeError, UnsupportedInputError
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from ..core.logging_system import LOG
from ..core.media_types import sniff_media_type
from ..host.chats import read_message_files
from ..host.files import FoundFile, find_file, reads_documents
from ..models.family import ModelFamily
from ..storage.encoded_files import EncodedFile, EncodedFiles, LargeFiles, encode_file
from .retention import turn_numbers

_GONE = "it is no longer there, or not yours to read"
# How a part is called on either endpoint, and where its file stands.
_PLACES = {
    "image_url": "image_url",
    "input_image": "image_url",
    "video_url": "video_url",
    "input_video": "video_url",
    "input_audio": "data",
    "file": "file_data",
    "input_file": "file_data",
}
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_SOUND_FORMATS = {"audio/mpeg": "mp3", "audio/mp4": "m4a"}
_PART_WORDS = {"image": "image", "audio": "audio", "video": "video", "application": "file"}
_MODALITIES = {"image": "pictures", "audio": "sound", "video": "video"}
# Vendors know these films; nobody downloads them.
_YOUTUBE = re.compile(r"https://(www\.|m\.)?(youtube\.com|youtu\.be)/", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"(?:https?://[^/]+)?/api/v1/files/([\w-]+)(?:/content)?")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_HEAD_CHARACTERS = 5_600
_DOWNLOADS_AT_ONCE = 4


async def attach_files(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    files: EncodedFiles,
    room: LargeFiles,
) -> tuple[CompletionsBody, list[str]]:
    """The body with its files as the model takes them, and what to tell of those left out.

    `room` is left by the caller, once the request is on its way.
    """
    intake = _Intake(context, family, files, room)
    messages = objects_in(body.get("messages"))
    turns = turn_numbers(messages)
    extras = await intake.files_of_turns(turns, _pictures_sent_back(messages))
    fitted: list[JsonObject] = []
    # The newest first: they get what is limited.
    for message, turn, extra in zip(messages[::-1], turns[::-1], extras[::-1], strict=True):
        intake.is_newest = turn == turns[-1]
        fitted.append(await intake.fit_message(message, extra))
    return cast("CompletionsBody", {**body, "messages": fitted[::-1]}), intake.left_out


@dataclass(frozen=True, slots=True)
class _Attachment:
    """A part of a message that is a file."""

    part: JsonObject
    name: str
    address: str
    """A data URL, a link, the id of a file, or the base64 of sound."""


class _Intake:
    """The files of one request."""

    def __init__(
        self,
        context: RequestContext,
        family: ModelFamily | None,
        files: EncodedFiles,
        room: LargeFiles,
    ) -> None:
        self._room = room
        self._context = context
        self._rules = context.settings.attachments
        self._modalities = family.input_modalities if family else frozenset(_MODALITIES)
        self._files = files
        self._uploads = {file["id"]: file for file in context.hand_over.uploads}
        self._pictures_left = self._rules.max_images
        # Few words can name one large file a hundred times.
        self._bytes_in_all = 2 * max(self._rules.max_bytes, self._rules.max_video_bytes)
        self._bytes_left = self._bytes_in_all
        self.is_newest = True
        self.left_out: list[str] = []
        """What the person is told. Of earlier turns' files they have been told."""

    async def files_of_turns(
        self, turns: Sequence[int], sent_back: list[JsonObject]
    ) -> list[list[JsonObject]]:
        """For each message the files that Open WebUI has not put into it itself.

        `sent_back` are the last answer's pictures where no saved chat has them.
        """
        extras: list[list[JsonObject]] = [[] for _ in turns]
        placed: set[str] = set()
        chain = await self._read_chain()
        starts = [place for place, turn in enumerate(turns) if turn and turn not in turns[:place]]
        asked = [files for role, files in chain if role == "user"]
        for start, files in zip(starts[::-1], asked[::-1], strict=False):
            own = [file for file in files if file.get("type") == "file" and not _is_picture(file)]
            extras[start] = list(map(_as_part, own))
            placed.update(text_of(file.get("id")) for file in own)
        if starts and not any(map(_is_picture, chain[-1][1])) and self._reuses_pictures:
            answers = (files for role, files in chain[::-1] if role == "assistant")
            drawn = [file for file in next(answers, []) if _is_picture(file)]
            extras[starts[-1]] += map(_as_part, drawn) if drawn else sent_back
        if starts:
            # Of a temporary chat only the newest message is known, of an API client's none.
            strays = (file for key, file in self._uploads.items() if key not in placed)
            extras[starts[-1]] += map(_as_part, strays)
        return extras

    async def _read_chain(self) -> list[tuple[str, list[JsonObject]]]:
        try:
            return await read_message_files(self._context)
        except Exception:  # noqa: BLE001 - a database that fails costs the files, not the answer
            LOG.exception("attachments: the files of a chat could not be listed")
            self.left_out.append("The files of this chat could not be read.")
            return [("user", [])]

    @property
    def _reuses_pictures(self) -> bool:
        return self._rules.reuses_answers_images and "image" in self._modalities

    async def fit_message(self, message: JsonObject, extra: list[JsonObject]) -> JsonObject:
        """The message with its files, each as the model takes it."""
        content = message.get("content")
        if not isinstance(content, list):
            if not extra:
                return message
            content = [{"type": "text", "text": content}] if content else []
        parts = [*objects_in(cast("Any", content)), *extra]
        fitted = await self._fit_all(parts[::-1])
        return {**message, "content": [part for part in fitted[::-1] if part]}

    async def _fit_all(self, parts: list[JsonObject]) -> list[JsonObject]:
        """One part after another, for the first get what is limited; downloads run ahead."""
        fitted: list[JsonObject] = []
        begun: deque[ExitStack] = deque()
        try:
            for place, part in enumerate(parts):
                ahead = min(_DOWNLOADS_AT_ONCE, self._pictures_left or _DOWNLOADS_AT_ONCE)
                begun.extend(map(self._begin, parts[place + len(begun) : place + max(ahead, 1)]))
                fitted.append(await self._fit(part))
                begun.popleft().close()
        finally:
            for rest in begun:
                rest.close()
        return fitted

    def _begin(self, part: JsonObject) -> ExitStack:
        """Have the part's download on its way until the stack is closed, where it is a link."""
        stack = ExitStack()
        file = _read_attachment(part)
        if file is None or not _LINK.match(file.address) or _FILE_ADDRESS.fullmatch(file.address):
            return stack
        kind = _kind_of_part(part)
        if not (kind == "video" and _YOUTUBE.match(file.address)):
            with suppress(UnsupportedInputError):
                self._check_place(kind)
                stack.enter_context(self._files.begun(file.address, self._rules.downloads))
        return stack

    async def _fit(self, part: JsonObject) -> JsonObject:
        file = _read_attachment(part)
        if file is None:
            return part
        try:
            return await self._replace(file)
        except PipeError as error:
            reason = error.cause.rstrip(".")
        except (OSError, ImportError):
            reason = _GONE
        except ValueError:
            reason = "it is damaged"
        except Exception:  # noqa: BLE001 - a cloud's storage fails in ways of its own
            LOG.exception("attachments: a file could not be read")
            reason = "it could not be read"
        words = f"{file.name} was left out: {reason}."
        LOG.info("attachments: %s", words)
        if self.is_newest:
            self.left_out.append(words)
        return {"type": "text", "text": f"[{words}]"}

    async def _replace(self, file: _Attachment) -> JsonObject:
        address = file.address
        if file.part["type"] == "input_audio" or address.startswith("data:"):
            return await self._check_inline(file)
        stored = _FILE_ADDRESS.fullmatch(address)
        if stored is None and "://" in address:
            if _YOUTUBE.match(address) and "video" in file.part["type"]:
                return file.part
            self._check_place(_kind_of_part(file.part))
            linked = self._files.linked(address, self._rules.downloads, self._check, self._room)
            return _part_of(await linked, file.name)
        found = await find_file(self._context, stored[1] if stored else address)
        if found is None:
            raise UnsupportedInputError(_GONE)
        if "file" in file.part and found.id not in self._uploads and self._is_read(found):
            why = text_of(self._context.hand_over.kept_uploads.get(found.id))
            if why and self.is_newest:
                self.left_out.append(f"{file.name} stayed in Open WebUI's retrieval: {why}.")
            return {}  # its text is in the message already
        try:
            return _part_of(await self._files.stored(found, self._check, self._room), file.name)
        except UnsupportedInputError:
            if found.id not in self._uploads or not found.text:
                raise
        # It was taken out of retrieval, so what Open WebUI has read there would be lost.
        self._check("text/plain", len(found.text))
        if self.is_newest:
            self.left_out.append(f"{file.name} went out as the text that Open WebUI read in it.")
        return _part_of(EncodedFile("text/plain", len(found.text), found.text), file.name)

    def _is_read(self, found: FoundFile) -> bool:
        """Whether Open WebUI gives the model the text of the file.

        Not where the filter has taken it from there: an approved call goes on without its word.
        """
        if not found.text or not reads_documents(self._context.host):
            return False
        metadata = self._context.host.metadata
        if f"{self._context.function_id}_direct_uploads" not in (metadata.get("filter_ids") or ()):
            return True
        return any(file.get("id") == found.id for file in objects_in(metadata.get("files")))

    async def _check_inline(self, file: _Attachment) -> JsonObject:
        """Look at the beginning; only what claims to be something else is decoded."""
        claim, _, _ = file.address[:200].rpartition(",")
        start = len(claim) + 1 if claim else 0
        head = file.address[start : start + _HEAD_CHARACTERS]
        media_type = sniff_media_type(base64.b64decode(head[: len(head) // 4 * 4]))
        size = (len(file.address) - start) * 3 // 4
        kind = media_type.partition("/")[0]
        is_meant_so = _PART_WORDS.get(kind, "?") in file.part["type"]
        if is_meant_so and claim in ("", f"data:{media_type};base64"):
            self._check(media_type, size)
            return file.part if claim else _part_of(EncodedFile(media_type, size, file.address), "")
        self._check_size(kind, size)
        content = BytesIO(base64.b64decode(file.address[start:]))
        encoded = await asyncio.to_thread(encode_file, content, size, self._check)
        return _part_of(encoded, file.name)

    def _check(self, media_type: str, size: int) -> None:
        kind = media_type.partition("/")[0]
        if not media_type or (kind == "image" and media_type not in _PICTURES):
            raise UnsupportedInputError("it is no kind of file that models read")
        self._check_place(kind)
        self._check_size(kind, size)
        if size > self._bytes_left:
            most = self._bytes_in_all // 1024**2
            raise UnsupportedInputError(f"with the others it is larger than {most} MB")
        self._bytes_left -= size
        if kind == "image":
            self._pictures_left -= 1

    def _check_place(self, kind: str) -> None:
        """Refuse what has no place, before any of it is fetched."""
        if kind in _MODALITIES and kind not in self._modalities:
            raise UnsupportedInputError(f"this model takes no {_MODALITIES[kind]}")
        if kind == "image" and not self._pictures_left:
            most = self._rules.max_images
            raise UnsupportedInputError(f"only the {most} newest pictures go out")

    def _check_size(self, kind: str, size: int) -> None:
        limit = self._rules.max_video_bytes if kind == "video" else self._rules.max_bytes
        if size > limit:
            raise UnsupportedInputError(f"it is larger than {limit // 1024**2} MB")


def _pictures_sent_back(messages: list[JsonObject]) -> list[JsonObject]:
    """The last answer's `images`, for a message that has no picture of its own."""
    newest = objects_in(messages[-1].get("content")) if messages else []
    if any("image" in text_of(part.get("type")) for part in newest):
        return []
    answers = [each for each in messages if each.get("role") == "assistant"]
    return objects_in(answers[-1].get("images")) if answers else []


def _kind_of_part(part: JsonObject) -> str:
    return text_of(part["type"]).removeprefix("input_").partition("_")[0]


def _is_picture(file: JsonObject) -> bool:
    # As Open WebUI does (`is_raster_image_content_type`): these it puts into the message itself.
    media_type = text_of(file.get("content_type"))
    return file.get("type") == "image" or (
        media_type.startswith("image/") and not media_type.startswith("image/svg")
    )


def _as_part(file: JsonObject) -> JsonObject:
    """A file of a message as a part of its content."""
    address = text_of(file.get("id")) or text_of(file.get("url"))
    if _is_picture(file):
        return {"type": "image_url", "image_url": {"url": address}}
    return {"type": "file", "file": {"filename": text_of(file.get("name")), "file_data": address}}


def _read_attachment(part: JsonObject) -> _Attachment | None:
    kind = text_of(part.get("type"))
    place = _PLACES.get(kind, "")
    inner = part.get("file") or part.get("input_audio") or part.get(place)
    fields = as_object(inner) or part
    address = next(
        filter(None, (text_of(fields.get(key)) for key in (place, "url", "file_url"))), ""
    )
    if not place or not address:
        return None
    names = {"image": "A picture", "audio": "A recording", "video": "A video"}
    spoken = next((words for word, words in names.items() if word in kind), "A file")
    name = text_of(fields.get("filename"))
    return _Attachment(part, f"\u201c{name}\u201d" if name else spoken, address)


def _part_of(file: EncodedFile, name: str) -> JsonObject:
    name = name.strip("\u201c\u201d")
    kind, _, subtype = file.media_type.partition("/")
    match kind:
        case "image" | "video":
            return {"type": f"{kind}_url", f"{kind}_url": {"url": file.text}}
        case "audio":
            sound = {"data": file.text, "format": _SOUND_FORMATS.get(file.media_type, subtype)}
            return {"type": "input_audio", "input_audio": sound}
        case "text":
            return {"type": "text", "text": f'<file name="{name}">\n{file.text}\n</file>'}
        case _:
            return {"type": "file", "file": {"filename": name, "file_data": file.text}}
