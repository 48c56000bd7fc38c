"""Every failure is told, with its cause and the next step, and keeps what there was."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from types import ModuleType
from typing import Any

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import (
    Reply,
    Simulator,
    error_event,
    error_failed_response,
    error_in_success,
    error_reply,
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
    stream,
    text_of_chat,
    whole,
)

USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, "cost": 0.0125}


def failed(reply_error: Json) -> Reply:
    event = {"type": "response.failed", "response": reply_error}
    return Reply(events=[event])


# Longer than the pipe waits: such a request is not sent again.
NOT_NOW = 120

FAILURES = {
    "no key": ({"API_KEY": ""}, None, ["No OpenRouter API key", "API_KEY"]),
    "a key nobody knows": ({"API_KEY": "sk-bad"}, None, ["401", "API_KEY"]),
    "a key no header can carry": ({"API_KEY": "sk-\n☃"}, None, ["API_KEY"]),
    "an unknown model": (
        {},
        error_reply(400, "a/one is not a valid model ID"),
        ["400", "a/one is not a valid model ID"],
    ),
    "a model outside the list": ({"MODEL_ID": "b/two"}, None, ["a/one", "MODEL_ID"]),
    "too many requests": (
        {},
        error_reply(429, "Slow down", retry_after=NOT_NOW),
        ["429", "120 seconds"],
    ),
    "a server error": (
        {},
        error_reply(500, "Internal Server Error", retry_after=NOT_NOW),
        ["500", "Try again"],
    ),
    "a page of a gateway": (
        {},
        Reply(
            status=502, body="<html>x", headers={"Content-Type": "text/html", "Retry-After": "120"}
        ),
        ["502", "Bad Gateway"],
    ),
    "an error in a success": ({}, error_in_success("It broke", 400), ["It broke"]),
    "an error event": ({}, Reply(events=[error_event("It broke", "bio_policy")]), ["It broke"]),
    "a failed response": (
        {},
        failed(error_failed_response("It broke", "server_error", "content_policy_violation")),
        ["It broke"],
    ),
    "an empty stream": ({}, Reply(events=[], done=False), ["stopped before its end"]),
    "no network": ({"BASE_URL": closed_port()}, None, ["No connection", "BASE_URL"]),
    "an address that is none": ({"BASE_URL": "http://["}, None, ["BASE_URL"]),
    "an address of another kind": ({"BASE_URL": "ftp://localhost"}, None, ["BASE_URL"]),
    "an address without a scheme": ({"BASE_URL": "openrouter.ai"}, None, ["BASE_URL"]),
}


async def error_of_chat(pipe: Pipe) -> str:
    *statuses, event = await chat(pipe)
    assert {status["event"]["type"] for status in statuses} <= {"status"}
    assert set(event) == {"error"}
    return event["error"]["message"]


async def error_of_stream(pipe: Pipe) -> str:
    [chunk] = read_chunks(await stream(pipe))
    return chunk["error"]["message"]


async def error_of_object(pipe: Pipe) -> str:
    answer = await whole(pipe)
    assert set(answer) == {"error"}
    return answer["error"]["message"]


@pytest.mark.usefixtures("without_key_in_environment")
@pytest.mark.parametrize("error_of", [error_of_chat, error_of_stream, error_of_object])
@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_is_told_with_its_cause_and_the_next_step(
    simulator: Simulator, name: str, error_of: Callable[[Pipe], Any]
) -> None:
    valves, reply, words = FAILURES[name]
    if reply is not None:
        simulator.script(reply)
    message = await error_of(make_pipe(simulator, **valves))
    cause, _, next_step = message.partition("\n\n")
    assert cause and next_step
    assert [word for word in words if word not in message] == []
    assert "sk-" not in message


@pytest.mark.parametrize(
    ("cut", "words"),
    [
        pytest.param({"end_after": BEFORE_TEXT + 2}, "stopped before its end", id="ended"),
        pytest.param({"disconnect_after": BEFORE_TEXT + 2}, "broke off", id="disconnected"),
        pytest.param({"stall_after": BEFORE_TEXT + 2}, "fell silent", id="stalled"),
    ],
)
async def test_a_stream_that_breaks_keeps_its_text(
    simulator: Simulator, cut: Json, words: str
) -> None:
    reply = text_reply("One two three four")
    for name, value in cut.items():
        setattr(reply, name, value)
    pipe = make_pipe(simulator, HTTP_SOCK_READ_SECONDS=1)
    simulator.script(reply)
    events = await chat(pipe)
    text = text_of_chat(events)
    assert text == "One two"
    assert kinds(events)[-2:] == ["response.output_item.done", "error"]
    assert events[-2]["item"]["content"][0]["text"] == text
    assert events[-2]["item"]["status"] == "incomplete"
    assert words in events[-1]["error"]["message"]

    simulator.release()
    simulator.script(reply)
    answer = await whole(pipe)
    assert answer["choices"][0]["message"]["content"].startswith("One")
    assert words in answer["error"]["message"]

    simulator.script(reply)
    *_, last, error = read_chunks(await stream(pipe))
    assert last["choices"][0]["delta"]
    assert words in error["error"]["message"]


async def test_an_answer_that_takes_too_long_ends_with_what_there_is(simulator: Simulator) -> None:
    reply = text_reply("word " * 100)
    reply.pause = 0.05
    simulator.script(reply)
    events = await chat(make_pipe(simulator, HTTP_TOTAL_TIMEOUT_SECONDS=1))
    assert text_of_chat(events).startswith("word")
    assert "HTTP_TOTAL_TIMEOUT_SECONDS" in events[-1]["error"]["message"]


async def test_a_failure_tells_what_it_cost(simulator: Simulator) -> None:
    error = error_failed_response("It broke", "server_error", "content_policy_violation")
    simulator.script(failed({**error, "usage": USAGE}))
    *_, event = await chat(make_pipe(simulator))
    assert event["usage"] == USAGE


async def test_a_host_that_is_too_old_is_told_in_the_list_and_in_the_chat(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = ModuleType("open_webui.env")
    env.__dict__["VERSION"] = "0.10.2"
    monkeypatch.setitem(sys.modules, "open_webui", ModuleType("open_webui"))
    monkeypatch.setitem(sys.modules, "open_webui.env", env)
    pipe = make_pipe(simulator)
    [entry] = await pipe.pipes()
    assert "0.10.2" in entry["name"]
    assert "0.10.2" in await error_of_chat(pipe)
    assert simulator.requests == []


@pytest.mark.parametrize(
    "messages",
    [None, [], "text", [None], [{"role": ["user"], "content": "x"}], [{"role": "user"}], 7],
)
async def test_a_body_of_any_shape_is_answered(simulator: Simulator, messages: Any) -> None:
    answer = await make_pipe(simulator).pipe({**body(), "messages": messages}, CHAT)
    assert isinstance(answer, AsyncGenerator)
    [event] = [event async for event in answer]
    assert event["error"]["message"]
    assert simulator.requests == []
