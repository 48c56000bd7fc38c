"""A database that fails: answers do not wait for it, one warning tells, it recovers by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.storage import artifacts
from tests.storage.artifact_stores import DETAILS, TABLE, call, in_time, kept, open_store, rows, run

FAILS = "writing fails"
WORKS = "writing works again"


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What waits for a database that does not work waits only a moment."""
    monkeypatch.setattr(artifacts, "_BLIND_SECONDS", 0.0)
    monkeypatch.setattr(artifacts, "_LONGEST_PAUSE_SECONDS", 0.05)
    caplog.set_level("INFO")


@pytest.fixture(autouse=True)
def as_open_webui_opens_it(engine: AsyncEngine) -> None:
    """SQLite with a log that lets readers pass, and no connection lost with a cancelled wait."""
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _use_write_ahead_log)
        event.listen(engine.sync_engine, "handle_error", _keep_connection)


def _use_write_ahead_log(connection: Any, _: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")


def _keep_connection(failure: Any) -> None:
    if isinstance(failure.original_exception, asyncio.CancelledError):
        failure.is_disconnect = False


def there_are(engine: AsyncEngine, count: int) -> Callable[[], object]:
    async def look() -> bool:
        return len(await rows(engine)) == count

    return look


async def test_a_locked_database_is_waited_for_beside_the_answers(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    is_sqlite = engine.dialect.name == "sqlite"
    uncached = call(ENABLE_REDIS_CACHE=False)
    async with open_store() as store, open_store() as other:
        first = await kept(store, call())
        monkeypatch.setattr(artifacts, "_SETTLE_SECONDS", 0.1)
        monkeypatch.setattr(artifacts, "_LOAD_SECONDS", 1.0)
        async with engine.connect() as locker:
            if is_sqlite:
                await locker.exec_driver_sql("BEGIN EXCLUSIVE")
            else:
                await locker.execute(text(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"))
            second = store.keep(call(), "reasoning", ["two"])
            await store.settle([second])
            assert await store.load(call(), [second]) == {second: ["two"]}
            for _ in range(2):
                seen = await other.load(uncached, [first])
                assert seen == ({first: DETAILS} if is_sqlite else {})
            await locker.rollback()
        await in_time(there_are(engine, 2))
        assert await other.load(uncached, [first, second]) == {first: DETAILS, second: ["two"]}
    told = 0 if is_sqlite else 1
    assert caplog.text.count("loading fails") == caplog.text.count("loading works") == told


async def test_a_missing_table_is_made_again(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        gone = await kept(store, call(ENABLE_REDIS_CACHE=False))
        await run(engine, f"DROP TABLE {TABLE}")
        assert await store.load(call(), [gone]) == {}
        await run(engine, f"DROP TABLE IF EXISTS {TABLE}")
        artifact_id = await kept(store, call())
        await in_time(there_are(engine, 1))
        assert await store.load(call(), [gone, artifact_id]) == {artifact_id: DETAILS}
    assert caplog.text.count(FAILS) <= 1


async def test_a_table_of_another_version_keeps_artifacts_in_the_chats_until_it_is_mended(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        await kept(store, call())
        await run(engine, f"ALTER TABLE {TABLE} RENAME COLUMN codec TO codecs")
        waiting = store.keep(call(), "reasoning", ["waits"])
        await in_time(lambda: says(caplog, FAILS))
        assert [store.keep(call(), "reasoning", DETAILS) for _ in range(3)] == ["", "", ""]
        assert await store.load(call(), [waiting]) == {waiting: ["waits"]}
        await run(engine, f"ALTER TABLE {TABLE} RENAME COLUMN codecs TO codec")
        await in_time(lambda: says(caplog, WORKS))
        assert await store.load(call(), [await kept(store, call())])
    assert len(await rows(engine)) == 3
    assert (caplog.text.count(FAILS), caplog.text.count(WORKS)) == (1, 1)
    assert "gAAAA" not in caplog.text


async def says(caplog: pytest.LogCaptureFixture, words: str) -> bool:
    return words in caplog.text


async def test_a_column_that_a_newer_version_added_does_no_harm(engine: AsyncEngine) -> None:
    async with open_store() as store:
        await kept(store, call())
        await run(engine, f"ALTER TABLE {TABLE} ADD COLUMN model VARCHAR(20)")
        artifact_id = await kept(store, call())
        assert await store.load(call(), [artifact_id]) == {artifact_id: DETAILS}


@pytest.fixture
async def small_disk(engine: AsyncEngine) -> AsyncGenerator[list[int]]:
    """The most pages that SQLite's file may have, for connections opened from now on."""
    pages = [1_000_000]

    def bound(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages[0]}")

    event.listen(engine.sync_engine, "connect", bound)
    yield pages


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_full_disk_costs_nothing_and_is_waited_out(
    engine: AsyncEngine, small_disk: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        await kept(store, call())
        small_disk[0] = 12
        await engine.dispose()
        large = call(MIN_COMPRESS_BYTES=1_000_000)
        ids = [store.keep(large, "reasoning", ["x" * 200_000])]
        await in_time(lambda: says(caplog, FAILS))
        assert store.keep(call(), "reasoning", DETAILS) == ""
        assert set(await store.load(large, ids)) == set(ids)
        small_disk[0] = 1_000_000
        await engine.dispose()
        await in_time(lambda: says(caplog, WORKS))
        assert set(await store.load(large, ids)) == set(ids)
    assert "full" in caplog.text
    assert caplog.text.count(FAILS) == 1
