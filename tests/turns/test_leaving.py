"""Who leaves early leaves nothing open behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.responses import StreamingResponse

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import (
    Reply,
    Simulator,
    text_reply,
)
from tests.turns.calls import (
    CHAT,
    Json,
    body,
    chat,
    make_pipe,
    next_text,
    stalled,
    start_chat,
    stream,
    whole,
)


async def test_closing_the_answer_cuts_the_connection(simulator: Simulator) -> None:
    simulator.script(stalled())
    answer = await start_chat(make_pipe(simulator))
    assert await next_text(answer) == "One"
    await answer.aclose()
    await simulator.wait_for(lambda s: s.requests[0].disconnected)
    assert simulator.open_streams == 0


@pytest.mark.parametrize(
    "reply", [stalled(), Reply(delay=60)], ids=["mid-stream", "before the answer begins"]
)
@pytest.mark.parametrize("ask", [chat, stream, whole])
async def test_stopping_the_task_cuts_the_connection(
    simulator: Simulator, reply: Reply, ask: Callable[[Pipe], Any]
) -> None:
    simulator.script(reply)
    task = asyncio.create_task(ask(make_pipe(simulator)))
    await simulator.wait_for(lambda s: bool(s.requests))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await simulator.wait_for(lambda s: s.requests[0].disconnected)
    assert simulator.open_streams == 0


async def test_an_api_client_that_hangs_up_cuts_the_connection(simulator: Simulator) -> None:
    simulator.script(stalled())
    answer = await make_pipe(simulator).pipe(body())
    assert isinstance(answer, StreamingResponse)
    text_arrived = asyncio.Event()

    async def receive() -> Json:
        await text_arrived.wait()
        return {"type": "http.disconnect"}

    async def send(message: Json) -> None:
        if b"One" in message.get("body", b""):
            text_arrived.set()

    async with asyncio.timeout(5):
        await answer({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)  # type: ignore[arg-type]
    await simulator.wait_for(lambda s: s.requests[0].disconnected)


async def test_a_whole_answer_is_stopped_when_its_caller_hangs_up(simulator: Simulator) -> None:
    simulator.script(stalled())

    async def is_disconnected() -> bool:
        return bool(simulator.requests)

    request = SimpleNamespace(is_disconnected=is_disconnected)
    answer = await make_pipe(simulator).pipe(body(stream=False), __request__=request)
    assert answer == {}
    await simulator.wait_for(lambda s: s.requests[0].disconnected)


@pytest.mark.parametrize("metadata", [None, CHAT])
async def test_a_request_that_was_answered_long_ago_is_not_taken_for_one_that_hung_up(
    simulator: Simulator, metadata: Json | None
) -> None:
    async def is_disconnected() -> bool:
        return True

    request = SimpleNamespace(is_disconnected=is_disconnected)
    simulator.script(text_reply("Still here."))
    answer = await make_pipe(simulator).pipe(body(stream=False), metadata, __request__=request)
    assert isinstance(answer, dict)
    assert answer["choices"][0]["message"]["content"] == "Still here."


async def test_an_answer_nobody_reads_asks_nothing(simulator: Simulator) -> None:
    answer = await start_chat(make_pipe(simulator))
    await answer.aclose()
    assert simulator.requests == []
