"""The video jobs under way, in a small table of Open WebUI's database.

A job belongs to the worker that follows it for as long as that renews its claim. When the worker
ends, whichever comes first takes the job over.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Float, MetaData, String, Table, delete, insert, select, update
from sqlalchemy.exc import DatabaseError

from ..core.context import RequestContext

CLAIM_SECONDS = 60.0
"""How long a job is left alone whose worker has not been heard of."""

_OF_CONTEXT = ("function_id", "model", "user_id", "chat_id", "message_id")


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One job, and the message that its video belongs to."""

    id: str
    function_id: str
    model: str
    user_id: str
    chat_id: str
    message_id: str


async def hold_video_job(context: RequestContext, job_id: str) -> None:
    """Write the job down as this worker's own, or go on holding it."""
    values = {name: getattr(context, name) for name in _OF_CONTEXT}
    claim = time.time() + CLAIM_SECONDS
    async with _jobs() as (connection, table):
        await connection.execute(delete(table).where(table.c.id == job_id))
        await connection.execute(insert(table).values(id=job_id, claimed_until=claim, **values))


async def forget_video_job(job_id: str) -> None:
    """The job is over, or nobody wants its video any longer."""
    async with _jobs() as (connection, table):
        await connection.execute(delete(table).where(table.c.id == job_id))


async def claim_video_jobs(function_id: str) -> tuple[list[VideoJob], float]:
    """The jobs that nobody follows, now this worker's; when to look again, or 0 for never."""
    now = time.time()
    ours: list[VideoJob] = []
    async with _jobs() as (connection, table):
        known = select(table).where(table.c.function_id == function_id)
        rows = [dict(row) for row in (await connection.execute(known)).mappings()]
        for row in rows:
            until = row.pop("claimed_until")
            if until > now:
                continue
            free = update(table).where(table.c.id == row["id"], table.c.claimed_until == until)
            taken = await connection.execute(free.values(claimed_until=now + CLAIM_SECONDS))
            if taken.rowcount:
                ours.append(VideoJob(**row))
    return ours, now + CLAIM_SECONDS if len(rows) > len(ours) else 0.0


@asynccontextmanager
async def _jobs() -> AsyncGenerator[tuple[Any, Table]]:
    """A transaction on the table, which is made where there is none."""
    from open_webui.env import DATABASE_SCHEMA  # pyright: ignore[reportMissingImports]
    from open_webui.internal.db import async_engine  # pyright: ignore[reportMissingImports]

    table = Table(
        "openrouter_pipe_video_jobs",
        MetaData(schema=DATABASE_SCHEMA or None),
        Column("id", String, primary_key=True),
        *(Column(name, String) for name in _OF_CONTEXT),
        Column("claimed_until", Float),
    )
    try:
        async with async_engine.begin() as connection:
            await connection.run_sync(table.metadata.create_all)
    except DatabaseError:  # another worker was quicker
        pass
    async with async_engine.begin() as connection:
        yield connection, table
