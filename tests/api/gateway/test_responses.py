"""One request on the wire, its Events back: answers, refusals, and every way to break off."""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
)
from open_webui_openrouter_pipe.api.gateway.batch import EventBatch
from open_webui_openrouter_pipe.api.gateway.responses import stream_responses
from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.core.config import Settings
from open_webui_openrouter_pipe.core.errors import (
    ConnectionFailedError,
    OpenRouterAPIError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)
from pipe_lab.simulator import (
    Answer,
    Message,
    Reply,
    Simulator,
    answer_reply,
    broken_off,
    error_event,
    error_in_success,
    error_reply,
    text_reply,
)

MakeSettings = Callable[..., Settings]
Ask = Callable[[Reply], Awaitable[list[Event]]]
Serve = Callable[..., Awaitable[Any]]
BODY: Any = {"model": "openai/gpt-4o", "input": [{"role": "user", "content": "Hi \ud83d"}]}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


async def collect(client: httpx.AsyncClient, settings: Settings) -> list[Event]:
    batches = stream_responses(client, settings, BODY)
    return EventBatch([event async for batch in batches for event in batch]).close()


@pytest.fixture
def ask(simulator: Simulator, client: httpx.AsyncClient, settings_for: MakeSettings) -> Ask:
    """Let the simulator give one reply and read it."""

    async def send(reply: Reply) -> list[Event]:
        simulator.script(reply)
        return await collect(client, settings_for(simulator.base_url))

    return send


async def test_the_request_carries_key_body_and_what_kind_of_answer_it_wants(
    ask: Ask, simulator: Simulator
) -> None:
    await ask(text_reply("Hi"))
    [request] = simulator.requests
    assert (request.method, request.path) == ("POST", "/responses")
    assert request.body == {
        "model": "openai/gpt-4o",
        "input": [{"role": "user", "content": "Hi ?"}],
        "stream": True,
    }
    headers = {
        "authorization": "Bearer sk-test",
        "content-type": "application/json",
        "accept": "text/event-stream",
        "accept-encoding": "identity",
    }
    assert headers.items() <= request.headers.items()


@pytest.mark.parametrize("chunk_size", [None, 7])
async def test_an_answer_streams_in_order_with_its_usage(ask: Ask, chunk_size: int | None) -> None:
    reply = text_reply("Hello you", reasoning="Think hard", usage={"cost": 0.5})
    reply.chunk_size = chunk_size
    started, *middle, finished = await ask(reply)
    assert isinstance(started, ResponseStarted)
    assert isinstance(finished, ResponseFinished)
    assert started.response_id == finished.response_id
    assert finished.model == "openai/gpt-4o"
    assert finished.incomplete_reason == ""
    assert finished.usage is not None
    assert finished.usage.cost == 0.5
    assert finished.usage.cache_write_tokens is None
    assert [type(event) for event in middle] == [
        ItemStarted,
        ReasoningDelta,
        ItemFinished,
        ItemStarted,
        TextDelta,
        ItemFinished,
    ]
    assert [e.text for e in middle if isinstance(e, TextDelta)] == ["Hello you"]
    reasoning, message = (event.item for event in middle if isinstance(event, ItemFinished))
    assert isinstance(reasoning, ReasoningItem)
    assert isinstance(message, MessageItem)
    assert (reasoning.content, message.text) == (["Think hard"], "Hello you")


async def test_a_cut_answer_says_why(ask: Ask) -> None:
    reply = answer_reply(Answer((Message(("Hi",)),), incomplete="content_filter"))
    [*_, last] = await ask(reply)
    assert isinstance(last, ResponseFinished)
    assert last.incomplete_reason == "content_filter"


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (broken_off(text_reply("Hi you"), 6, error_event("Broke", None)), OpenRouterAPIError),
        (Reply(events=text_reply("Hi you").events, end_after=6), StreamInterruptedError),
        (Reply(events=text_reply("Hi you").events, disconnect_after=6), StreamInterruptedError),
    ],
    ids=["error event", "truncated", "disconnected"],
)
async def test_an_answer_that_breaks_off_keeps_its_text_and_says_so(
    ask: Ask, reply: Reply, cause: type[PipeError]
) -> None:
    events = await ask(reply)
    assert TextDelta(0, "Hi") in events
    assert isinstance(events[-1], ResponseFailed)
    assert type(events[-1].error) is cause


