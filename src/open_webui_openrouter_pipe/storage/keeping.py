"""The files of an answer: stored as they come, so that no base64 travels any further."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..api.events import (
    Event,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MediaItem,
    MessageItem,
    PictureSketched,
    TextDelta,
)
from ..core.context import RequestContext
from ..core.errors import FileNotStoredError
from ..core.ids import new_item_id
from .generated import keep_generated, telling_losses, too_large, true_media_type
from .pictures import ShownPictures

_LARGEST_SOUND_BYTES = 64 * 1024 * 1024
# Sound that streams has no container (`pcm16`); one second of it has so many samples.
_SAMPLES_A_SECOND = 24_000
_NAMES = {"audio": "The sound", "video": "The video"}


async def keep_files(
    answer: AsyncGenerator[list[Event]], context: RequestContext
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; what it draws and plays is stored and shown in the message.

    Where no message waits, the caller gets pictures and sound themselves; only videos are stored.
    """
    pictures = ShownPictures(context)
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                if events := await _with_players(batch, context):
                    yield events
                for event in batch if context.is_in_message else ():
                    match event:
                        case PictureSketched():
                            await pictures.sketch(event)
                        case ItemFinished(_, ImageItem() as item):
                            await pictures.add(item)
                        case _:
                            pass
    finally:
        await pictures.drop_sketch()


async def _with_players(batch: list[Event], context: RequestContext) -> list[Event]:
    """The batch, with a player in the place of each sound or video that is complete."""
    events: list[Event] = []
    in_message = context.is_in_message
    for event in batch:
        match event:
            case ItemStarted(_, MediaItem(kind=kind)) if in_message or kind == "video":
                pass
            case ItemFinished(_, MediaItem(status="incomplete", content=content)) if not content:
                pass  # why none came is told with the answer's end
            case ItemFinished(index, MediaItem() as item) if in_message or item.kind == "video":
                async with telling_losses(context, _NAMES[item.kind]):
                    events.extend(_spoken(index, await _player(item, context)))
            case _:
                events.append(event)
    return events


async def _player(item: MediaItem, context: RequestContext) -> str:
    """The text that Open WebUI's page makes a player of (`HTMLToken.svelte`)."""
    # A video is measured while it is fetched.
    if item.kind == "audio" and len(item.content) > _LARGEST_SOUND_BYTES:
        raise too_large(_NAMES[item.kind])
    content, media_type = bytes(item.content), true_media_type(item.content, item.kind)
    if not media_type and item.kind == "audio":
        content, media_type = await asyncio.to_thread(as_wav, content), "audio/wav"
    if not media_type:
        raise FileNotStoredError(f"{_NAMES[item.kind]} that came is none that can be played.")
    stored = await keep_generated(context, content, item.kind, media_type)
    # Markdown takes a tag for a block of its own only when lines and a gap say so.
    return f"\n<{item.kind}>\n{stored.url}\n</{item.kind}>\n"


def as_wav(samples: bytes) -> bytes:
    """Bare 16-bit samples of one channel as a file that every player knows."""
    rate = _SAMPLES_A_SECOND
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVE" + kind + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _spoken(index: int, text: str) -> list[Event]:
    """Words of the answer, at this place."""
    message_id = new_item_id("msg")
    return [
        ItemStarted(index, MessageItem(message_id)),
        TextDelta(index, text),
        ItemFinished(index, MessageItem(message_id, text)),
    ]
