"""What Open WebUI's own code makes of an answer with tools: the saved output, usage, next turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.host.reducer import reduce_events
from pipe_lab.simulator import (
    Answer,
    FunctionCall,
    Reasoning,
    Reply,
    Simulator,
    answer_reply,
    text_reply,
)
from tests.host.test_saved_output import BODY, SAVED_CHAT

pytestmark = pytest.mark.host

SPEC = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


async def add(a: int) -> str:
    return f"{a + 1}"


async def events_of(pipe: Pipe) -> list[dict[str, Any]]:
    body = {**BODY, "tools": [{"type": "function", "function": SPEC}]}
    entry = {"tool_id": "t", "callable": add, "spec": SPEC}
    answer = await pipe.pipe(
        body, __metadata__={**SAVED_CHAT, "user_id": "ada"}, __tools__={"add": entry}
    )
    assert isinstance(answer, AsyncGenerator)
    return [event async for event in answer]


def usage(tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": tokens,
        "output_tokens": 10,
        "total_tokens": tokens + 10,
        "cost": 0.25,
    }


def two_rounds() -> list[Reply]:
    """The same ids in both rounds, as some vendors have them."""
    thought = Reasoning(("Adding.",), encrypted_content="e", format="openai-responses-v1")
    calls = [FunctionCall("add", f"call_{n}", (f'{{"a":{n}}}',)) for n in (0, 1)]
    return [
        answer_reply(Answer((thought, *calls)), usage(100)),
        answer_reply(Answer((calls[0],)), usage(200)),
        text_reply("One, two, one.", usage=usage(300)),
    ]


async def test_the_saved_answer_holds_every_call_with_its_output(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    for reply in two_rounds():
        simulator.script(reply)
    seen = reduce_events(host_python, await events_of(pipe))
    assert [item["type"] for item in seen["output"]] == [
        "reasoning",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "function_call",
        "function_call_output",
        "message",
    ]
    calls = [item["call_id"] for item in seen["output"] if item["type"] == "function_call"]
    outputs = [item["call_id"] for item in seen["output"] if "output" in item]
    assert calls == outputs and len(set(calls)) == 3
    first, *results, second, result, last = seen["messages"]
    assert [call["id"] for call in first["tool_calls"]] == calls[:2]
    assert first["reasoning_details"][-1]["data"] == "e"
    assert [entry["content"] for entry in [*results, result]] == ["1", "2", "1"]
    assert [call["id"] for call in second["tool_calls"]] == calls[2:]
    assert last["content"] == "One, two, one."


async def test_the_saved_usage_sums_the_rounds_and_measures_the_last(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    for reply in two_rounds():
        simulator.script(reply)
    seen = reduce_events(host_python, await events_of(pipe))
    counted = seen["usage"]
    assert (counted["input_tokens"], counted["output_tokens"]) == (600, 30)
    assert (counted["total_tokens"], counted["cost"]) == (630, 0.75)
    # The host compacts a chat by the length these two give.
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (300, 10)


async def test_a_round_the_host_takes_over_adds_to_what_came_before(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    """Each call of the pipe within one answer gives one usage; the host merges them."""
    for reply in two_rounds():
        simulator.script(reply)
    events = await events_of(pipe)
    simulator.script(text_reply("And more.", usage=usage(400)))
    merged = reduce_events(host_python, [*events, *(await events_of(pipe))])["usage"]
    assert (merged["input_tokens"], merged["cost"]) == (1000, 1.0)
    assert (merged["prompt_tokens"], merged["completion_tokens"]) == (400, 10)
