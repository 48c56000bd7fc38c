"""A database that fails under whole turns: answers come, one warning tells, it heals by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.storage import artifacts, spend_ledger
from pipe_lab.simulator import Simulator
from tests.storage.artifact_stores import TABLE, in_time
from tests.storage.test_artifact_faults import as_open_webui_opens_it  # noqa: F401 - a fixture
from tests.turns.calls import make_pipe
from tests.turns.test_kept_thinking import DATABASE, ask, thinking_reply

LEDGER = "openrouter_pipe_spend"
VALVES = {**DATABASE, "SPEND_LEDGER": True, "MIN_COMPRESS_BYTES": 1_000_000}
LOCKED_SECONDS = 31
WARNINGS = ("artifacts: writing fails", "ledger: the database does not work")

Fault = Callable[[AsyncEngine], AbstractAsyncContextManager[None]]


async def run_all(engine: AsyncEngine, *statements: str) -> None:
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))


@asynccontextmanager
async def missing(engine: AsyncEngine) -> AsyncIterator[None]:
    """The tables are gone; nobody brings them back."""
    await run_all(engine, f"DROP TABLE {TABLE}", f"DROP TABLE {LEDGER}")
    yield


@asynccontextmanager
async def older(engine: AsyncEngine) -> AsyncIterator[None]:
    """The tables lack a column, until somebody adds it."""
    columns = (TABLE, "codec"), (LEDGER, "provider")
    rename = "ALTER TABLE {0} RENAME COLUMN {1} TO {2}"
    await run_all(engine, *(rename.format(table, name, f"{name}_2") for table, name in columns))
    yield
    await run_all(engine, *(rename.format(table, f"{name}_2", name) for table, name in columns))


@asynccontextmanager
async def newer(engine: AsyncEngine) -> AsyncIterator[None]:
    """The tables have a column that this version knows nothing of."""
    added = (f"ALTER TABLE {table} ADD COLUMN region VARCHAR(20)" for table in (TABLE, LEDGER))
    await run_all(engine, *added)
    yield


@asynccontextmanager
async def full(engine: AsyncEngine) -> AsyncIterator[None]:
    """Nothing more fits on the disk."""
    if engine.dialect.name == "sqlite":
        async with _full_file(engine):
            yield
        return
    words = "'could not extend file: No space left on device' USING ERRCODE = '53100'"
    refuse = f"$$ BEGIN RAISE EXCEPTION {words}; END $$ LANGUAGE plpgsql"
    await run_all(engine, f"CREATE FUNCTION refuse() RETURNS trigger AS {refuse}")
    before = "CREATE TRIGGER refuse BEFORE INSERT ON {0} EXECUTE FUNCTION refuse()"
    await run_all(engine, before.format(TABLE), before.format(LEDGER))
    yield
    await run_all(engine, "DROP FUNCTION refuse CASCADE")


@asynccontextmanager
async def _full_file(engine: AsyncEngine) -> AsyncIterator[None]:
    pages = [1]  # it is never less than there are

    def bound(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages[0]}")

    listen(engine.sync_engine, "checkout", bound)
    yield
    pages[0] = 1_000_000


@asynccontextmanager
async def locked(engine: AsyncEngine) -> AsyncIterator[None]:
    """Another program keeps everybody out."""
    async with engine.connect() as locker:
        if engine.dialect.name == "sqlite":
            await locker.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            tables = f"{TABLE}, {LEDGER}"
            await locker.execute(text(f"LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE"))
        yield
        await locker.rollback()


async def answer(pipe: Pipe, simulator: Simulator, name: str) -> bool:
    """One whole turn; says whether its thinking went into the table."""
    blob = f"gAAAA-{name}" * 400
    simulator.script(thinking_reply(blob=blob))
    async with asyncio.timeout(10):
        saved = await ask(pipe, message_id=name)
    assert "Four." in str(saved)
    in_chat, referred = blob in str(saved), "openrouter_pipe.stored" in str(saved)
    assert in_chat != referred
    return referred


async def stand(
    fault: Fault, pipe: Pipe, simulator: Simulator, engine: AsyncEngine, seconds: float = 0
) -> None:
    """Live through a fault, and be as before when it is over."""
    begun = asyncio.get_running_loop().time()
    assert await answer(pipe, simulator, "before")
    await in_time(lambda: in_ledger(engine, {"before"}))
    names = {"after"}
    async with fault(engine):
        while len(names) < 6 or asyncio.get_running_loop().time() < begun + seconds:
            await answer(pipe, simulator, name := f"during-{len(names)}")
            names.add(name)
            await asyncio.sleep(0.05 if not seconds else 3)
    # What waits is tried again by itself.
    async with asyncio.timeout(60):
        while not await answer(pipe, simulator, "after"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await in_time(lambda: in_ledger(engine, names))


async def in_ledger(engine: AsyncEngine, names: set[str]) -> bool:
    """Whether these answers are written down; at first there is no table."""
    with suppress(DBAPIError):
        async with engine.begin() as connection:
            found = await connection.execute(text(f"SELECT message_id FROM {LEDGER}"))
            return names <= set(found.scalars())
    return False


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for a database that does not work waits only a moment."""
    monkeypatch.setattr(artifacts, "_SETTLE_SECONDS", 0.5)
    monkeypatch.setattr(artifacts, "_LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(spend_ledger, "_GATHER_SECONDS", 0.005)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize(
    ("fault", "most_warnings"), [(missing, 1), (older, 1), (newer, 0), (full, 1)]
)
async def test_answers_come_while_the_database_fails_and_all_is_well_after_it(
    simulator: Simulator,
    engine: AsyncEngine,
    caplog: pytest.LogCaptureFixture,
    fault: Fault,
    most_warnings: int,
) -> None:
    pipe = make_pipe(simulator, **VALVES)
    await stand(fault, pipe, simulator, engine)
    await pipe.close()
    told = [caplog.text.count(warning) for warning in WARNINGS]
    assert max(told) <= most_warnings
    assert fault in (missing, newer) or told[0] == 1
    assert "gAAAA" not in caplog.text


# A connection that SQLite refuses while it is opened is left to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.service
async def test_a_database_that_is_locked_for_half_a_minute_holds_up_no_answer(
    simulator: Simulator, engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = make_pipe(simulator, **VALVES)
    await stand(locked, pipe, simulator, engine, LOCKED_SECONDS)
    await pipe.close()
    assert all(caplog.text.count(warning) <= 1 for warning in WARNINGS)
    assert "are lost" not in caplog.text and "not written down" not in caplog.text
