"""One call of a tool, contained: in its turn, once, within its time, and with an answer always."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from ..api.events import FunctionCallItem
from ..core.admission import Gate, enter_gate, leave_gate
from ..core.circuit_breaker import (
    BreakerKey,
    BreakerLimit,
    FailureLog,
    note_failure,
    note_success,
    pause_left,
)
from ..core.context import RequestContext
from ..core.ids import api_tool_name
from ..core.json_codec import encode_json
from ..core.json_values import JsonObject
from ..core.logging_system import LOG
from ..core.process import shared_by_process
from ..core.redaction import redact_text
from ..core.source_map import trace_of
from ..host.tools import (
    CALL_TOOL_ID,
    HostTool,
    ToolResult,
    ask_for_approval,
    call_tool,
    read_result,
    read_tool,
    resolve_hidden_call,
)
from .arguments import fit_arguments, read_arguments
from .policy import asks_the_person, can_ask_here, needs_approval, takes_its_time
from .results import (
    cut_off,
    failed,
    join_results,
    not_approved,
    not_begun,
    paused,
    raised,
    timed_out,
    unknown_tool,
    unreadable_arguments,
)

_NO_QUEUE_LIMIT = 1_000_000_000


@dataclass(slots=True)
class ToolLimits:
    """What all copies of the pipe in one process share. Copies of other ages read it."""

    gate: Gate = field(default_factory=Gate)
    failures: FailureLog = field(default_factory=FailureLog)
    running: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    """Tools at work; one that does not heed its cancellation stays until it ends."""


def tool_limits() -> ToolLimits:
    """The one of this process."""
    return shared_by_process("tool_limits", ToolLimits)


class Executor:
    """Runs the calls of one turn."""

    def __init__(
        self,
        context: RequestContext,
        tools: Mapping[str, Any],
        messages: Sequence[Any],
        limits: ToolLimits,
    ) -> None:
        self._context = context
        self._handles = context.host
        self._tools = tools
        self._names = {api_tool_name(name): name for name in tools}
        self._messages = messages
        self._limits = limits
        self._asking = asyncio.Lock()
        self._slots = asyncio.Semaphore(context.settings.max_parallel_tools_per_request)
        self._lanes: dict[str, asyncio.Lock] = {}

    def host_name(self, name: str) -> str:
        """Open WebUI's name of a tool, from the one the API knows it under."""
        return self._names.get(name, name)

    def tools_called_by(self, call: FunctionCallItem) -> list[HostTool]:
        """The tools behind a call; none for one that names none."""
        name = self.host_name(call.name)
        targets = [self._resolve(name, sent) for sent in read_arguments(call.arguments) or [{}]]
        return [target[0] for target in targets if not isinstance(target, ToolResult)]

    async def answer(self, call: FunctionCallItem, deadline: float) -> ToolResult:
        """What the call brings back, or why it brings nothing; raises only when cancelled."""
        try:
            return await self._answer(call, deadline)
        except Exception as error:  # noqa: BLE001 - a tool is contained
            LOG.error("tools: %s could not be answered: %s", call.name, trace_of(error))
            return failed(f"`{call.name}` could not be run, through a fault of the pipe.")

    async def _answer(self, call: FunctionCallItem, deadline: float) -> ToolResult:
        name = self.host_name(call.name)
        if call.status != "completed":
            return cut_off(name)
        if name not in self._tools:
            return unknown_tool(name, list(self._tools))
        objects = read_arguments(call.arguments)
        if objects is None:
            return unreadable_arguments(name, call.arguments)
        results: list[tuple[JsonObject, ToolResult]] = []
        for sent in objects:
            target = self._resolve(name, sent)
            results.append((sent, await self._run_target(call, target, deadline)))
        return results[0][1] if len(results) == 1 else join_results(results)

    def _resolve(self, name: str, sent: JsonObject) -> tuple[HostTool, JsonObject] | ToolResult:
        tools = self._tools
        if read_tool(name, tools.get(name)).tool_id == CALL_TOOL_ID:
            sent = _with_params_as_text(sent)
        resolved = resolve_hidden_call(name, sent, tools)
        if isinstance(resolved, str):
            return ToolResult(text=resolved, failed=True)
        target, arguments = resolved
        if target not in tools:
            return unknown_tool(target, list(tools))
        return read_tool(target, tools[target]), arguments

    async def _run_target(
        self,
        call: FunctionCallItem,
        target: tuple[HostTool, JsonObject] | ToolResult,
        deadline: float,
    ) -> ToolResult:
        if isinstance(target, ToolResult):
            return target
        tool, sent = target
        if (wait := self._pause_left(tool)) > 0:
            return paused(tool.name, wait)
        arguments = fit_arguments(sent, tool.parameters, keep_unknown=tool.kind == "mcp")
        if needs_approval(self._context) and not asks_the_person(tool):
            asked_at = _loop_time()
            if not await self._is_approved(tool, call.call_id, arguments):
                return not_approved(tool.name)
            deadline += _loop_time() - asked_at  # the tool does not pay for the person's time
        if takes_its_time(tool):  # nor may it keep a place from the tools of its own sub-agent
            return await self._run(tool, arguments, None)
        return await self._run_in_turn(tool, arguments, deadline)

    async def _is_approved(self, tool: HostTool, call_id: str, arguments: JsonObject) -> bool:
        if not can_ask_here(self._context):
            return False
        async with self._asking:  # the page shows one question at a time
            return await ask_for_approval(self._handles, tool, call_id, arguments)

    async def _run_in_turn(
        self, tool: HostTool, arguments: JsonObject, deadline: float
    ) -> ToolResult:
        try:
            # The time to wait is bounded here, the tool's own while it runs.
            async with asyncio.timeout_at(deadline) as waiting, self._turn(tool):
                waiting.reschedule(None)
                seconds = min(self._context.settings.tool_timeout, deadline - _loop_time())
                if seconds <= 0:
                    return not_begun(tool.name)
                return await self._run(tool, arguments, seconds)
        except TimeoutError:
            return not_begun(tool.name)

    @asynccontextmanager
    async def _turn(self, tool: HostTool) -> AsyncGenerator[None]:
        """A place in the tool's lane, then one among this answer's tools and the process's."""
        lane = self._lanes.setdefault(tool.lane, asyncio.Lock()) if tool.lane else asyncio.Lock()
        gate, limit = self._limits.gate, self._context.settings.max_parallel_tools_global
        async with lane, self._slots:
            await enter_gate(gate, limit, _NO_QUEUE_LIMIT)
            try:
                yield
            finally:
                leave_gate(gate)

    async def _run(
        self, tool: HostTool, arguments: JsonObject, seconds: float | None
    ) -> ToolResult:
        """Run it in a task of its own: one that ignores its end must not hold up the answer."""
        task = asyncio.ensure_future(self._contained(tool, arguments))
        self._limits.running.add(task)
        task.add_done_callback(self._limits.running.discard)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not task.done():
            self._note_failure(tool)
            return timed_out(tool.name, seconds or 0.0)
        if task.cancelled():
            self._note_failure(tool)
            return raised(tool.name, "it was cancelled.")
        return task.result()

    async def _contained(self, tool: HostTool, arguments: JsonObject) -> ToolResult:
        try:
            returned = await call_tool(self._handles, tool, arguments, self._messages)
        except (Exception, BaseExceptionGroup, SystemExit) as error:  # noqa: BLE001 - a tool is contained
            self._note_failure(tool)
            LOG.info("tools: %s failed: %s", tool.name, type(error).__name__)
            return raised(tool.name, redact_text(str(error)) or type(error).__name__)
        note_success(self._limits.failures, self._breaker_key(tool))
        try:
            return await read_result(self._handles, tool, arguments, returned)
        except Exception as error:  # noqa: BLE001 - so is what it returns
            LOG.warning("tools: the result of %s: %s", tool.name, trace_of(error))
            return raised(tool.name, "it was run, but its result could not be read.")

    def _breaker_key(self, tool: HostTool) -> BreakerKey:
        return (self._context.user_id, tool.tool_id, tool.name)

    def _pause_left(self, tool: HostTool) -> float:
        settings = self._context.settings
        limit = BreakerLimit(settings.breaker_max_failures, settings.breaker_window)
        return pause_left(self._limits.failures, self._breaker_key(tool), limit, time.monotonic())

    def _note_failure(self, tool: HostTool) -> None:
        note_failure(self._limits.failures, self._breaker_key(tool), time.monotonic())


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _with_params_as_text(sent: JsonObject) -> JsonObject:
    """`call_tool` wants its target's arguments as JSON text; an object can only mean that."""
    params = sent.get("params")
    if params is None:
        return sent
    objects = [params] if isinstance(params, dict) else read_arguments(str(params))
    if objects is None or len(objects) != 1:
        return sent
    return {**sent, "params": encode_json(objects[0]).decode()}
