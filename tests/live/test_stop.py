"""Whoever leaves early stops the model too: the upstream connection closes at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import Simulator, text_reply
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
CLOSED_WITHIN = 2
"""Seconds a stopped answer may go on costing money."""


def script_endless(simulator: Simulator) -> None:
    reply = text_reply(" ".join(str(number) for number in range(100)))
    reply.stall_after = 12
    simulator.script(reply)


async def upstream_closed(stage: Stage) -> None:
    await stage.simulator.wait_for(
        lambda _: stage.completions()[-1].disconnected, timeout=CLOSED_WITHIN
    )


async def test_the_stop_button_closes_the_upstream_and_keeps_the_words(
    stage: Stage, page: ChatPage
) -> None:
    script_endless(stage.simulator)
    turn = await page.send(MODEL, "Count")
    await turn.reply.first_word()

    await page.stop(turn)
    await upstream_closed(stage)
    await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert turn.reply.cancelled
    assert saved["done"] is True
    assert saved["content"].startswith("0")
    assert saved["content"].startswith(turn.reply.text), "what the person saw is kept"
    assert "99" not in saved["content"]
    assert "cost unknown" in saved["statusHistory"][-1]["description"]


async def test_the_stop_button_works_before_the_first_word(stage: Stage, page: ChatPage) -> None:
    reply = text_reply("late")
    reply.stall_after = 0
    stage.simulator.script(reply)
    turn = await page.send(MODEL, "Count")
    await stage.simulator.wait_for(lambda _: bool(stage.completions()))

    await page.stop(turn)
    await upstream_closed(stage)
    await turn.done()


async def test_an_api_client_that_leaves_closes_the_upstream(stage: Stage) -> None:
    script_endless(stage.simulator)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count"}]}

    chunks = stage.admin.stream(body)
    await anext(chunks)
    await chunks.aclose()
    await upstream_closed(stage)


async def test_an_api_client_that_waits_for_all_and_leaves_closes_the_upstream(
    stage: Stage,
) -> None:
    script_endless(stage.simulator)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Count"}]}

    waiting = asyncio.create_task(stage.admin.complete(body))
    await stage.simulator.wait_for(lambda _: bool(stage.completions()))
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    await upstream_closed(stage)
