"""A turn with tools: small real ones, and the calls a model makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from open_webui_openrouter_pipe.api.events import FunctionCallItem
from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import HostHandles, RequestContext
from open_webui_openrouter_pipe.core.personal_valves import PersonalValves
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.tools.executor import ToolLimits
from open_webui_openrouter_pipe.tools.toolbox import CallOutcome, Toolbox, open_toolbox

Tool = Callable[..., Awaitable[Any]]
ANYTHING = {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}}


def entry(tool: Tool | None, parameters: Any = None, **others: Any) -> dict[str, Any]:
    """A tool as Open WebUI hands it over."""
    made: dict[str, Any] = {"tool_id": "mine", "spec": {"parameters": parameters or ANYTHING}}
    return made | ({"callable": tool} if tool else {}) | others


def offered(tools: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The `tools` of a chat's body."""
    return [
        {"type": "function", "function": {**tool["spec"], "name": name}}
        for name, tool in tools.items()
    ]


def context(
    tools: Mapping[str, Any] | None = None,
    *,
    model: str = "a/one",
    own: Mapping[str, Any] | None = None,
    replace: Mapping[str, Any] | None = None,
    call: Mapping[str, Any] | None = None,
    **handles: Any,
) -> RequestContext:
    """A streamed chat's turn; `replace` changes settings, `call` the ids of the context."""
    settings = take_snapshot(SystemValves(), PersonalValves(**(own or {})))
    ids = {"user_id": "ada", "chat_id": "chat", "message_id": "message"}
    return RequestContext(
        request_id="request",
        function_id="openrouter",
        settings=dataclasses.replace(settings, **(replace or {})),
        model=model,
        host=HostHandles(tools=tools or {}, **handles),
        **(ids | dict(call or {})),
    )


def toolbox(
    tools: Mapping[str, Any] | None = None,
    *,
    limits: ToolLimits | None = None,
    family: ModelFamily | None = None,
    body: Mapping[str, Any] | None = None,
    **turn: Any,
) -> Toolbox:
    """The tools of one turn, under limits that no other test shares."""
    sent = body if body is not None else {"stream": True, "tools": offered(tools or {})}
    return open_toolbox(context(tools, **turn), sent, family, limits or ToolLimits())


def call(name: str, arguments: str = "{}", call_id: str = "call_1", **others: Any) -> Any:
    """One finished call."""
    return FunctionCallItem("fc", call_id, name, arguments, **others)


async def run(
    box: Toolbox, *calls: FunctionCallItem, context_left: int | None = None
) -> list[CallOutcome]:
    """The outcomes in the order in which the calls finished."""
    return [outcome async for outcome in box.run(calls, context_left)]


async def texts(box: Toolbox, *calls: FunctionCallItem) -> list[str]:
    """What the model is told, in the order of the calls."""
    by_id = {outcome.output.call_id: outcome.output.text for outcome in await run(box, *calls)}
    return [by_id[made.call_id] for made in calls]


def failures(outcomes: Sequence[CallOutcome]) -> list[bool]:
    """Which of them failed."""
    return [outcome.output.status == "failed" for outcome in outcomes]
