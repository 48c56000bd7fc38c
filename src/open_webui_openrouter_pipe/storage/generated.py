"""What a model has made becomes a file of the person who asked; a loss is told, not raised."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ..core.context import RequestContext
from ..core.errors import FileNotStoredError, InternalError, PipeError
from ..core.logging_system import LOG
from ..core.media_types import sniff_media_type
from ..host.chats import is_saved_chat, link_file
from ..host.events import send_event
from ..host.files import StoredFile, store_file

_ENDINGS = {"audio/mpeg": "mp3"}


def true_media_type(content: bytes | bytearray, kind: str) -> str:
    """The true type of a picture, sound or video; empty for what is none."""
    found = sniff_media_type(content)
    return found if found.startswith(kind) else ""


async def keep_generated(
    context: RequestContext, content: bytes, stem: str, media_type: str
) -> StoredFile:
    """Store a file that everyone may open who may read the chat."""
    ending = _ENDINGS.get(media_type, media_type.partition("/")[2])
    stored = await store_file(context, content, f"{stem}.{ending}", media_type)
    if is_saved_chat(context.chat_id):
        await link_file(context, stored.id)
    return stored


@asynccontextmanager
async def telling_losses(context: RequestContext, what: str) -> AsyncGenerator[None]:
    """Whatever goes wrong inside costs the file, not the answer; the person is told of it."""
    try:
        yield
    except PipeError as error:
        await _tell_loss(context, error)
    except Exception:  # noqa: BLE001 - a file that is lost must not end the answer
        LOG.exception("files: one could not be stored")
        await _tell_loss(context, InternalError(f"{what} could not be stored."))


async def _tell_loss(context: RequestContext, error: PipeError) -> None:
    LOG.warning("files: %s", error.cause)
    words = " ".join(filter(None, (error.cause, error.next_step)))
    try:
        await send_event(context.host, "status", {"description": words, "done": True})
        # The closing line soon covers that status.
        await send_event(context.host, "notification", {"type": "warning", "content": words})
    except Exception:  # noqa: BLE001 - nor must the page that cannot be told
        LOG.exception("files: a loss could not be told")


def too_large(what: str) -> FileNotStoredError:
    """Why a file was not even tried to be stored."""
    return FileNotStoredError(f"{what} is too large to be stored.")