async def test_what_came_without_its_blank_line_before_a_break_is_kept(
    client: httpx.AsyncClient, settings_for: MakeSettings, serve: Serve
) -> None:
    events = STREAM.split(b"\n\n")
    last = next(place for place, event in enumerate(events) if b'"delta":"Hello' in event)
    body = b"\n\n".join(events[: last + 1])
    server = await serve(head(b"Content-Length: 99999") + body, then_close=True)
    *_, text, end = await collect(client, settings_for(server.url))
    assert text == TextDelta(0, "Hello")
    assert isinstance(end, ResponseFailed)
    assert isinstance(end.error, StreamInterruptedError)


@pytest.mark.parametrize("limit", ["silence_timeout", "total_timeout"])
async def test_silence_in_the_middle_is_a_timeout(
    simulator: Simulator, client: httpx.AsyncClient, settings_for: MakeSettings, limit: str
) -> None:
    reply = text_reply("Hi you")
    reply.stall_after = 6
    simulator.script(reply)
    settings = dataclasses.replace(settings_for(simulator.base_url), **{limit: 0.1})
    last = (await collect(client, settings))[-1]
    assert isinstance(last, ResponseFailed)
    assert isinstance(last.error, UpstreamTimeoutError)


WHOLE = {"id": "gen-1", "model": "a/b", "output": [{"type": "message", "content": []}]}


async def test_a_whole_answer_under_json_is_read(ask: Ask) -> None:
    reply = Reply(body=b"\n\n  " + httpx.Response(200, json=WHOLE).content)
    assert await ask(reply) == [
        ResponseStarted("gen-1", "a/b"),
        ItemFinished(0, MessageItem("")),
        ResponseFinished("gen-1", "a/b", None),
    ]


@pytest.mark.parametrize(
    ("reply", "cause"),
    [
        (error_in_success("No funds", 402), "OpenRouter (402): No funds"),
        (Reply(body={"status": "failed", "error": {"message": "Broke"}}), "OpenRouter: Broke"),
        (Reply(body={"unexpected": 1}), "OpenRouter: No reason was given."),
        (Reply(body=b"oops"), "OpenRouter: oops"),
        (error_reply(429, "Slow", retry_after=5), "OpenRouter (429): Slow"),
        (error_reply(500, "Broke"), "OpenRouter (500): Broke"),
        (
            Reply(status=502, body="<html>", headers={"Content-Type": "text/html"}),
            "OpenRouter (502): Bad Gateway",
        ),
        (Reply(status=301, headers={"Content-Type": "text/html"}), "(301): Moved Permanently"),
    ],
)
async def test_a_refusal_is_raised_before_the_first_event(
    ask: Ask, reply: Reply, cause: str
) -> None:
    with pytest.raises(OpenRouterAPIError) as caught:
        await ask(reply)
    assert cause in caught.value.cause
    if cause.endswith("Slow"):
        assert caught.value.failure.retry_after == 5


async def test_without_a_key_nothing_is_sent(
    simulator: Simulator, client: httpx.AsyncClient, settings_for: MakeSettings
) -> None:
    with pytest.raises(SettingsError):
        await collect(client, settings_for(simulator.base_url, API_KEY=""))
    assert not simulator.requests


