"""Pictures the model draws: files of the message, seen as they come, even half drawn."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace

from ..api.events import ImageItem, PictureSketched
from ..core.context import RequestContext
from ..core.errors import FileNotStoredError, PipeError
from ..core.json_values import JsonObject
from ..core.logging_system import LOG
from ..host.chats import add_message_files, is_saved_chat
from ..host.events import send_event
from ..host.files import remove_file
from .downloads import Downloads
from .generated import keep_generated, telling_losses, too_large, true_media_type

_LARGEST_PICTURE_BYTES = 64 * 1024 * 1024
# Each costs an upload: of an answer that sends more, the first are shown.
_MOST_SKETCHES = 12
# The answer waits for it.
_LINK_RETRIES = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as bytes, with its true type."""

    content: bytes
    media_type: str


def decode_picture(data_url: str) -> Picture:
    """The picture in a data URL; raises `FileNotStoredError` for what is none, or too large."""
    _, _, data = data_url.partition(",")
    if len(data) // 4 * 3 > _LARGEST_PICTURE_BYTES:
        raise too_large("The picture")
    try:
        content = base64.b64decode(data)
    except ValueError:
        content = b""
    return _as_picture(content)


async def fetch_picture(url: str, context: RequestContext) -> Picture:
    """The picture behind a link, which may soon lead nowhere; raises what downloads raise too."""
    rules = replace(context.settings.attachments.downloads, max_retries=_LINK_RETRIES)
    return _as_picture(await Downloads().fetch(url, rules))


def _as_picture(content: bytes) -> Picture:
    media_type = true_media_type(content, "image")
    if not media_type:
        raise FileNotStoredError("What the model sent is not a picture that can be shown.")
    return Picture(content, media_type)


@dataclass(frozen=True, slots=True)
class _Sketch:
    """A picture that is still being drawn, as the message shows it."""

    mark: int
    file: JsonObject


class ShownPictures:
    """The pictures of one message."""

    __slots__ = ("_context", "_files", "_seen", "_sketch", "_sketches")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._files: list[JsonObject] = []
        """All files that the message has now."""
        self._seen: set[int] = set()
        """The pictures by their hash: some streams send one twice."""
        self._sketch: _Sketch | None = None
        self._sketches = 0

    async def add(self, item: ImageItem) -> None:
        """Store and show one; when that fails the person is told, and the answer goes on."""
        mark = hash(item.data_url)
        if not item.data_url or mark in self._seen:
            return
        self._seen.add(mark)
        async with telling_losses(self._context, "The picture"):
            file = await self._store(item)
            item.data_url = file["url"]  # the picture itself is not held in memory any longer
            if is_saved_chat(self._context.chat_id):
                added = await add_message_files(self._context, [file])
                self._files = added or [*self._files, file]
                await self._show(self._files)
            else:  # the page adds it to what it has
                await self._show([file])
        await self.drop_sketch(is_shown=item.data_url.startswith("data:"))

    async def sketch(self, event: PictureSketched) -> None:
        """Show how far a picture has come, until the picture itself, or the end, takes its place.

        Only the list of a saved message can be replaced.
        """
        self._sketches += 1
        if not is_saved_chat(self._context.chat_id) or self._sketches > _MOST_SKETCHES:
            return
        try:
            if self._sketches == 1:
                self._files = await add_message_files(self._context, [])
            file = await self._upload(event.data_url)
            before, self._sketch = self._sketch, _Sketch(hash(event.data_url), file)
            await self._show([*self._files, file])
            if before is not None:
                await remove_file(before.file["id"])
        except Exception:  # noqa: BLE001 - it would soon be gone anyway
            LOG.exception("pictures: an unfinished one could not be shown")
            self._sketches = _MOST_SKETCHES

    async def drop_sketch(self, *, is_shown: bool = True) -> None:
        """Take away what is unfinished; the page may show something else by now."""
        sketch, self._sketch = self._sketch, None
        if sketch is None:
            return
        try:
            if is_shown:
                await self._show(self._files)
            await remove_file(sketch.file["id"])
        except Exception:  # noqa: BLE001 - a file too many must not end the answer
            LOG.exception("pictures: an unfinished one could not be taken away")

    async def _store(self, item: ImageItem) -> JsonObject:
        sketch = self._sketch
        if sketch is not None and sketch.mark == hash(item.data_url):  # it was finished already
            self._sketch = None
            return sketch.file
        if item.data_url.startswith("data:"):
            return await self._upload(item.data_url)
        try:
            return await self._keep(await fetch_picture(item.data_url, self._context))
        except PipeError as error:
            LOG.info("pictures: one stays a link: %s", error.cause)
            return {"type": "image", "url": item.data_url}

    async def _upload(self, data_url: str) -> JsonObject:
        return await self._keep(await asyncio.to_thread(decode_picture, data_url))

    async def _keep(self, picture: Picture) -> JsonObject:
        name = f"picture-{len(self._files) + 1}"
        stored = await keep_generated(self._context, picture.content, name, picture.media_type)
        kind = {"type": "image", "content_type": picture.media_type}
        return {**kind, "id": stored.id, "url": stored.url, "name": stored.name}

    async def _show(self, files: list[JsonObject]) -> None:
        # A copy: for a channel Open WebUI rewrites the address in it.
        data = {"files": [dict(each) for each in files]}
        await send_event(self._context.host, "chat:message:files", data)
