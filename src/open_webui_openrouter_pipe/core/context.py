"""Who asks, for which message, under which settings: carried through the whole turn."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from .config import Settings
from .hand_over import NOTHING_HANDED_OVER, HandOver
from .process import shared_by_process
from .session_records import SessionRecords

EventCall = Callable[[dict[str, Any]], Awaitable[Any]]
"""Sends an event to the page; `__event_call__` also waits for what the page answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHandles:
    """What Open WebUI hands over with a call, for `host/` and `tools/` to use; all may be missing.

    Only those two rooms look inside: everything else works with what they make of it.
    """

    request: Any = None
    """The `Request` of the web server: `app.state`, `state.user`."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: Mapping[str, Any] = field(default_factory=dict[str, Any])
    event_emitter: EventCall | None = None
    event_call: EventCall | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One call of the pipe. Ids that Open WebUI did not give are empty."""

    request_id: str
    function_id: str
    """The id under which the admin installed the pipe."""
    settings: Settings
    model: str
    """OpenRouter's id of the chosen model."""
    user_id: str = ""
    session_id: str = ""
    chat_id: str = ""
    message_id: str = ""
    task: str = ""
    """The chore Open WebUI runs for itself (`title_generation`, ...), or empty for a chat."""
    hand_over: HandOver = NOTHING_HANDED_OVER
    """What the companion filters ask for; nothing in a chore."""
    host: HostHandles = field(default_factory=HostHandles)
    started_at: float = field(default_factory=time.perf_counter)
    records: SessionRecords | None = None
    """Where everything that happens is noted, when the admin wants it archived."""

    @property
    def is_in_message(self) -> bool:
        """Whether the answer stands in a message that a person reads."""
        return bool(self.chat_id and self.message_id) and not self.task


def current_request() -> ContextVar[RequestContext | None]:
    """The request that runs now: one variable for all copies, since they share one logger."""
    return shared_by_process("current_request", _new_variable)


def current_records() -> SessionRecords | None:
    """Where the request that runs now is noted, if it is to be archived."""
    # The context may be one of an older copy, which knew nothing of records.
    return getattr(current_request().get(), "records", None)


def _new_variable() -> ContextVar[RequestContext | None]:
    return ContextVar("open_webui_openrouter_pipe_request", default=None)
