"""Rounds of tools within one answer: what OpenRouter is asked next, and what each reader sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from open_webui_openrouter_pipe.core.ids import api_tool_name
from pipe_lab.simulator import (
    Answer,
    FunctionCall,
    Message,
    Reasoning,
    Reply,
    Simulator,
    answer_reply,
    broken_off,
    chat_answer_reply,
    error_event,
    error_plain,
    error_reply,
    text_reply,
)
from tests.turns.calls import (
    CHAT,
    Json,
    as_pieces,
    body,
    make_pipe,
    read_chunks,
    text_of_chat,
)

QUIET = {"SHOW_FINAL_USAGE_STATUS": False}
Tool = Callable[..., Awaitable[Any]]


def usage(tokens: int, cost: float | None = None) -> Json:
    figures: Json = {"input_tokens": tokens, "output_tokens": 10, "total_tokens": tokens + 10}
    return figures if cost is None else {**figures, "cost": cost}


def call(name: str = "add", call_id: str = "call_1", arguments: str = '{"a":1}') -> FunctionCall:
    return FunctionCall(name, call_id, (arguments,))


def calls_reply(*calls: FunctionCall, before: Any = (), tokens: int = 100) -> Reply:
    return answer_reply(Answer((*before, *calls)), usage(tokens, 0.25))


def offer(**tools: Tool) -> tuple[Json, Json]:
    """Tools as Open WebUI hands them over: `tools` of the body, and `__tools__`."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    specs = {name: {"name": name, "description": name, "parameters": schema} for name in tools}
    listed = [{"type": "function", "function": spec} for spec in specs.values()]
    entries = {
        name: {"tool_id": name, "callable": tool, "spec": specs[name]}
        for name, tool in tools.items()
    }
    return {"tools": listed}, entries


async def add(a: int = 0) -> str:
    return f"{a + 1}"


async def turn(pipe: Any, caller: Json, extra: Json | None = None, **tools: Tool) -> Any:
    offered, entries = offer(**tools) if tools else ({}, {})
    stream = bool(caller.get("stream", True))
    request = {**body(stream=stream), **offered, **(extra or {})}
    return await pipe.pipe(request, {**caller}, __tools__=entries)


async def chat(pipe: Any, extra: Json | None = None, **tools: Tool) -> list[Json]:
    async with asyncio.timeout(10):
        answer = await turn(pipe, CHAT, extra, **(tools or {"add": add}))
        assert isinstance(answer, AsyncGenerator)
        return [event async for event in answer]


def items(events: list[Json]) -> list[Json]:
    """The saved output, put together as Open WebUI's reducer does."""
    saved: list[Json] = []
    for event in events:
        place = event.get("output_index", -1)
        if event.get("type") == "response.output_item.added":
            saved.insert(place, event["item"])
        elif event.get("type") == "response.output_item.done":
            saved[place : place + 1] = [event["item"]]
    return saved


def gist(entries: list[Json]) -> list[tuple[str, str]]:
    """What an item is, and which call it belongs to."""
    return [(entry.get("type", "message"), entry.get("call_id", "")) for entry in entries]


def output_of(entry: Json) -> str:
    return "".join(part.get("text", "") for part in entry["output"])


async def test_calls_are_run_and_their_outputs_asked_about_and_shown(simulator: Simulator) -> None:
    thought = Reasoning(("Adding.",), encrypted_content="blob", format="openai-responses-v1")
    said = Message(("One moment.",), phase="commentary")
    simulator.script(
        calls_reply(call(), call(call_id="call_2", arguments='{"a":2}'), before=(thought, said))
    )
    simulator.script(text_reply("Two and three."))
    events = await chat(make_pipe(simulator, **QUIET))
    assert gist(items(events)) == [
        ("reasoning", ""),
        ("message", ""),
        ("function_call", "call_1"),
        ("function_call", "call_2"),
        ("function_call_output", "call_1"),
        ("function_call_output", "call_2"),
        ("message", ""),
    ]
    assert [output_of(item) for item in items(events)[4:6]] == ["2", "3"]
    first, second = (request.body for request in simulator.requests)
    assert second["input"][: len(first["input"])] == first["input"]
    reasoning, message, *rest = second["input"][len(first["input"]) :]
    assert reasoning["encrypted_content"] == "blob"
    assert message == {"role": "assistant", "content": "One moment.", "phase": "commentary"}
    assert rest == [
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "call_2", "name": "add", "arguments": '{"a":2}'},
        {"type": "function_call_output", "call_id": "call_1", "output": "2"},
        {"type": "function_call_output", "call_id": "call_2", "output": "3"},
    ]
    assert second["tools"] == first["tools"]
    assert [event["type"] for event in events].count("response.completed") == 1


