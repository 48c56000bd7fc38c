"""What happens between a refusal and the answer: waiting, repairing, changing the endpoint."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import (
    Reply,
    Simulator,
    broken_off,
    chat_text_reply,
    error_availability,
    error_event,
    error_failed_response,
    error_plain,
    error_reply,
    error_validation,
    text_reply,
)
from tests.turns.calls import (
    BEFORE_TEXT,
    CHAT,
    Json,
    body,
    chat,
    closed_port,
    kinds,
    make_pipe,
    read_chunks,
    start_chat,
    stream,
    text_of_chat,
    whole,
)


def statuses(events: list[Json]) -> list[Json]:
    """What the status line said, in order."""
    asides = (event["event"] for event in events if "event" in event)
    return [aside["data"] for aside in asides if aside["type"] == "status"]


def failed(kind: str) -> Json:
    return {
        "type": "response.failed",
        "response": error_failed_response("It broke", "server_error", kind),
    }


PASSING: dict[str, Reply] = {
    "429 now": error_reply(429, "Slow down", retry_after=0),
    "429": error_reply(429, "Slow down"),
    "502": error_reply(502, "Bad gateway"),
    "503": error_reply(503, "No provider"),
    "529": error_reply(529, "Overloaded"),
    "500": error_reply(500, "Internal"),
    "an availability": Reply(
        status=503,
        body=error_availability("Later", 503, "provider_overloaded", {"retry_after": 0}),
    ),
    "an error under 200": Reply(body=error_plain(502, "Bad gateway")),
    "a failed response": Reply(events=[failed("provider_unavailable")]),
    "an error after the start": broken_off(
        text_reply("x"), 3, error_event("Slow down", "rate_limit_exceeded")
    ),
}


@pytest.mark.parametrize("name", PASSING)
async def test_a_refusal_that_passes_is_waited_for_and_the_answer_comes(
    simulator: Simulator, name: str
) -> None:
    simulator.script(PASSING[name])
    simulator.script(text_reply("Hello."))
    events = await chat(make_pipe(simulator, SHOW_FINAL_USAGE_STATUS=False))
    assert text_of_chat(events) == "Hello."
    assert events[-1]["type"] == "response.completed"
    waiting, closed = statuses(events)
    assert "Trying again in 0 s" in waiting["description"]
    assert (waiting["done"], closed) == (False, {"description": "", "done": True})
    order = kinds(events)
    assert order[:3] == ["event", "response.output_item.added", "response.content_part.added"]
    first, second = simulator.requests
    assert first.body == second.body


async def test_other_readers_are_not_told_of_the_wait(simulator: Simulator) -> None:
    simulator.script(PASSING["429"])
    simulator.script(text_reply("Hello."))
    chunks = read_chunks(await stream(make_pipe(simulator)))
    assert [chunk["choices"][0]["delta"] for chunk in chunks[:1]] == [
        {"role": "assistant", "content": "Hello."}
    ]
    simulator.script(PASSING["429"])
    simulator.script(text_reply("Hello."))
    answer = await whole(make_pipe(simulator))
    assert answer["choices"][0]["message"]["content"] == "Hello."


@pytest.mark.parametrize(("status", "tries"), [(429, 4), (503, 4), (500, 2), (400, 1), (402, 1)])
async def test_a_refusal_that_stays_is_told_after_so_many_tries(
    simulator: Simulator, status: int, tries: int
) -> None:
    for _ in range(6):
        simulator.script(error_reply(status, "No"))
    events = await chat(make_pipe(simulator))
    assert str(status) in events[-1]["error"]["message"]
    assert len(simulator.requests) == tries


@pytest.mark.parametrize(
    "ending",
    [
        error_event("Slow down", "rate_limit_exceeded"),
        failed("provider_unavailable"),
        {"error": {"code": 429, "message": "Slow down"}},
    ],
)
async def test_nothing_is_repeated_after_the_first_word(simulator: Simulator, ending: Json) -> None:
    simulator.script(broken_off(text_reply("Hello there"), BEFORE_TEXT + 1, ending))
    events = await chat(make_pipe(simulator))
    assert text_of_chat(events) == "Hello"
    assert events[-1]["error"]
    assert len(simulator.requests) == 1


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param({"disconnect_after": 0}, id="disconnected"),
        pytest.param({"end_after": 0}, id="empty"),
        pytest.param({"stall_after": 0}, id="silent"),
        pytest.param({"disconnect_after": 2}, id="disconnected before the first word"),
    ],
)
async def test_a_request_that_went_out_without_an_answer_is_never_sent_again(
    simulator: Simulator, lost: Json
) -> None:
    reply = text_reply("Hello")
    for name, value in lost.items():
        setattr(reply, name, value)
    simulator.script(reply)
    events = await chat(make_pipe(simulator, HTTP_SOCK_READ_SECONDS=1))
    assert events[-1]["error"]
    assert len(simulator.requests) == 1


async def test_a_connection_that_never_was_is_tried_again() -> None:
    events = await chat(make_pipe(BASE_URL=closed_port()))
    assert len(statuses(events)) == 4  # three tries more, and the end of the status
    assert "No connection" in events[-1]["error"]["message"]


async def test_a_mistyped_server_is_told_after_two_tries() -> None:
    events = await chat(make_pipe(BASE_URL="http://nowhere.invalid/api/v1"))
    assert len(statuses(events)) == 2  # one try more, and the end of the status
    assert "typing error" in events[-1]["error"]["message"]


async def test_stopping_works_during_the_wait(simulator: Simulator) -> None:
    simulator.script(error_reply(429, "Slow down", retry_after=30))
    answer = await start_chat(make_pipe(simulator))
    async with asyncio.timeout(5):
        status = await anext(answer)
        assert "Trying again in 30 s" in status["event"]["data"]["description"]
        waiting = asyncio.ensure_future(anext(answer))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await answer.aclose()
    assert len(simulator.requests) == 1


async def test_closing_works_before_the_wait(simulator: Simulator) -> None:
    simulator.script(error_reply(429, "Slow down", retry_after=30))
    answer = await start_chat(make_pipe(simulator))
    async with asyncio.timeout(5):
        await anext(answer)
        await answer.aclose()


MANDATORY = "Reasoning is mandatory for this endpoint and cannot be disabled."
EFFORT = 'reasoning.effort: Invalid option: expected one of "low"|"medium"'


async def asked(pipe: Pipe, **fields: Any) -> list[Json]:
    answer: Any = await pipe.pipe({**body(), **fields}, CHAT)
    async with asyncio.timeout(10):
        return [event async for event in answer]


@pytest.mark.parametrize(
    ("message", "fields", "name", "before", "after"),
    [
        (MANDATORY, {"reasoning_effort": "none"}, "reasoning", {"effort": "none"}, "low"),
        (EFFORT, {"reasoning_effort": "high"}, "reasoning", {"effort": "high"}, "medium"),
        ("Unknown parameter: 'top_k'", {"top_k": 4}, "top_k", 4, None),
    ],
)
async def test_a_request_is_repaired_once_and_at_once(  # noqa: PLR0913
    simulator: Simulator, message: str, fields: Json, name: str, before: Any, after: Any
) -> None:
    refusal = error_reply(400, message)
    pipe = make_pipe(simulator, REASONING_SUMMARY_MODE="disabled")
    simulator.script(refusal)
    simulator.script(text_reply("Hello."))
    events = await asked(pipe, **fields)
    assert text_of_chat(events) == "Hello."
    first, second = (request.body.get(name) for request in simulator.requests)
    assert first == before
    assert second == ({"effort": after} if after else None)

    simulator.reset()
    for _ in range(3):
        simulator.script(refusal)
    events = await asked(pipe, **fields)
    assert message.split("'")[0].split('"')[0][:20] in events[-1]["error"]["message"]
    assert len(simulator.requests) == 2


async def test_thinking_another_provider_sealed_is_left_out_once(simulator: Simulator) -> None:
    details = [{"type": "reasoning.encrypted", "data": "e", "id": "rs_1"}]
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello.", "reasoning_details": details},
        {"role": "user", "content": "And?"},
    ]
    refusal = Reply(
        status=400, body={"error": {"code": "invalid_encrypted_content", "message": "No"}}
    )
    simulator.script(refusal)
    simulator.script(text_reply("Yes."))
    events = await asked(make_pipe(simulator), messages=messages)
    assert text_of_chat(events) == "Yes."
    first, second = ([item.get("type") for item in r.body["input"]] for r in simulator.requests)
    assert first == ["message", "reasoning", None, "message"]
    assert second == ["message", None, "message"]


WRONG_ENDPOINT: dict[str, Reply] = {
    "405": error_reply(405, "Method Not Allowed"),
    "by its name": Reply(
        status=400,
        body=error_availability("Other", 400, "invalid_request", {"code": "wrong_endpoint"}),
    ),
    "by its words": Reply(status=400, body=error_validation("Invalid Responses API request", [])),
}


@pytest.mark.parametrize("name", WRONG_ENDPOINT)
async def test_the_other_endpoint_answers_where_the_first_cannot(
    simulator: Simulator, name: str
) -> None:
    simulator.script(WRONG_ENDPOINT[name], path="/responses")
    simulator.script(chat_text_reply("Hello.", reasoning="Hm."), path="/chat/completions")
    events = await chat(make_pipe(simulator))
    assert text_of_chat(events) == "Hello."
    assert events[-1]["type"] == "response.completed"
    assert [request.path for request in simulator.requests] == ["/responses", "/chat/completions"]
    assert simulator.requests[1].body["messages"] == [{"role": "user", "content": "Hello"}]


async def test_the_endpoint_changes_only_once(simulator: Simulator) -> None:
    simulator.script(error_reply(405, "Not here"), path="/responses")
    simulator.script(error_reply(405, "Nor here"), path="/chat/completions")
    events = await chat(make_pipe(simulator))
    assert "Nor here" in events[-1]["error"]["message"]
    assert len(simulator.requests) == 2


@pytest.mark.parametrize(
    ("valves", "fields"),
    [
        ({"DEFAULT_LLM_ENDPOINT": "chat_completions"}, {}),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "a/*"}, {}),
        ({}, {"stop": ["END"], "seed": 7}),
    ],
)
async def test_chat_completions_answers_like_responses(
    simulator: Simulator, valves: Json, fields: Json
) -> None:
    reply = chat_text_reply("Grüße 🙂", reasoning="Let me see.", usage={"cost": 0.5})
    reply.chunk_size = 7
    simulator.script(reply, path="/chat/completions")
    events = await asked(make_pipe(simulator, **valves), **fields)
    assert text_of_chat(events) == "Grüße 🙂"
    items = [event["item"] for event in events if event.get("type") == "response.output_item.done"]
    assert [item["type"] for item in items] == ["reasoning", "message"]
    assert events[-1]["response"]["usage"]["cost"] == 0.5
    [request] = simulator.requests
    assert {name: request.body[name] for name in fields} == fields


async def test_a_rule_against_the_request_is_told_and_nothing_is_sent(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, FORCE_RESPONSES_MODELS="a/*")
    events = await asked(pipe, seed=7)
    assert "seed" in events[-1]["error"]["message"]
    assert simulator.requests == []


async def test_a_slot_is_given_back_after_all_tries(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, MAX_CONCURRENT_REQUESTS=1, MAX_QUEUED_REQUESTS=0)
    for _ in range(4):
        simulator.script(error_reply(503, "No"))
    await chat(pipe)
    simulator.script(text_reply("Hello."))
    assert text_of_chat(await chat(pipe)) == "Hello."
