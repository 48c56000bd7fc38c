"""What the page is told beside the stream of the answer."""

from __future__ import annotations

from ..core.context import HostHandles
from ..core.json_values import JsonObject


async def send_event(handles: HostHandles, kind: str, data: JsonObject) -> None:
    """Send one event to the message's page; where there is none, nothing happens."""
    if handles.event_emitter is not None:
        await handles.event_emitter({"type": kind, "data": data})
