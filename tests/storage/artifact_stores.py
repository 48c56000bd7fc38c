"""Stores of artifacts on the test's database, and what stands in their table."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext
from open_webui_openrouter_pipe.storage.artifacts import ArtifactStore

DETAILS = [{"type": "reasoning.encrypted", "id": "rs_1", "data": "gAAAA" * 400}]
TABLE = "openrouter_pipe_artifacts"
STREAM = "lab:or_pipe:artifacts:v1"


def call(
    *, chat: str = "chat-1", user: str = "user-1", pipe: str = "openrouter", **valves: Any
) -> RequestContext:
    """A call of a chat that keeps its artifacts in the database."""
    chosen = {
        "ARTIFACT_STORAGE": "database",
        "ARTIFACT_ENCRYPTION_KEY": "a passphrase",
        "ENABLE_LZ4_COMPRESSION": False,
        "REDIS_WRITE_BEHIND": True,  # where the test has a Redis
        **valves,
    }
    return RequestContext(
        request_id="request-1",
        function_id=pipe,
        settings=take_snapshot(SystemValves.model_validate(chosen)),
        model="a/one",
        user_id=user,
        chat_id=chat,
        message_id="message-1",
    )


@asynccontextmanager
async def open_store(**options: Any) -> AsyncGenerator[ArtifactStore]:
    """The store of one worker."""
    store = ArtifactStore(**options)
    try:
        yield store
    finally:
        await store.close()


async def kept(store: ArtifactStore, context: RequestContext, content: Any = DETAILS) -> str:
    """The id of something that is in the table."""
    artifact_id = store.keep(context, "reasoning", content)
    assert artifact_id
    await store.settle([artifact_id])
    engine = sys.modules["open_webui.internal.db"].__dict__["async_engine"]
    await in_time(lambda: _is_in_table(engine, artifact_id))
    return artifact_id


async def _is_in_table(engine: AsyncEngine, artifact_id: str) -> bool:
    try:
        async with engine.begin() as connection:
            there = text(f"SELECT id FROM {TABLE} WHERE id = :id")
            return bool((await connection.execute(there, {"id": artifact_id})).all())
    except DBAPIError:  # the first row makes the table
        return False


async def run(engine: AsyncEngine, statement: str, **values: Any) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement), values)


async def rows(engine: AsyncEngine, columns: str = "id") -> Sequence[Any]:
    async with engine.begin() as connection:
        found = await connection.execute(text(f"SELECT {columns} FROM {TABLE} ORDER BY id"))
        return found.all()


async def in_time(condition: Callable[[], Any]) -> None:
    """Return when the condition, awaited, holds."""
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - another task's transaction tells nobody
            await asyncio.sleep(0.01)
