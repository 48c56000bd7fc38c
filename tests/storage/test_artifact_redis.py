"""Artifacts in Redis: encrypted, found by every worker, never lost, and never needed."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from base64 import b64decode, b64encode
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.core.json_codec import encode_json
from open_webui_openrouter_pipe.host import redis
from open_webui_openrouter_pipe.storage import artifacts, write_behind
from open_webui_openrouter_pipe.storage.artifact_table import ARTIFACTS
from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec
from tests.services import WITH_REDIS, RedisServer
from tests.storage.artifact_stores import (
    DETAILS,
    STREAM,
    TABLE,
    call,
    in_time,
    kept,
    open_store,
    rows,
    run,
)
from tests.storage.test_artifact_workers import start, stream_is_empty

pytestmark = [
    pytest.mark.service,
    pytest.mark.parametrize("database_url", [WITH_REDIS], indirect=True),
]
FAILS = "the pipe does without"
WORKS = "it works again"
KEYS = "lab:or_pipe:artifact:*"
CACHED_ONLY = {"REDIS_WRITE_BEHIND": False}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A Redis that failed is tried again at once, and a worker is given up soon."""
    monkeypatch.setattr(redis, "_REDIS_REST_SECONDS", 0.0)
    monkeypatch.setattr(artifacts, "_STRAY_SECONDS", 0.1)
    monkeypatch.setattr(artifacts, "_SETTLE_SECONDS", 60)
    caplog.set_level("INFO")


