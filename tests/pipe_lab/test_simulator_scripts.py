"""The simulator obeys a test: any reply, whole or streamed, cut, stalled, truncated, aborted."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import orjson
import pytest

from pipe_lab.simulator import (
    Reply,
    Simulator,
    broken_off,
    chat_text_reply,
    error_event,
    error_reply,
    text_reply,
)

BODY = {"model": "openai/gpt-4o", "input": "hi", "stream": True}
CHAT = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}


def events_of(text: str) -> list[Any]:
    lines = [line for line in text.split("\n") if line.startswith("data: {")]
    return [orjson.loads(line[6:]) for line in lines]


async def test_a_text_reply_has_the_order_and_framing_of_the_wire(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(text_reply("Hello world"))
    response = await client.post("/responses", json=BODY)

    assert response.headers["content-type"] == "text/event-stream"
    assert "event:" not in response.text
    assert response.text.startswith(": \n\ndata: {")
    assert response.text.endswith("data: [DONE]\n\n")
    events = events_of(response.text)
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert all(list(event)[-1] == "sequence_number" for event in events)
    assert list(events[4]) == [
        "type",
        "output_index",
        "item_id",
        "content_index",
        "delta",
        "logprobs",
        "sequence_number",
    ]
    final = events[-1]["response"]
    assert final["output"] == [events[-2]["item"]]
    assert final["usage"]["cost"] == 0.0000625


async def test_reasoning_comes_before_the_text(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(text_reply("Four.", reasoning="two and two"))
    events = events_of((await client.post("/responses", json=BODY)).text)
    thought = [event["delta"] for event in events if event["type"].endswith("reasoning_text.delta")]
    assert thought == ["two", " and", " two"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"]


async def test_a_chat_reply_repeats_the_finish_reason_with_the_usage(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(chat_text_reply("Hello world"), path="/chat/completions")
    response = await client.post("/chat/completions", json=CHAT)
    chunks = events_of(response.text)
    assert response.text.startswith(": OPENROUTER PROCESSING\n\n")
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks] == [
        "Hello",
        " world",
        "",
        "",
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:]] == ["stop", "stop"]
    assert chunks[-1]["usage"]["total_tokens"] == 19


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_cutting_the_stream_changes_no_byte(
    simulator: Simulator, client: httpx.AsyncClient, size: int
) -> None:
    reply = text_reply("Grüße, 世界 👋")
    simulator.script(reply)
    simulator.script(Reply(events=reply.events, chunk_size=size))
    whole = await client.post("/responses", json=BODY)
    cut = await client.post("/responses", json=BODY)
    assert cut.content == whole.content


async def test_scripts_are_served_in_order_and_by_their_filters(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(Reply(body={"for": "claude"}), model="anthropic/claude-sonnet-4.5")
    simulator.script(Reply(body={"for": "models"}), path="/models")
    simulator.script(Reply(body={"for": "first"}))
    simulator.script(Reply(body={"for": "second"}))
    assert (await client.post("/responses", json=BODY)).json() == {"for": "first"}
    assert (await client.post("/chat/completions", json=CHAT)).json() == {"for": "second"}
    assert (await client.get("/models")).json() == {"for": "models"}
    claude = {**BODY, "model": "anthropic/claude-sonnet-4.5"}
    assert (await client.post("/responses", json=claude)).json() == {"for": "claude"}


async def test_an_error_reply_carries_status_and_retry_after(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(error_reply(529, "Overloaded", retry_after=1.5))
    response = await client.post("/responses", json=BODY)
    assert (response.status_code, response.headers["retry-after"]) == (529, "1.5")
    assert response.json() == {"error": {"message": "Overloaded", "code": 529}}


async def test_a_stalled_stream_goes_on_when_released(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(Reply(events=[{"n": 1}, {"n": 2}], stall_after=1))
    async with client.stream("POST", "/responses", json=BODY) as response:
        lines = response.aiter_lines()
        assert await anext(lines) == 'data: {"n":1}'
        assert simulator.open_streams == 1
        simulator.release()
        rest = [line async for line in lines]
    assert rest == ["", 'data: {"n":2}', "", "data: [DONE]", ""]
    await simulator.wait_for(lambda s: s.requests[0].finished)
    assert simulator.open_streams == 0


async def test_a_client_that_leaves_a_stalled_stream_is_recorded(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(Reply(events=[{"n": 1}], stall_after=1))
    async with client.stream("POST", "/responses", json=BODY) as response:
        await anext(response.aiter_lines())
    await simulator.wait_for(lambda s: s.requests[0].disconnected)
    assert not simulator.requests[0].finished
    assert simulator.open_streams == 0


async def test_a_truncated_stream_ends_cleanly_without_done(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(Reply(events=[{"n": 1}, {"n": 2}], end_after=1))
    response = await client.post("/responses", json=BODY)
    assert response.text == 'data: {"n":1}\n\n'


async def test_an_aborted_connection_breaks_the_stream(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(Reply(events=[{"n": 1}, {"n": 2}], disconnect_after=1))
    received = ""
    with pytest.raises(httpx.RemoteProtocolError):
        async with client.stream("POST", "/responses", json=BODY) as response:
            async for text in response.aiter_text():
                received += text
    assert received == 'data: {"n":1}\n\n'


async def test_a_stream_can_break_off_with_an_error_event(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(broken_off(text_reply("Hello"), 4, error_event("gone", "server_error", 3)))
    events = events_of((await client.post("/responses", json=BODY)).text)
    assert [event["type"] for event in events][-2:] == ["response.output_item.added", "error"]


async def test_requests_are_recorded_as_sent(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(text_reply("ok"))
    await client.post("/responses?debug=1", json=BODY, headers={"X-Title": "Pipe"})
    (request,) = simulator.requests
    assert (request.method, request.path, request.query) == ("POST", "/responses", {"debug": "1"})
    assert request.headers["x-title"] == "Pipe"
    assert request.body == BODY
    assert orjson.loads(request.raw) == BODY
    assert request.finished and not request.disconnected


async def test_wait_for_gives_up_in_time(simulator: Simulator) -> None:
    with pytest.raises(TimeoutError):
        await simulator.wait_for(lambda s: bool(s.requests), timeout=0.01)


async def test_wait_for_sees_the_change_that_another_task_makes(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(text_reply("ok"))
    async with asyncio.TaskGroup() as group:
        group.create_task(simulator.wait_for(lambda s: len(s.requests) == 1))
        group.create_task(client.post("/responses", json=BODY))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "Missing Authentication header"),
        ({"Authorization": "Bearer sk-bad-key"}, "User not found."),
        ({"Authorization": "Bearer whatever"}, "User not found."),
    ],
)
async def test_keys_are_checked_like_the_real_one(
    simulator: Simulator, header: dict[str, str], message: str
) -> None:
    async with httpx.AsyncClient(base_url=simulator.base_url, headers=header) as stranger:
        response = await stranger.post("/responses", json=BODY)
    assert response.status_code == 401
    assert response.json() == {"error": {"message": message, "code": 401}}


async def test_only_accepted_keys_pass_once_some_are_named(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.accept_key("sk-other")
    assert (await client.post("/responses", json=BODY)).status_code == 401
    simulator.accept_key("sk-test")
    assert (await client.post("/responses", json=BODY)).status_code == 200
    simulator.require_key = False
    assert (await client.post("/responses", json=BODY, headers={"Authorization": ""})).is_success
