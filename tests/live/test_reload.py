"""Saving the function anew while it answers: no answer suffers, and nothing of the old stays."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.host.measure import Census, Footprint, census, connections_to, footprint
from pipe_lab.host.pipe_setup import FUNCTION_ID
from pipe_lab.simulator import text_reply
from tests.live.stage import Stage, eventually

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
RELOADS = 5
STREAMS = 4
TEXT = " ".join(f"word{number}" for number in range(60))


async def test_five_reloads_under_load_leave_everything_as_it_was(
    stage: Stage, page: ChatPage
) -> None:
    for _ in range(2):
        await finish(stage, await start_streams(stage, page))
    before = await take_stock(stage)

    for number in range(RELOADS):
        turns = await start_streams(stage, page)
        await stage.admin.update_function(
            FUNCTION_ID, "OpenRouter", f"{stage.source}\n# reload {number}\n"
        )
        after_reload = await page.ask(MODEL, "hi")
        await finish(stage, turns)
        assert after_reload.reply.error == ""
    await stage.admin.update_function(FUNCTION_ID, "OpenRouter", stage.source)
    await finish(stage, await start_streams(stage, page))

    await eventually(lambda: holds_no_more_than(stage, before))


async def start_streams(stage: Stage, page: ChatPage) -> list[Turn]:
    """Streams that stand still in the middle of their answers."""
    turns = []
    for _ in range(STREAMS):
        reply = text_reply(TEXT)
        reply.stall_after = 20
        stage.simulator.script(reply)
        turns.append(await page.send(MODEL, "Speak"))
    for turn in turns:
        await turn.reply.first_word()
    return turns


async def finish(stage: Stage, turns: Sequence[Turn]) -> None:
    stage.simulator.release()
    await asyncio.gather(*(turn.done() for turn in turns))
    assert [(turn.reply.text, turn.reply.error) for turn in turns] == [(TEXT, "")] * len(turns)


Stock = tuple[Census, Footprint, int]


async def take_stock(stage: Stage) -> Stock:
    counted = await census(stage.admin)
    pid = stage.server.pid
    return counted, footprint(pid), connections_to(pid, stage.simulator.port)


async def holds_no_more_than(stage: Stage, before: Stock) -> bool:
    """Threads, sockets and tasks are what they were, and no pool of an old copy is left."""
    now = await take_stock(stage)
    return (
        sum(now[0].tasks.values()) <= sum(before[0].tasks.values())
        and now[1].threads <= before[1].threads
        and now[1].sockets <= before[1].sockets
        and now[2] <= before[2]
    )
