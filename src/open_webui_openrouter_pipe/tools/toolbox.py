"""The tools of one turn: what the model is offered, who runs its calls, what they bring back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from ..api.bodies import CompletionsBody
from ..api.events import FunctionCallItem, ToolOutputItem
from ..core.context import RequestContext
from ..core.ids import new_item_id
from ..core.json_values import JsonObject, objects_in
from ..host.tools import ToolResult
from ..models.family import ModelFamily, takes_tools
from .definitions import define_callers_tools, define_host_tools
from .executor import Executor, ToolLimits, tool_limits
from .policy import HOSTS_OWN_TOOLS, host_can_run, host_should_run
from .results import OutputRoom


class CallOwner(Enum):
    """Who runs a round of calls."""

    PIPE = "the pipe"
    HOST = "Open WebUI"
    """The stream ends with the calls open; Open WebUI runs them and calls the pipe again."""
    CALLER = "the API client"
    """The tools are the client's own: it is told of the calls, and nothing is run."""


@dataclass(slots=True)
class CallOutcome:
    """What one call brought back."""

    output: ToolOutputItem
    sources: list[JsonObject] = field(default_factory=list[JsonObject])
    """What the person may look up, each as the `data` of Open WebUI's `source` event.

    Only an answer that streams into a chat shows any.
    """


class Toolbox:
    """The tools of one turn."""

    def __init__(
        self,
        definitions: list[JsonObject],
        executor: Executor,
        context: RequestContext,
        body: CompletionsBody,
    ) -> None:
        self.definitions = definitions
        """The `tools` of the request, in an order that does not change."""
        self._executor = executor
        self._context = context
        self._host_can_run = host_can_run(context, body)
        self._are_callers = _are_callers_tools(context, body)
        self._known_ids: set[str] = set()

    def host_name(self, name: str) -> str:
        """Open WebUI's name of a tool, from the one the API knows it under."""
        return self._executor.host_name(name)

    def owner_of(self, calls: Sequence[FunctionCallItem]) -> CallOwner:
        """Who runs this round. Half a call is nobody's: the pipe answers it without running it."""
        if self._are_callers:
            return CallOwner.CALLER
        if not self._host_can_run or any(call.status != "completed" for call in calls):
            return CallOwner.PIPE
        called = [tool for call in calls for tool in self._executor.tools_called_by(call)]
        return CallOwner.HOST if host_should_run(self._context, called) else CallOwner.PIPE

    async def run(
        self, calls: Sequence[FunctionCallItem], context_left: int | None
    ) -> AsyncGenerator[CallOutcome]:
        """Run a round's calls at once; one outcome for each call, as each finishes.

        `context_left` says how many tokens all outputs together may take. A call without an id,
        or with the id of an earlier one, is given one of its own. Closing this, or cancelling
        what waits in it, cancels every tool that runs.
        """
        room = OutputRoom(context_left, len(calls))
        deadline = asyncio.get_running_loop().time() + self._context.settings.tool_batch_timeout
        tasks: dict[asyncio.Task[ToolResult], FunctionCallItem] = {}
        try:
            for call in calls:
                self._name_call(call)
                tasks[asyncio.create_task(self._executor.answer(call, deadline))] = call
            waiting = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in filter(done.__contains__, tasks):
                    outcome = _outcome(tasks[task], task.result(), room)
                    yield outcome if self._host_can_run else replace(outcome, sources=[])
        finally:
            open_tasks = [task for task in tasks if not task.done()]
            for task in open_tasks:
                task.cancel()
            if open_tasks:
                await asyncio.wait(open_tasks)

    def _name_call(self, call: FunctionCallItem) -> None:
        if not call.call_id or call.call_id in self._known_ids:
            call.call_id = new_item_id("call")
        self._known_ids.add(call.call_id)


def open_toolbox(
    context: RequestContext,
    body: CompletionsBody,
    family: ModelFamily | None,
    limits: ToolLimits | None = None,
) -> Toolbox:
    """The tools of this turn; none for Open WebUI's chores and for models that take none."""
    definitions = _definitions_for(context, body, family)
    tools = context.host.tools if definitions else {}  # a call of what was not offered runs nothing
    executor = Executor(context, tools, body.get("messages") or [], limits or tool_limits())
    return Toolbox(definitions, executor, context, body)


def _definitions_for(
    context: RequestContext, body: CompletionsBody, family: ModelFamily | None
) -> list[JsonObject]:
    if context.task or not takes_tools(family):
        return []
    if _are_callers_tools(context, body):
        return define_callers_tools(body, context.model)
    # Open WebUI would hand the nulls of a strict call to the tool in place of its defaults.
    host_runs = host_can_run(context, body) and host_should_run(context, ())
    is_strict = context.settings.enable_strict_tool_calling and not host_runs
    return define_host_tools(body, context.model, HOSTS_OWN_TOOLS if is_strict else None)


def _are_callers_tools(context: RequestContext, body: CompletionsBody) -> bool:
    """Open WebUI adds none of its own where the request brings tools (`process_chat_payload`)."""
    return not context.host.tools and bool(objects_in(body.get("tools")))


def _outcome(call: FunctionCallItem, result: ToolResult, room: OutputRoom) -> CallOutcome:
    output = ToolOutputItem(
        id=new_item_id("fco"),
        call_id=call.call_id,
        text=room.fit(result.text or "The tool returned nothing."),
        images=result.images,
        files=result.files,
        embeds=result.embeds,
        status="failed" if result.failed else "completed",
    )
    return CallOutcome(output, result.sources)
