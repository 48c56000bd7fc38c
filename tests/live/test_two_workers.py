"""Two servers on one PostgreSQL and one Redis, and what is kept when one of them is killed."""

from __future__ import annotations

import asyncio
import base64
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from open_webui_openrouter_pipe.core.money import PICODOLLARS, dollars
from open_webui_openrouter_pipe.host.database import OwnTable
from open_webui_openrouter_pipe.storage.artifact_table import ARTIFACTS
from open_webui_openrouter_pipe.storage.artifacts import ArtifactStore
from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import Account, OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import BUNDLE, FUNCTION_ID, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.host.turn import Turn
from pipe_lab.simulator import Simulator
from tests.live.stage import settled, thoughts_sent
from tests.services import PostgreSQL, RedisServer

pytestmark = [
    pytest.mark.live,
    pytest.mark.service,
    pytest.mark.asyncio(loop_scope="session"),
]

CHATS = 200
AT_ONCE = 10
"""On each of the two."""
KILLED_AFTER = 40
"""Answers that the one which is killed has given until then."""
MODEL = "openrouter.openai.gpt-5"
VALVES = {
    "ARTIFACT_STORAGE": "database",
    "ARTIFACT_ENCRYPTION_KEY": "a passphrase",
    "BUDGETS_USD": "all users: 1000",
}


@dataclass(slots=True)
class Worker:
    """One of the servers, a page that is open on it, and the chats begun there."""

    server: OpenWebUIServer
    account: Account
    client: OpenWebUIClient = field(init=False)
    page: ChatPage = field(init=False)
    sent: dict[int, Turn] = field(default_factory=dict[int, Turn])
    answered: list[int] = field(default_factory=list[int])
    enough: asyncio.Event = field(default_factory=asyncio.Event)

    async def begin_chats(self, numbers: Iterable[int]) -> None:
        """Ask so many questions, each in a chat of its own, some at a time."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def begin(number: int) -> None:
            async with slots:
                self.sent[number] = turn = await self.page.send(MODEL, f"Think of number {number}.")
                await turn.done()
                assert turn.reply.error == ""
                self.answered.append(number)
                if len(self.answered) >= KILLED_AFTER:
                    self.enough.set()

        async with asyncio.TaskGroup() as chats:
            for number in numbers:
                chats.create_task(begin(number))

    async def go_on(self, turns: dict[int, Turn]) -> None:
        """Ask once more in each of these chats."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def ask(number: int, turn: Turn) -> None:
            async with slots:
                again = await self.page.ask(MODEL, f"Again for {number}.", after=turn)
                assert again.reply.error == ""

        async with asyncio.TaskGroup() as chats:
            for number, turn in turns.items():
                chats.create_task(ask(number, turn))

    async def crash_and_come_back(self) -> None:
        """Kill the server, start it again, and open the page anew."""
        await self.server.kill()
        await self.leave()
        await self.server.start()
        await self.enter()

    async def enter(self) -> None:
        """Open a page."""
        self.client = OpenWebUIClient(self.server.url, self.account)
        self.page = ChatPage(self.client)
        await self.page.__aenter__()

    async def leave(self) -> None:
        """Close it."""
        await self.page.__aexit__(None, None, None)
        await self.client.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class Workers:
    """Both of them, and what they have in common."""

    killed: Worker
    other: Worker
    simulator: Simulator
    engine: AsyncEngine

    async def rows(self, query: str) -> list[Any]:
        """What the database answers."""
        async with self.engine.begin() as connection:
            return list((await connection.execute(text(query))).all())


@pytest_asyncio.fixture(loop_scope="session")
async def workers(
    postgresql: PostgreSQL, redis_server: RedisServer, tmp_path: Path
) -> AsyncIterator[Workers]:
    python = await asyncio.to_thread(ensure_open_webui)
    address = postgresql.new_database().replace("postgresql:", "postgresql+psycopg:")
    common = {
        "DATABASE_URL": address,
        "REDIS_URL": redis_server.url,
        "WEBSOCKET_MANAGER": "redis",
        "WEBUI_SECRET_KEY": "one secret for both of them, which is long enough",
    }
    engine = create_async_engine(address)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        simulator = await stack.enter_async_context(Simulator())
        servers = [
            OpenWebUIServer(python, ServerSettings(tmp_path / name, environment=common))
            for name in ("killed", "other")
        ]
        for server in servers:
            await stack.enter_async_context(server)
        account = await sign_up(servers[0].url, "Ada", "ada@example.com", "correct horse")
        killed, other = (Worker(server, account) for server in servers)
        for worker in (killed, other):
            await worker.enter()
            stack.push_async_callback(worker.leave)
        upstream = simulator_upstream(simulator)
        await install_pipe(killed.client, upstream, BUNDLE.read_text(encoding="utf-8"))
        valves = {"API_KEY": upstream.api_key, "BASE_URL": upstream.base_url, **VALVES}
        await killed.client.set_valves(FUNCTION_ID, valves)
        for worker in (killed, other):
            await worker.client.models()
        yield Workers(killed, other, simulator, engine)


