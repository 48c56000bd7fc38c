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
    MessageItem,
    PictureSketched,
    SoundItem,
    TextDelta,
)
from ..core.context import RequestContext
from ..core.ids import new_item_id
from .generated import keep_generated, telling_losses, too_large, true_media_type
from .pictures import ShownPictures

_LARGEST_SOUND_BYTES = 64 * 1024 * 1024
# Sound that streams has no container (`pcm16`); one second of it has so many samples.
_SAMPLES_A_SECOND = 24_000


async def keep_files(
    answer: AsyncGenerator[list[Event]], context: RequestContext
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; what it draws and plays is stored and shown in the message.

    Where no message waits, the caller gets it itself and nothing is stored.
    """
    if not context.is_in_message:
        async with aclosing(answer) as batches:
            async for batch in batches:
                yield batch
        return
    pictures = ShownPictures(context)
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                if events := await _with_players(batch, context):
                    yield events
                for event in batch:
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
    """The batch, with a player in the place of sound that is complete."""
    events: list[Event] = []
    for event in batch:
        match event:
            case ItemStarted(_, SoundItem()):
                pass
            case ItemFinished(index, SoundItem() as item):
                async with telling_losses(context, "The sound"):
                    events.extend(_spoken(index, await _player(item, context)))
            case _:
                events.append(event)
    return events


async def _player(item: SoundItem, context: RequestContext) -> str:
    """The text that Open WebUI's page makes a player of (`HTMLToken.svelte`)."""
    if len(item.content) > _LARGEST_SOUND_BYTES:
        raise too_large("The sound")
    content, media_type = bytes(item.content), true_media_type(item.content, "audio")
    if not media_type:
        content, media_type = await asyncio.to_thread(as_wav, content), "audio/wav"
    stored = await keep_generated(context, content, "sound", media_type)
    # Markdown takes a tag for a block of its own only when lines and a gap say so.
    return f"\n<audio>\n{stored.url}\n</audio>\n"


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
