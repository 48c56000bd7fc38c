"""The caller of a whole answer who hangs up: Open WebUI itself does not notice it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ..core.context import HostHandles

Awaited = TypeVar("Awaited")

_LOOK_SECONDS = 1.0


async def unless_hung_up(
    handles: HostHandles, work: Coroutine[Any, Any, Awaited]
) -> Awaited | None:
    """What the work gives; it is stopped, and `None` comes, when the caller has hung up.

    A request whose answer is out already, as that of a chat in the background, looks just like
    one that was hung up: it is not watched.
    """
    if await _has_hung_up(handles):
        return await work
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done() and await _has_hung_up(handles):
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _has_hung_up(handles: HostHandles) -> bool:
    is_disconnected = getattr(handles.request, "is_disconnected", None)
    return is_disconnected is not None and await is_disconnected()