async def test_nothing_that_was_saved_is_lost_with_a_worker(workers: Workers) -> None:
    killed, other = workers.killed, workers.other
    await begin_chats_and_crash(killed, other)
    begun = killed.sent | other.sent
    assert len(begun) >= CHATS
    referred = {number: await references(other, turn) for number, turn in begun.items()}
    saved = {number: begun[number] for number, ids in referred.items() if ids}
    assert set(killed.answered) | set(other.answered) <= set(saved)

    # What one has kept the other finds.
    await asyncio.gather(
        killed.go_on({number: turn for number, turn in saved.items() if number % 2}),
        other.go_on({number: turn for number, turn in saved.items() if not number % 2}),
    )
    assert second_turns(workers.simulator) == {number: [number] for number in saved}

    kept = await rows_of_messages(workers, ARTIFACTS.name)
    wanted = {turn.reply.message_id: len(referred[number]) for number, turn in saved.items()}
    assert {message: kept[message] for message in wanted} == wanted
    await check_ledger(workers, saved)
    await check_clean_up(workers, saved)


async def begin_chats_and_crash(killed: Worker, other: Worker) -> None:
    """All chats, half of them on the one that is killed among its answers, and comes back."""
    others = asyncio.create_task(other.begin_chats(range(1, CHATS, 2)))
    own = asyncio.create_task(killed.begin_chats(range(0, CHATS, 2)))
    await killed.enough.wait()
    assert not own.done()
    own.cancel()
    await asyncio.gather(killed.crash_and_come_back(), asyncio.wait({own}))
    missing = set(range(0, CHATS, 2)) - set(killed.sent)
    await asyncio.gather(killed.begin_chats(sorted(missing)), others)


async def references(worker: Worker, turn: Turn) -> list[str]:
    """The ids by which the saved answer refers to the table."""
    saved = await worker.client.message(turn.chat_id, turn.reply.message_id)
    return [
        detail["id"]
        for item in saved.get("output") or ()
        for detail in item.get("reasoning_details") or ()
    ]


def second_turns(simulator: Simulator) -> dict[int, list[int]]:
    """Of which numbers the model had thought, as each second turn told it."""
    told: dict[int, list[int]] = {}
    for request in simulator.requests:
        if request.path == "/responses" and (asked := re.search(rb"Again for (\d+)", request.raw)):
            told[int(asked[1])] = [number_in(thought) for thought in thoughts_sent(request)]
    return told


def number_in(thought: str) -> int:
    """The number that a sealed thought is about."""
    content = thought.removeprefix("gAAAAAB").partition(".")[0]
    clear = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4)).decode()
    found = re.search(r"number (\d+)", clear)
    assert found
    return int(found[1])


async def rows_of_messages(workers: Workers, table: str, which: str = "true") -> Counter[str]:
    """How many rows of a table each message has."""
    query = f"SELECT message_id, count(*) AS found FROM {table} WHERE {which} GROUP BY message_id"
    return Counter({row.message_id: row.found for row in await workers.rows(query)})


async def check_ledger(workers: Workers, saved: dict[int, Turn]) -> None:
    """Every answer is written down once; a crash takes no more than the last half second's."""
    killed = workers.killed
    at_risk = killed.answered[KILLED_AFTER - AT_ONCE : KILLED_AFTER + AT_ONCE]
    at_risk += [number for number in killed.sent if number not in killed.answered]
    wanted = {saved[number].reply.message_id for number in set(saved) - set(at_risk)}

    async def not_once() -> dict[str, int]:
        found = await rows_of_messages(workers, "openrouter_pipe_spend", "outcome = 'finished'")
        wrong = {message: found[message] for message in wanted if found[message] != 1}
        return wrong | {message: count for message, count in found.items() if count > 1}

    assert await settled(not_once) == {}

    async def disagreement() -> set[str]:
        told = {await spent_as_told(worker) for worker in (killed, workers.other)}
        return told if len(told) > 1 else set()

    assert await settled(disagreement, 30) == set()
    total = "SELECT sum(picodollars) AS spent FROM openrouter_pipe_spend"
    (row,) = await workers.rows(total)
    assert await spent_as_told(killed) == dollars(row.spent / PICODOLLARS)


async def spent_as_told(worker: Worker) -> str:
    """What everybody has spent today, as `/spend` says it of the budget."""
    turn = await worker.page.ask(MODEL, "/spend")
    saved = await worker.client.message(turn.chat_id, turn.reply.message_id)
    found = re.search(r"Everybody's budget today: (\S+) of", saved["content"])
    assert found, saved["content"]
    return found[1]


async def check_clean_up(workers: Workers, saved: dict[int, Turn]) -> None:
    """Rows go with their chats, those of answers that were never saved too."""
    gone, left = list(saved.values())[::2], list(saved.values())[1::2]
    for turn in gone:
        (await workers.other.client.http.delete(f"/api/v1/chats/{turn.chat_id}")).raise_for_status()
    await clean_up(workers)
    chats = {row.chat_id for row in await workers.rows(f"SELECT chat_id FROM {ARTIFACTS.name}")}
    assert not chats & {turn.chat_id for turn in gone}
    assert {turn.chat_id for turn in left} <= chats
    (await workers.other.client.http.delete("/api/v1/chats/")).raise_for_status()
    await clean_up(workers)
    assert await workers.rows(f"SELECT id FROM {ARTIFACTS.name}") == []


async def clean_up(workers: Workers) -> None:
    """What the pipe does every hour, two hours later."""
    async with workers.engine.begin() as connection:
        older = f"UPDATE {ARTIFACTS.name} SET created_at = created_at - 7200"
        await connection.execute(text(older))
    store = ArtifactStore(OwnTable(ARTIFACTS, lambda: workers.engine))
    await store.sweep()
    await store.close()