async def test_an_output_is_shown_when_it_comes_and_kept_in_the_order_of_the_calls(
    simulator: Simulator,
) -> None:
    quick_is_shown = asyncio.Event()

    async def slow() -> str:
        await quick_is_shown.wait()
        return "slow"

    async def quick() -> str:
        return "quick"

    simulator.script(calls_reply(call("slow", "c1", "{}"), call("quick", "c2", "{}")))
    simulator.script(text_reply("Done."))
    pipe = make_pipe(simulator, **QUIET)
    events: list[Json] = []
    async with asyncio.timeout(10):
        async for event in await turn(pipe, CHAT, slow=slow, quick=quick):
            events.append(event)
            if event.get("item", {}).get("call_id") == "c2" and "output" in event["item"]:
                quick_is_shown.set()
    assert gist(items(events))[2:4] == [
        ("function_call_output", "c1"),
        ("function_call_output", "c2"),
    ]
    outputs = [e for e in simulator.requests[1].body["input"] if "output" in e]
    assert [output["output"] for output in outputs] == ["slow", "quick"]


async def test_every_round_is_counted_once(simulator: Simulator) -> None:
    simulator.script(calls_reply(call(), tokens=100))
    simulator.script(broken_off(text_reply("x", usage=usage(7)), 0, failed_with(usage(40, 0.5))))
    simulator.script(text_reply("Two.", usage=usage(150, 0.125)))
    events = await chat(make_pipe(simulator, **QUIET))
    counted = events[-1]["response"]["usage"]
    assert (
        counted.items()
        >= {
            "input_tokens": 290,
            "output_tokens": 30,
            "cost": 0.875,
            "prompt_tokens": 150,
            "completion_tokens": 10,
        }.items()
    )


def failed_with(figures: Json) -> Json:
    error = {"code": "server_error", "message": "Busy"}
    response = {"id": "gen-1", "status": "failed", "error": error, "usage": figures}
    return {
        "type": "response.failed",
        "response": {**response, "error_type": "provider_overloaded"},
    }


async def test_an_approved_chat_leaves_its_calls_to_open_webui(simulator: Simulator) -> None:
    simulator.script(calls_reply(call()))
    pipe = make_pipe(simulator, TOOL_EXECUTION_MODE="Open-WebUI", **QUIET)
    events = await chat(pipe)
    assert gist(items(events)) == [("function_call", "call_1")]
    assert [entry["status"] for entry in items(events)] == ["in_progress"]
    assert events[-1]["type"] == "response.completed"
    assert len(simulator.requests) == 1


async def test_a_round_may_be_the_pipes_and_the_next_the_hosts(simulator: Simulator) -> None:
    simulator.script(calls_reply(call()))
    simulator.script(calls_reply(call("ask_user", "call_2", "{}")))
    offered, entries = offer(add=add, ask_user=add)
    entries["ask_user"] |= {"type": "builtin", "tool_id": "builtin:ask_user"}
    async with asyncio.timeout(10):
        answer = await make_pipe(simulator, **QUIET).pipe(
            {**body(), **offered}, CHAT, __tools__=entries
        )
        assert isinstance(answer, AsyncGenerator)
        events = [event async for event in answer]
    assert gist(items(events)) == [
        ("function_call", "call_1"),
        ("function_call_output", "call_1"),
        ("function_call", "call_2"),
    ]
    states = [entry["status"] for entry in items(events)]
    assert states == ["completed", "completed", "in_progress"]
    assert events[-1]["response"]["usage"]["cost"] == 0.5


async def test_a_name_the_api_refuses_is_mapped_both_ways(simulator: Simulator) -> None:
    name = api_tool_name("my.tool")
    simulator.script(calls_reply(call(name)))
    simulator.script(text_reply("Two."))
    events = await chat(make_pipe(simulator, **QUIET), **{"my.tool": add})
    assert items(events)[0]["name"] == "my.tool"
    assert output_of(items(events)[1]) == "2"
    sent = simulator.requests[1].body["input"]
    assert [entry["name"] for entry in sent if "name" in entry] == [name]


