"""Who runs a round of calls: what Open WebUI must do itself, and what nobody may run unasked."""

from __future__ import annotations

from collections.abc import Iterable

from ..api.bodies import CompletionsBody
from ..core.context import RequestContext
from ..core.json_values import as_object
from ..host.chats import is_saved_chat
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


def takes_its_time(tool: HostTool) -> bool:
    """Whether the tool waits for a person or for a whole answer, so that no time limit fits it."""
    return tool.is_builtin and tool.name in HOSTS_OWN_TOOLS


def asks_the_person(tool: HostTool) -> bool:
    """Whether the tool is itself a question to the person, so that none need stand before it."""
    return tool.is_builtin and tool.name == "ask_user"


def can_ask_here(context: RequestContext) -> bool:
    """Whether the pipe itself may ask that person: where no better question is to be had."""
    is_ours = context.settings.tool_execution_mode == "Pipeline" or _must_ask_here(context)
    return is_ours and bool(context.session_id) and context.host.event_call is not None


def _must_ask_here(context: RequestContext) -> bool:
    """Whether only the pipe asks: Open WebUI 0.11 runs tools unasked in chats it does not save."""
    return needs_approval(context) and not is_saved_chat(context.chat_id)


def host_should_run(context: RequestContext, called: Iterable[HostTool]) -> bool:
    """Whether Open WebUI is to run a round that calls these tools, if it can."""
    called = list(called)
    if _must_ask_here(context):
        return len(called) == 1 and asks_the_person(called[0])
    return (
        context.settings.tool_execution_mode == "Open-WebUI"
        or (needs_approval(context) and not can_ask_here(context))
        or any(map(takes_its_time, called))
    )
