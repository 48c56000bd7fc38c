"""One call of the pipe, as the request's stages see it."""

from __future__ import annotations

from typing import Any

from open_webui_openrouter_pipe.core.config import (
    Settings,
    SystemValves,
    take_snapshot,
)
from open_webui_openrouter_pipe.core.context import RequestContext
from open_webui_openrouter_pipe.core.hand_over import NOTHING_HANDED_OVER, HandOver
from open_webui_openrouter_pipe.core.personal_valves import PersonalValves


def settings(own: dict[str, str] | None = None, **valves: Any) -> Settings:
    """What the admin has set, and what the user has chosen above it."""
    personal = PersonalValves.model_validate(own or {})
    return take_snapshot(SystemValves.model_validate(valves), personal)


def context(
    model: str = "a/one",
    *,
    task: str = "",
    chat_id: str = "",
    hand_over: HandOver = NOTHING_HANDED_OVER,
    **valves: Any,
) -> RequestContext:
    """A call for this model under these valves."""
    return RequestContext(
        request_id="request-1",
        function_id="openrouter",
        settings=settings(**valves),
        model=model,
        chat_id=chat_id,
        task=task,
        hand_over=hand_over,
    )