async def test_after_the_last_round_of_tools_the_model_must_answer(simulator: Simulator) -> None:
    simulator.script(calls_reply(call(call_id="c1")))
    simulator.script(calls_reply(call(call_id="c2", arguments='{"a":5}')))
    simulator.script(text_reply("Two, and no more."))
    events = await chat(make_pipe(simulator, MAX_FUNCTION_CALL_LOOPS=1, **QUIET))
    assert text_of_chat(events) == "Two, and no more."
    outputs = [output_of(item) for item in items(events) if "output" in item]
    assert outputs[0] == "2"
    assert outputs[1].startswith("Not run")
    [status] = [event["event"]["data"] for event in events if "event" in event]
    assert "1 times" in status["description"]
    assert [request.body.get("tool_choice") for request in simulator.requests] == [
        None,
        None,
        "none",
    ]


async def test_a_model_that_calls_even_then_gets_a_plain_message(simulator: Simulator) -> None:
    for number in range(3):
        simulator.script(calls_reply(call(call_id=f"c{number}")))
    events = await chat(make_pipe(simulator, MAX_FUNCTION_CALL_LOOPS=1, **QUIET))
    assert "wrote no answer" in text_of_chat(events)
    pairs = gist(items(events))
    assert [kind for kind, _ in pairs].count("function_call_output") == 3
    assert events[-1]["type"] == "response.completed"


async def test_a_call_made_again_and_again_is_told_so(simulator: Simulator) -> None:
    for number in range(3):
        simulator.script(calls_reply(call(call_id=f"c{number}", arguments='{"a": 1}')))
    simulator.script(text_reply("Two."))
    events = await chat(make_pipe(simulator, **QUIET))
    outputs = [output_of(item) for item in items(events) if "output" in item]
    assert outputs[:2] == ["2", "2"]
    assert "same arguments 3 times" in outputs[2]
    assert "same arguments 3 times" in simulator.requests[3].body["input"][-1]["output"]


@pytest.mark.parametrize("answers", [True, False])
async def test_silence_after_tools_is_asked_about_once(simulator: Simulator, answers: bool) -> None:
    simulator.script(calls_reply(call()))
    simulator.script(text_reply(""))
    simulator.script(text_reply("Two." if answers else ""))
    events = await chat(make_pipe(simulator, **QUIET))
    assert ("Two." if answers else "wrote no answer") in text_of_chat(events)
    reminder = simulator.requests[2].body
    assert reminder["tool_choice"] == "none"
    assert "not answered" in reminder["input"][-1]["content"][0]["text"]
    assert len(simulator.requests) == 3


async def test_a_full_context_ends_the_tools(simulator: Simulator) -> None:
    simulator.script(calls_reply(call(), tokens=127_000))
    simulator.script(text_reply("Enough."))
    pipe = make_pipe(simulator, **QUIET)
    await pipe.pipes()
    async with asyncio.timeout(10):
        offered, entries = offer(add=add)
        request = {**body(model="openai.gpt-4o"), **offered}
        answer = await pipe.pipe(request, CHAT, __tools__=entries)
        assert isinstance(answer, AsyncGenerator)
        events = [event async for event in answer]
    assert "no room left" in output_of(items(events)[1])
    assert text_of_chat(events) == "Enough."


async def test_a_forced_call_is_forced_once(simulator: Simulator) -> None:
    simulator.script(calls_reply(call()))
    simulator.script(text_reply("Two."))
    named = {"type": "function", "function": {"name": "add"}}
    await chat(make_pipe(simulator, **QUIET), {"tool_choice": named})
    first, second = simulator.requests
    assert first.body["tool_choice"] == {"type": "function", "name": "add"}
    assert second.body["tool_choice"] == "auto"


async def test_a_model_without_tools_answers_without_them(simulator: Simulator) -> None:
    refusal = error_plain(404, "No endpoints found that support tool use. Try disabling it.")
    simulator.script(Reply(status=404, body=refusal))
    simulator.script(text_reply("I cannot add."))
    events = await chat(make_pipe(simulator, **QUIET))
    assert text_of_chat(events) == "I cannot add."
    assert "tools" not in simulator.requests[1].body
    [status] = [event["event"]["data"] for event in events if "event" in event]
    assert "takes no tools" in status["description"]


async def test_a_round_that_fails_keeps_what_was_shown(simulator: Simulator) -> None:
    simulator.script(calls_reply(call(), before=(Message(("Adding.",)),)))
    simulator.script(error_reply(402, "No credits"))
    events = await chat(make_pipe(simulator, **QUIET))
    assert "No credits" in events[-1]["error"]["message"]
    assert events[-1]["usage"]["cost"] == 0.25
    assert gist(items(events))[-1] == ("function_call_output", "call_1")
    assert text_of_chat(events) == "Adding."


