"""What the page is told beside the stream of the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.context import EventCall, HostHandles
from ..core.json_values import JsonObject


async def send_event(handles: HostHandles, kind: str, data: JsonObject) -> None:
    """Send one event to the message's page; where there is none, nothing happens."""
    if handles.event_emitter is not None:
        await handles.event_emitter({"type": kind, "data": data})


def emitter_for(metadata: Mapping[str, str]) -> EventCall:
    """An emitter to the pages of a message's author, where no call has brought one."""

    async def emit(event: dict[str, Any]) -> None:
        from open_webui.socket.main import (  # pyright: ignore[reportMissingImports]
            get_event_emitter,
        )

        emitter = await get_event_emitter(dict(metadata))
        if emitter is not None:
            await emitter(event)

    return emit