@pytest.mark.parametrize("address", ["openrouter.ai", "http://[::1", "http://a\nb", "ftp://a"])
async def test_an_impossible_address_asks_for_the_admin(
    client: httpx.AsyncClient, settings_for: MakeSettings, address: str
) -> None:
    with pytest.raises(SettingsError, match="BASE_URL"):
        await collect(client, settings_for(address))


async def test_a_web_page_in_place_of_the_api_asks_for_the_admin(ask: Ask) -> None:
    page = Reply(body="<html>Welcome</html>", headers={"Content-Type": "text/html"})
    with pytest.raises(SettingsError, match="web page"):
        await ask(page)


async def test_a_server_that_hangs_up_before_the_answer_is_a_failed_connection(
    client: httpx.AsyncClient, settings_for: MakeSettings, serve: Serve
) -> None:
    server = await serve(b"", then_close=True)
    with pytest.raises(ConnectionFailedError):
        await collect(client, settings_for(server.url))
    assert len(server.requests) == 1  # a request that may have been billed is never repeated


STREAM = b"".join(text_reply("Hello you").encoded_events())


def head(*lines: bytes) -> bytes:
    kind = b"Content-Type: text/event-stream"
    return b"\r\n".join([b"HTTP/1.1 200 OK", kind, *lines, b"", b""])


async def test_a_finished_stream_gives_its_connection_back(
    client: httpx.AsyncClient, settings_for: MakeSettings, serve: Serve
) -> None:
    words, done = STREAM[:-14], STREAM[-14:]
    assert done == b"data: [DONE]\n\n"
    server = await serve(head(b"Content-Length: %d" % len(STREAM)) + words, tail=done)
    for _ in range(3):
        server.release.clear()
        async for batch in stream_responses(client, settings_for(server.url), BODY):
            if isinstance(batch[-1], ResponseFinished):
                server.release.set()  # what follows the last event comes only now
    assert (len(server.requests), len(server.connections)) == (3, 1)


async def test_a_body_that_goes_on_after_its_end_is_cut(
    client: httpx.AsyncClient, settings_for: MakeSettings, serve: Serve
) -> None:
    server = await serve(head(b"Content-Length: %d" % (len(STREAM) + 9)) + STREAM)
    assert isinstance((await collect(client, settings_for(server.url)))[-1], ResponseFinished)
    await asyncio.wait_for(server.hung_up.wait(), 10)


@pytest.mark.parametrize("whole", [True, False])
async def test_a_compressed_stream_is_read(
    client: httpx.AsyncClient, settings_for: MakeSettings, serve: Serve, whole: bool
) -> None:
    packed = gzip.compress(STREAM) if whole else b"no gzip at all"
    lines = head(b"Content-Encoding: gzip", b"Content-Length: %d" % len(packed))
    server = await serve(lines + packed)
    last = (await collect(client, settings_for(server.url)))[-1]
    assert isinstance(last, ResponseFinished if whole else ResponseFailed)


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_who_leaves_midway_cuts_the_stream(
    simulator: Simulator, client: httpx.AsyncClient, settings_for: MakeSettings, how: str
) -> None:
    reply = text_reply("Hello you")
    reply.stall_after = 6
    simulator.script(reply)
    started = asyncio.Event()

    async def answer() -> None:
        stream = stream_responses(client, settings_for(simulator.base_url), BODY)
        async with aclosing(stream):
            async for _ in stream:
                started.set()
                if how == "close":
                    return

    task = asyncio.create_task(answer())
    await started.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    await simulator.wait_for(lambda it: it.requests[0].disconnected and not it.open_streams)
    assert task.cancelled() is (how == "cancel")


async def test_the_events_do_not_depend_on_the_wire(settings_for: MakeSettings) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        kind = {"Content-Type": "text/event-stream"}
        return httpx.Response(200, headers=kind, stream=httpx.ByteStream(STREAM))

    async with open_client(httpx.MockTransport(respond)) as client:
        events = await collect(client, settings_for("https://openrouter.example/v1"))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Hello you"]