async def test_calls_of_an_answer_that_breaks_off_are_never_run(simulator: Simulator) -> None:
    runs: list[int] = []

    async def count(a: int = 0) -> str:
        runs.append(a)
        return "x"

    reply = calls_reply(call(), Message(("More",)))  # type: ignore[arg-type]
    simulator.script(broken_off(reply, 10, error_event("It broke", "server_error")))
    events = await chat(make_pipe(simulator, **QUIET), add=count)
    assert events[-1]["error"]
    saved = [item for item in items(events) if item["type"].startswith("function")]
    assert gist(saved) == [("function_call", "call_1"), ("function_call_output", "call_1")]
    assert "broke off" in output_of(saved[1])
    assert runs == []


async def test_stopping_ends_the_tools_that_run(simulator: Simulator) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def endless() -> str:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ""

    simulator.script(calls_reply(call("endless", arguments="{}")))
    answer = await turn(make_pipe(simulator, **QUIET), CHAT, endless=endless)
    async with asyncio.timeout(5):

        async def read() -> None:
            async for _ in answer:
                pass

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await ended.wait()
        await answer.aclose()


CLIENT = {"user_id": "user-1"}


async def api_chunks(pipe: Any, extra: Json | None = None, **tools: Tool) -> list[Json]:
    async with asyncio.timeout(10):
        answer = await turn(pipe, CLIENT, extra, **tools)
        assert isinstance(answer, StreamingResponse)
        return read_chunks([bytes(piece) async for piece in as_pieces(answer)])


OWN_TOOLS = {"tools": [{"type": "function", "function": {"name": "lookup", "parameters": {}}}]}


@pytest.mark.parametrize("is_chat", [False, True])
async def test_the_calls_of_a_clients_own_tools_are_the_answer(
    simulator: Simulator, is_chat: bool
) -> None:
    asked = Answer((call("lookup", "c1", '{"q":1}'), call("lookup", "c2", '{"q":2}')))
    simulator.script(chat_answer_reply(asked) if is_chat else answer_reply(asked))
    endpoint = "chat_completions" if is_chat else "responses"
    chunks = await api_chunks(make_pipe(simulator, DEFAULT_LLM_ENDPOINT=endpoint), OWN_TOOLS)
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["finish_reason"] for choice in choices] == [None, None, "tool_calls"]
    assert [choice["delta"]["tool_calls"][0] for choice in choices[:2]] == [
        {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": {"name": "lookup", "arguments": f'{{"q":{index + 1}}}'},
        }
        for index, call_id in enumerate(["c1", "c2"])
    ]
    [sent] = simulator.requests[0].body["tools"]
    assert (sent.get("name"), sent.get("function", {}).get("name")) == (
        (None, "lookup") if is_chat else ("lookup", None)
    )


async def test_a_client_that_waits_gets_the_calls_too(simulator: Simulator) -> None:
    simulator.script(calls_reply(call("lookup", "c1", '{"q":1}')))
    answer = await turn(make_pipe(simulator), {**CLIENT, "stream": False}, OWN_TOOLS)
    [choice] = answer["choices"]
    assert choice["finish_reason"] == "tool_calls"
    [made] = choice["message"]["tool_calls"]
    assert made["function"] == {"name": "lookup", "arguments": '{"q":1}'}
    assert len(simulator.requests) == 1


async def test_of_tools_the_pipe_ran_itself_a_client_sees_only_the_words(
    simulator: Simulator,
) -> None:
    for _ in range(2):
        simulator.script(calls_reply(call()))
        simulator.script(text_reply("Two."))
    chunks = await api_chunks(make_pipe(simulator), add=add)
    assert "tool_calls" not in json.dumps(chunks)
    assert chunks[0]["choices"][0]["delta"]["content"] == "Two."
    answer = await turn(make_pipe(simulator), {**CLIENT, "stream": False}, add=add)
    [choice] = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Two."}
    assert choice["finish_reason"] == "stop"


async def test_chat_completions_carries_rounds_as_messages(simulator: Simulator) -> None:
    simulator.script(chat_answer_reply(Answer((call(),))))
    simulator.script(chat_answer_reply(Answer((Message(("Two.",)),))))
    pipe = make_pipe(simulator, DEFAULT_LLM_ENDPOINT="chat_completions", **QUIET)
    events = await chat(pipe)
    assert text_of_chat(events) == "Two."
    made, output = simulator.requests[1].body["messages"][-2:]
    assert made["tool_calls"][0]["function"] == {"name": "add", "arguments": '{"a":1}'}
    assert output == {"role": "tool", "tool_call_id": "call_1", "content": "2"}
