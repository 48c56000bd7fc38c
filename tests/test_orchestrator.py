"""The turn: what goes wrong inside it becomes a message, and its slot is given back."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, ClassVar

import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ResponseFailed,
    ToolOutputItem,
)
from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext, current_request
from open_webui_openrouter_pipe.orchestrator import run_turn
from open_webui_openrouter_pipe.runtime import Runtime, process_state
from open_webui_openrouter_pipe.tools.toolbox import CallOutcome, CallOwner
from pipe_lab.simulator import Answer, FunctionCall, Simulator, answer_reply, text_reply

BODY = {"messages": [{"role": "user", "content": "Hello"}]}


class EventsThemselves:
    """A reader of Events; it may stumble once, at the first batch."""

    def __init__(self, stumbles: bool = False) -> None:
        self._stumbles = stumbles

    def render(self, batch: list[Event]) -> list[Event]:
        if self._stumbles:
            self._stumbles = False
            raise LookupError("for the log only")
        return batch


@pytest.fixture
async def runtime() -> AsyncGenerator[Runtime]:
    process_state().current.clear()
    runtime = Runtime()
    yield runtime
    runtime.retire()
    for task in list(process_state().closing):
        await task


def context(simulator: Simulator, request_id: str = "request-1", **own: str) -> RequestContext:
    valves = {"API_KEY": "sk-test", "BASE_URL": simulator.base_url, **own}
    return RequestContext(
        request_id=request_id,
        function_id="openrouter",
        settings=take_snapshot(SystemValves.model_validate(valves)),
        model="a/one",
    )


async def turn(simulator: Simulator, runtime: Runtime, renderer: Any) -> list[Any]:
    return [piece async for piece in run_turn(context(simulator), BODY, runtime, renderer)]


async def test_a_fault_of_our_own_is_told_by_its_number_not_its_details(runtime: Runtime) -> None:
    async with Simulator() as simulator:
        simulator.script(text_reply("Hello"))
        [*_, failure] = await turn(simulator, runtime, EventsThemselves(stumbles=True))
    assert isinstance(failure, ResponseFailed)
    assert "request-1" in failure.error.for_person()
    assert "for the log only" not in failure.error.for_person()
    assert process_state().gate.running == 0


async def test_a_fault_of_our_own_is_told_in_the_admins_words(runtime: Runtime) -> None:
    async with Simulator() as simulator:
        simulator.script(text_reply("Hello"))
        own = context(simulator, INTERNAL_ERROR_TEMPLATE="Tell Ada: {error_id}.")
        renderer: Any = EventsThemselves(stumbles=True)
        [*_, failure] = [piece async for piece in run_turn(own, BODY, runtime, renderer)]
    assert failure.error.for_person() == "Tell Ada: request-1."


class BrokenTools:
    """Tools with a fault of our own."""

    definitions: ClassVar[list[Any]] = []

    def host_name(self, name: str) -> str:
        return name

    def owner_of(self, calls: Any) -> CallOwner:
        return CallOwner.PIPE

    async def run(self, calls: Any, context_left: int | None) -> AsyncGenerator[CallOutcome]:
        raise LookupError("for the log only")
        yield


async def test_a_fault_among_the_tools_keeps_the_calls_and_what_they_cost(
    runtime: Runtime,
) -> None:
    async with Simulator() as simulator:
        call = FunctionCall("add", "c1", ("{}",))
        simulator.script(answer_reply(Answer((call,)), {"input_tokens": 3, "cost": 0.5}))
        tools: Any = lambda *_: BrokenTools()  # noqa: E731
        own = context(simulator)
        answer = run_turn(own, BODY, runtime, EventsThemselves(), tools)
        *_, output, failure = [piece async for piece in answer]
    assert isinstance(output, ItemFinished) and isinstance(output.item, ToolOutputItem)
    assert (output.item.call_id, "broke off" in output.item.text) == ("c1", True)
    assert isinstance(failure, ResponseFailed) and failure.usage is not None
    assert failure.usage.cost == 0.5


async def test_the_turn_knows_its_request_from_its_first_step(runtime: Runtime) -> None:
    async with Simulator() as simulator:
        simulator.script(text_reply("Hello"))
        async for _ in run_turn(context(simulator), BODY, runtime, EventsThemselves()):
            current = current_request().get()
            assert current is not None and current.request_id == "request-1"


async def test_a_slot_is_held_only_while_the_answer_runs(runtime: Runtime) -> None:
    async with Simulator() as simulator:
        simulator.script(text_reply("Hello"))
        answer = run_turn(context(simulator), BODY, runtime, EventsThemselves())
        assert process_state().gate.running == 0
        await anext(answer)
        assert process_state().gate.running == 1
        await answer.aclose()
    assert process_state().gate.running == 0
