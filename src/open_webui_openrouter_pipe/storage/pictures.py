"""Pictures the model draws: files of the person who asked, seen in the message as they come."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ..api.events import Event, ImageItem, ItemFinished
from ..core.context import RequestContext
from ..core.errors import FileNotStoredError, InternalError, PipeError
from ..core.json_values import JsonObject
from ..core.logging_system import LOG
from ..host.chats import add_message_files, is_saved_chat, link_file
from ..host.events import send_event
from ..host.files import store_file

# What a page can show, by the bytes it begins with: the name that comes along is often wrong.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_LARGEST_PICTURE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as bytes, with its true type."""

    content: bytes
    media_type: str


def decode_picture(data_url: str) -> Picture:
    """The picture in a data URL; raises `FileNotStoredError` for what is none, or too large."""
    _, _, data = data_url.partition(",")
    if len(data) // 4 * 3 > _LARGEST_PICTURE_BYTES:
        raise FileNotStoredError("The picture is too large to be stored.")
    try:
        content = base64.b64decode(data)
    except ValueError:
        content = b""
    media_type = _media_type_of(content)
    if not media_type:
        raise FileNotStoredError("What the model sent is not a picture that can be shown.")
    return Picture(content, media_type)


def _media_type_of(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES if content.startswith(start)), "")


async def keep_pictures(
    answer: AsyncGenerator[list[Event]], context: RequestContext
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; what it draws is stored and shown, after the words that came with it.

    Where no message waits, the caller gets the picture itself and nothing is stored.
    """
    shown = _ShownPictures(context)
    in_message = bool(context.chat_id and context.message_id) and not context.task
    async with aclosing(answer) as batches:
        async for batch in batches:
            yield batch
            for event in batch:
                match event:
                    case ItemFinished(_, ImageItem() as item) if in_message:
                        await shown.add(item)
                    case _:
                        pass


class _ShownPictures:
    """The pictures of one message."""

    __slots__ = ("_context", "_files")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._files: list[JsonObject] = []

    async def add(self, item: ImageItem) -> None:
        """Store and show one; when that fails the person is told, and the answer goes on."""
        if not item.data_url or any(file["url"] == item.data_url for file in self._files):
            return
        try:
            file = await self._store(item) if item.data_url.startswith("data:") else _link(item)
            item.data_url = file["url"]  # the picture itself is not held in memory any longer
            await self._show(file)
        except PipeError as error:
            await self._tell(error)
        except Exception:  # noqa: BLE001 - a picture that is lost must not end the answer
            LOG.exception("pictures: one could not be stored")
            await self._tell(InternalError("The picture could not be stored."))

    async def _store(self, item: ImageItem) -> JsonObject:
        picture = await asyncio.to_thread(decode_picture, item.data_url)
        name = f"picture-{len(self._files) + 1}.{picture.media_type.partition('/')[2]}"
        stored = await store_file(self._context, picture.content, name, picture.media_type)
        if is_saved_chat(self._context.chat_id):
            await link_file(self._context, stored.id)
        kind = {"type": "image", "content_type": picture.media_type}
        return {**kind, "id": stored.id, "url": stored.url, "name": stored.name}

    async def _show(self, file: JsonObject) -> None:
        """A saved message gets the list of all its files, others only the new one, to add."""
        self._files.append(file)
        files: list[JsonObject] = []
        if is_saved_chat(self._context.chat_id):
            files = await add_message_files(self._context, [file]) or self._files
        # A copy: for a channel Open WebUI rewrites the address in it.
        data = {"files": [dict(each) for each in files or [file]]}
        await send_event(self._context.host, "chat:message:files", data)

    async def _tell(self, error: PipeError) -> None:
        LOG.warning("pictures: %s", error.cause)
        words = " ".join(filter(None, (error.cause, error.next_step)))
        host = self._context.host
        await send_event(host, "status", {"description": words, "done": True})
        # The closing line soon covers that status.
        await send_event(host, "notification", {"type": "warning", "content": words})


def _link(item: ImageItem) -> JsonObject:
    return {"type": "image", "url": item.data_url}