@asynccontextmanager
async def locked_table(engine: AsyncEngine) -> AsyncGenerator[None]:
    """The database takes no row, and shows none."""
    async with engine.connect() as locker:
        await locker.execute(text(f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE"))
        yield
        await locker.rollback()


def written(engine: AsyncEngine, *ids: str) -> Awaitable[None]:
    async def are_there() -> bool:
        return set(ids) <= {row.id for row in await rows(engine)}

    return in_time(are_there)


async def handed_over(store: Any, context: Any, content: Any = DETAILS) -> str:
    artifact_id = store.keep(context, "reasoning", content)
    assert artifact_id
    async with asyncio.timeout(20):
        await store.settle([artifact_id])
    return artifact_id


@pytest.mark.parametrize("valves", [CACHED_ONLY, {}])
async def test_it_holds_what_the_table_holds_for_a_while(
    engine: AsyncEngine, redis_client: Any, valves: dict[str, Any]
) -> None:
    async with open_store() as store:
        artifact_id = await kept(store, call(**valves, REDIS_CACHE_TTL_SECONDS=60))
    (key,) = await redis_client.keys(KEYS)
    assert key == f"lab:or_pipe:artifact:openrouter:{{chat-1}}:user-1:{artifact_id}"
    assert 0 < await redis_client.ttl(key) <= 60
    if valves:
        ((payload,),) = await rows(engine, "payload")
        assert b64decode(await redis_client.get(key)) == bytes(payload)


async def test_what_is_not_encrypted_never_goes_there(
    engine: AsyncEngine, redis_client: Any
) -> None:
    plain = call(ARTIFACT_ENCRYPTION_KEY="")
    async with open_store() as store, open_store() as other:
        artifact_id = await kept(store, plain)
        assert await other.load(plain, [artifact_id]) == {artifact_id: DETAILS}
    assert await redis_client.keys("*") == []


async def test_what_was_read_is_read_from_there_next_time(
    engine: AsyncEngine, redis_client: Any
) -> None:
    async with open_store() as store, open_store() as other:
        artifact_id = await kept(store, call(**CACHED_ONLY))
        await redis_client.flushall()
        assert await store.load(call(**CACHED_ONLY), [artifact_id]) == {artifact_id: DETAILS}
        await run(engine, f"DELETE FROM {TABLE}")
        assert await other.load(call(), [artifact_id]) == {artifact_id: DETAILS}
        for thief in (call(chat="chat-2"), call(user="user-2"), call(pipe="other")):
            assert await other.load(thief, [artifact_id]) == {}
        assert await other.load(call(ENABLE_REDIS_CACHE=False), [artifact_id]) == {}


@pytest.mark.parametrize("nonsense", ["no base64!", "AYAA", "", ["a list"]])
async def test_the_table_serves_where_it_holds_nonsense(
    engine: AsyncEngine, redis_client: Any, nonsense: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store, open_store() as other:
        artifact_id = await kept(store, call(**CACHED_ONLY))
        (key,) = await redis_client.keys(KEYS)
        await redis_client.delete(key)
        if isinstance(nonsense, list):
            await redis_client.lpush(key, *nonsense)
        else:
            await redis_client.set(key, nonsense)
        assert await other.load(call(), [artifact_id]) == {artifact_id: DETAILS}
    assert "WARNING" not in caplog.text


async def test_nobody_can_put_thoughts_in_there_without_the_passphrase(
    engine: AsyncEngine, redis_client: Any
) -> None:
    async with open_store() as store, open_store() as other:
        artifact_id = await kept(store, call())
        (key,) = await redis_client.keys(KEYS)
        identity = ("openrouter", "user-1", "chat-1", artifact_id)
        forged = b64encode(PayloadCodec().seal(b'["forged"]', identity))
        await redis_client.set(key, forged)
        assert await other.load(call(), [artifact_id]) == {artifact_id: DETAILS}


async def test_a_deleted_row_is_gone_there_too(engine: AsyncEngine, redis_client: Any) -> None:
    now = [1_000_000_000.0]
    await run(engine, "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY)")
    await run(engine, "INSERT INTO chat VALUES ('chat-1')")
    async with open_store(clock=lambda: now[0]) as store, open_store() as other:
        stays = await kept(store, call())
        gone = await kept(store, call(chat="deleted"))
        now[0] += 7_200
        await store.sweep()
        assert await other.load(call(chat="deleted"), [gone]) == {}
        assert set(await other.load(call(), [stays])) == {stays}
        now[0] += 91 * 24 * 3_600
        await store.sweep()
        assert await redis_client.keys(KEYS) == []


async def test_no_answer_waits_for_the_database_and_every_worker_finds_it(
    engine: AsyncEngine, redis_client: Any
) -> None:
    async with open_store() as store, open_store() as other:
        await kept(store, call())
        async with locked_table(engine):
            ids = [await handed_over(store, call(), [number]) for number in range(3)]
            seen = await other.load(call(), ids)
            assert seen == {each: [number] for number, each in enumerate(ids)}
        await written(engine, *ids)
        await in_time(lambda: stream_is_empty(redis_client))
    assert len(await rows(engine)) == 4


@pytest.mark.parametrize("has_lost_all", [False, True])
async def test_a_redis_that_is_flushed_or_restarted_loses_no_row(
    engine: AsyncEngine, redis_client: Any, redis_server: RedisServer, has_lost_all: bool
) -> None:
    async with open_store() as store, open_store() as other:
        await kept(store, call())
        async with locked_table(engine):
            artifact_id = await handed_over(store, call(), ["two"])
            if has_lost_all:
                await redis_client.flushall()
            else:
                redis_server.stop(signal.SIGKILL)
                redis_server.start()
            later = await handed_over(store, call(), ["three"])
        await written(engine, artifact_id, later)
        await redis_client.flushall()
        assert set(await other.load(call(), [artifact_id, later])) == {artifact_id, later}
    assert len(await rows(engine)) == 3


async def test_the_rows_of_a_worker_that_was_killed_are_written_by_another(
    engine: AsyncEngine,
    database_url: str,
    redis_client: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = str(request.config.getoption("target"))
    redis_server: RedisServer = request.getfixturevalue("redis_server")
    async with open_store() as store:
        await kept(store, call(chat="before"))
        async with locked_table(engine):
            worker = await start(target, database_url, "killed", redis_server.url)
            assert worker.stdout is not None
            saved = [(await worker.stdout.readline()).decode().split() for _ in range(20)]
            os.kill(worker.pid, signal.SIGKILL)
            await worker.wait()
        assert await redis_client.xlen(STREAM) >= 20
        monkeypatch.setattr(write_behind, "_ABANDONED_MS", 0)
        await written(engine, *(artifact_id for _, artifact_id in saved))
        await in_time(lambda: stream_is_empty(redis_client))
        await redis_client.flushall()
        for chat, artifact_id in saved:
            assert await store.load(call(chat=chat), [artifact_id]) == {artifact_id: [chat]}


async def fill(client: Any, server: RedisServer) -> None:
    await client.config_set("maxmemory", 1)


async def empty(client: Any, server: RedisServer) -> None:
    await client.config_set("maxmemory", 0)


async def put_another_type(client: Any, server: RedisServer) -> None:
    await client.set(STREAM, "not a stream")


async def remove_it(client: Any, server: RedisServer) -> None:
    await client.delete(STREAM)


async def stall(client: Any, server: RedisServer) -> None:
    server.send(signal.SIGSTOP)


async def go_on(client: Any, server: RedisServer) -> None:
    server.send(signal.SIGCONT)


async def stop(client: Any, server: RedisServer) -> None:
    server.stop(signal.SIGKILL)


async def start_again(client: Any, server: RedisServer) -> None:
    server.start()


Fault = Callable[[Any, RedisServer], Awaitable[None]]


@pytest.mark.parametrize(
    "fault",
    [(fill, empty), (put_another_type, remove_it), (stall, go_on), (stop, start_again)],
)
async def test_a_redis_that_fails_is_done_without_and_used_again(
    engine: AsyncEngine,
    redis_client: Any,
    redis_server: RedisServer,
    caplog: pytest.LogCaptureFixture,
    fault: tuple[Fault, Fault],
) -> None:
    break_it, mend = fault
    async with open_store() as store, open_store() as other:
        await kept(store, call())
        await break_it(redis_client, redis_server)
        try:
            ids = [await kept(store, call(), [number]) for number in range(3)]
            assert set(await other.load(call(), ids)) == set(ids)
        finally:
            await mend(redis_client, redis_server)

        async def has_recovered() -> bool:
            await kept(store, call())
            return WORKS in caplog.text

        await in_time(has_recovered)
        async with locked_table(engine):
            last = await handed_over(store, call())
        await written(engine, last)
    assert caplog.text.count("WARNING") == caplog.text.count(FAILS) <= 2  # once for each worker
    assert "gAAAA" not in caplog.text


async def test_what_is_no_row_is_dropped_with_a_warning(
    engine: AsyncEngine, redis_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    strange = [b"", b"[]", b"{}", encode_json({"payload": "AYAA", "id": "x"})]
    for entry in strange:
        await redis_client.xadd(STREAM, {"row": entry})
    await redis_client.xadd(STREAM, {"column": "1"})
    async with open_store() as store:
        await kept(store, call())
        async with engine.begin() as connection:
            row = (await connection.execute(select(ARTIFACTS))).mappings().one()
        whole = {**row, "id": "x", "payload": b64encode(row["payload"]).decode()}
        await redis_client.xadd(STREAM, {"row": encode_json({**whole, "created_at": 2**63})})
        await kept(store, call())
        await in_time(lambda: stream_is_empty(redis_client))
    dropped = re.findall(r"(\d+) entries are not rows", caplog.text)
    assert sum(map(int, dropped)) == 6
    assert len(await rows(engine)) == 2


async def test_when_too_many_wait_there_new_ones_go_to_the_database(
    engine: AsyncEngine, redis_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    few = call(REDIS_PENDING_WARN_THRESHOLD=2)
    async with open_store() as store, open_store() as other:
        await kept(store, few)
        async with locked_table(engine):
            ids = [await handed_over(other, few, [number]) for number in range(2)]
            ids += [store.keep(few, "reasoning", [number]) for number in range(2)]
            await in_time(lambda: waits(caplog))
            assert await redis_client.xlen(STREAM) == 2
        await written(engine, *ids)
    assert caplog.text.count("rows wait in it") == 1


async def waits(caplog: pytest.LogCaptureFixture) -> bool:
    return "rows wait in it" in caplog.text


async def test_a_row_that_the_database_refuses_holds_up_no_other(
    engine: AsyncEngine, redis_client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        async with locked_after_first(store, engine):
            await handed_over(store, call(user="refused"))
            (entry,) = await redis_client.xrange(STREAM)
        await in_time(lambda: stream_is_empty(redis_client))
    await run(engine, f"DELETE FROM {TABLE} WHERE user_id = 'refused'")
    await run(engine, f"ALTER TABLE {TABLE} ADD CHECK (user_id <> 'refused')")
    await redis_client.xadd(STREAM, entry[1])
    async with open_store() as store:
        context = call(REDIS_FLUSH_FAILURE_LIMIT=1)
        artifact_id = store.keep(context, "reasoning", DETAILS)
        await written(engine, artifact_id)
        await written(engine, await kept(store, context))
    assert caplog.text.count("new ones pass it by") == 1


@asynccontextmanager
async def locked_after_first(store: Any, engine: AsyncEngine) -> AsyncGenerator[None]:
    await kept(store, call())
    async with locked_table(engine):
        yield
