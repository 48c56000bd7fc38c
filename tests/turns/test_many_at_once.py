"""Answers side by side: slots, places in the queue, and whose is whose."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest

from open_webui_openrouter_pipe.core.logging_system import LOG
from open_webui_openrouter_pipe.runtime import process_state
from pipe_lab.simulator import (
    Simulator,
    error_reply,
    text_reply,
)
from tests.turns.calls import (
    Json,
    body,
    chat,
    make_pipe,
    next_text,
    stalled,
    start_chat,
    text_of_chat,
)


async def test_a_full_queue_is_told_at_once(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, MAX_CONCURRENT_REQUESTS=1, MAX_QUEUED_REQUESTS=0)
    simulator.script(stalled())
    first = await start_chat(pipe)
    await next_text(first)
    [refused] = await chat(pipe)
    assert "busy" in refused["error"]["message"]
    assert "MAX_QUEUED_REQUESTS" in refused["error"]["message"]
    await first.aclose()
    simulator.script(text_reply("Now."))
    assert text_of_chat(await chat(pipe)) == "Now."


async def test_a_queued_answer_waits_its_turn_and_one_that_leaves_gives_its_place(
    simulator: Simulator,
) -> None:
    pipe = make_pipe(simulator, MAX_CONCURRENT_REQUESTS=1, MAX_QUEUED_REQUESTS=2)
    simulator.script(stalled())
    simulator.script(text_reply("Later."))
    first = await start_chat(pipe)
    await next_text(first)
    leaving = asyncio.create_task(chat(pipe, text="never sent"))
    waiting = asyncio.create_task(chat(pipe, text="sent later"))
    await asyncio.sleep(0)
    assert len(process_state().gate.waiting) == 2
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(process_state().gate.waiting) == 1
    simulator.release()
    assert [event async for event in first][-1]["type"] == "response.completed"
    assert text_of_chat(await waiting) == "Later."
    sent = [request.body["input"][0]["content"][0]["text"] for request in simulator.requests]
    assert sent == ["Hello", "sent later"]


async def test_answers_side_by_side_do_not_mix(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = make_pipe(simulator)
    for number in range(20):
        simulator.script(
            error_reply(400, f"refused {number};")
            if number % 2
            else text_reply(f"answer {number} ends", model=f"a/{number}"),
            model=f"a/{number}",
        )

    async def turn(number: int) -> list[Json]:
        ids = {name: f"{name}-{number}" for name in ("chat_id", "message_id", "session_id")}
        answer = await pipe.pipe(body(model=f"a.{number}"), {**ids, "user_id": f"user-{number}"})
        assert isinstance(answer, AsyncGenerator)
        return [event async for event in answer]

    async with asyncio.timeout(10):
        answers = await asyncio.gather(*map(turn, range(20)))
    for handler in LOG.handlers:
        handler.flush()
    for number, events in enumerate(answers):
        if number % 2:
            assert f"refused {number};" in events[-1]["error"]["message"]
            told = [r for r in caplog.records if f"refused {number};" in r.getMessage()]
            assert [r.levelno for r in told if r.levelno > logging.INFO] == [logging.WARNING]
            assert {(r.user_id, r.chat_id, r.session_id) for r in told} == {  # type: ignore[attr-defined]
                (f"user-{number}", f"chat_id-{number}", f"session_id-{number}")
            }
        else:
            assert text_of_chat(events) == f"answer {number} ends"
    request_ids = {r.request_id for r in caplog.records if "refused" in r.getMessage()}  # type: ignore[attr-defined]
    assert len(request_ids) == 10


async def test_the_very_first_failure_of_a_process_carries_its_ids(
    simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    LOG.handlers.clear()
    await chat(make_pipe(simulator, MODEL_ID="b/two"))
    LOG.handlers[0].flush()
    [record] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert record.chat_id == "chat-1"  # type: ignore[attr-defined]
