"""Saving the function anew while it answers: no answer suffers, and nothing of the old stays."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.measure import census, connections_to, footprint
from pipe_lab.host.pipe_setup import FUNCTION_ID
from pipe_lab.host.turn import Turn
from pipe_lab.simulator import text_reply
from tests.live.stage import Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
RELOADS = 5
STREAMS = 4
# One thread for each database connection, and those for blocking work: Open WebUI keeps as many as
# were ever busy at once.
POOL_THREAD = re.compile(r"_connection_worker_thread|AnyIO worker|^(uvloop|asyncio)_\d")
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

    assert await settled(lambda: surplus(stage, before)) == {}


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


@dataclass(frozen=True, slots=True)
class Stock:
    """What the server's process holds."""

    tasks: Counter[str]
    threads: Counter[str]
    sockets: int
    connections: int


async def take_stock(stage: Stage) -> Stock:
    counted = await census(stage.admin)
    pid = stage.server.pid
    held = footprint(pid)
    connections = connections_to(pid, stage.simulator.port)
    threads = Counter(name for name in counted.threads if not POOL_THREAD.search(name))
    return Stock(Counter(counted.tasks), threads, held.sockets, connections)


async def surplus(stage: Stage, before: Stock) -> dict[str, object]:
    """What there is more of than before, by kind; a pool of an old copy shows as connections."""
    now = await take_stock(stage)
    more = {
        "tasks": dict(now.tasks - before.tasks),
        "threads": dict(now.threads - before.threads),
        "sockets": max(0, now.sockets - before.sockets),
        "connections": max(0, now.connections - before.connections),
    }
    return {kind: excess for kind, excess in more.items() if excess}
