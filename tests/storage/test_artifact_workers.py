"""Two worker processes, one of them killed in the middle of its work."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.storage import write_behind
from tests.services import WITH_REDIS
from tests.storage.artifact_stores import STREAM, call, in_time, open_store, rows, run

ROOT = Path(__file__).resolve().parent.parent.parent
CHATS = 100


async def start(target: str, url: str, name: str, *more: str) -> Process:
    worker = [sys.executable, "-m", "tests.storage.artifact_worker", target, url, name]
    path = os.pathsep.join((str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")))
    environment = {**os.environ, "PYTHONPATH": path}
    return await asyncio.create_subprocess_exec(
        *worker, str(CHATS), *more, stdout=PIPE, cwd=ROOT, env=environment
    )


async def saved_by(worker: Process, kill_after: int = 0) -> dict[str, str]:
    """The artifact of each chat whose answer could be saved."""
    assert worker.stdout is not None
    saved: dict[str, str] = {}
    async for line in worker.stdout:
        chat, artifact_id = line.decode().split()
        saved[chat] = artifact_id
        if len(saved) == kill_after:
            worker.kill()
    await worker.wait()
    return saved


async def stream_is_empty(redis: Any) -> bool:
    return await redis.xlen(STREAM) == 0


async def test_no_saved_answer_loses_its_artifact_when_a_worker_is_killed(
    engine: AsyncEngine,
    database_url: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = str(request.config.getoption("target"))
    has_redis = request.node.callspec.params["database_url"] == WITH_REDIS
    more = [request.getfixturevalue("redis_server").url] if has_redis else []
    monkeypatch.setattr(write_behind, "_ABANDONED_MS", 0)
    workers = [await start(target, database_url, name, *more) for name in ("killed", "other")]
    killed, other = await asyncio.gather(saved_by(workers[0], 40), saved_by(workers[1]))
    assert 40 <= len(killed) < CHATS == len(other)
    saved = killed | other
    async with open_store() as store:
        await store.load(call(), [])
        if has_redis:
            await in_time(lambda: stream_is_empty(request.getfixturevalue("redis_client")))
    there = [row.id for row in await rows(engine)]
    assert set(saved.values()) <= set(there)
    await run(engine, "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY)")
    for chat in saved:
        await run(engine, "INSERT INTO chat VALUES (:chat)", chat=chat)
    async with open_store() as store:
        for chat, artifact_id in saved.items():
            assert await store.load(call(chat=chat), [artifact_id]) == {artifact_id: [chat]}
        await run(engine, "DELETE FROM chat WHERE id LIKE 'other-%'")
        await run(engine, "UPDATE openrouter_pipe_artifacts SET created_at = created_at - 7200")
        await store.sweep()
    assert {row.id for row in await rows(engine)} == set(killed.values())
