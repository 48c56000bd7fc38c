"""Who runs a round of calls: what Open WebUI must do itself, and what nobody may run unasked."""

from __future__ import annotations

from collections.abc import Iterable

from ..api.bodies import CompletionsBody
from ..core.context import RequestContext
from ..core.json_values import as_object
from ..host.tools import HostTool

# They wait for a person, or work as long as an answer of its own.
HOSTS_OWN_TOOLS = frozenset({"ask_user", "delegate_task"})
"""Built-in tools that Open WebUI runs itself wherever it can."""


def host_can_run(context: RequestContext, body: CompletionsBody) -> bool:
    """Whether Open WebUI takes up calls that the stream leaves open: in a streamed chat only."""
    return bool(context.chat_id and context.message_id and body.get("stream"))


def needs_approval(context: RequestContext) -> bool:
    """Whether a person must allow each call of this chat."""
    params = as_object(context.host.metadata.get("params"))
    return params.get("tool_approval_mode") == "ask"


def can_ask_here(context: RequestContext) -> bool:
    """Whether the pipe itself may ask that person: where it is to run all it can, on a page."""
    is_ours = context.settings.tool_execution_mode == "Pipeline"
    return is_ours and bool(context.session_id) and context.host.event_call is not None


def host_should_run(context: RequestContext, called: Iterable[HostTool]) -> bool:
    """Whether Open WebUI is to run a round that calls these tools, if it can."""
    return (
        context.settings.tool_execution_mode == "Open-WebUI"
        or (needs_approval(context) and not can_ask_here(context))
        or any(tool.is_builtin and tool.name in HOSTS_OWN_TOOLS for tool in called)
    )
