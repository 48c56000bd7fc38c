"""The video jobs under way, in a small table of Open WebUI's database.

A job belongs to the worker that follows it for as long as that renews its claim. When the worker
ends, whichever comes first takes the job over.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import Column, Float, MetaData, String, Table, delete, insert, select, update

from ..core.context import RequestContext
from ..host.database import LONGEST_TEXT, OwnTable

CLAIM_SECONDS = 60.0
"""How long a job is left alone whose worker has not been heard of."""


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One job, and the message that its video belongs to."""

    id: str
    function_id: str
    model: str
    user_id: str
    chat_id: str
    message_id: str


_OF_CONTEXT = tuple(each.name for each in fields(VideoJob) if each.name != "id")

VIDEO_JOBS = Table(
    "openrouter_pipe_video_jobs",
    MetaData(),
    Column("id", String(LONGEST_TEXT), primary_key=True),
    *(Column(name, String(LONGEST_TEXT), nullable=False) for name in _OF_CONTEXT),
    Column("holder", String(32), nullable=False),
    Column("claimed_until", Float, nullable=False),  # seconds since 1970
)


class VideoJobs:
    """The jobs as one worker sees them: its own, and those that may become its own."""

    def __init__(self) -> None:
        self._table = OwnTable(VIDEO_JOBS)
        self._holder = secrets.token_hex(16)

    async def add(self, context: RequestContext, job_id: str) -> bool:
        """Write a job that the call has ordered down as this worker's own; true when it is."""
        row = {name: getattr(context, name) for name in _OF_CONTEXT} | self._claim()
        async with self._table.begin() as connection:
            await connection.execute(insert(VIDEO_JOBS).values(id=job_id, **row))
        return True

    async def renew(self, job_id: str) -> bool:
        """Go on holding a job; false where another worker holds it by now."""
        async with self._table.begin() as connection:
            renewed = update(VIDEO_JOBS).where(*self._own(job_id)).values(**self._claim())
            return bool((await connection.execute(renewed)).rowcount)

    async def forget(self, job_id: str) -> None:
        """A job of this worker's is over, or nobody wants its video any longer."""
        async with self._table.begin() as connection:
            await connection.execute(delete(VIDEO_JOBS).where(*self._own(job_id)))

    async def take_free(self, function_id: str) -> tuple[list[VideoJob], bool]:
        """The jobs that nobody follows, now this worker's own; and whether there are any at all."""
        of_function = VIDEO_JOBS.c.function_id == function_id
        free = update(VIDEO_JOBS).where(of_function, VIDEO_JOBS.c.claimed_until < time.time())
        columns = VIDEO_JOBS.c["id", *_OF_CONTEXT]
        if not await self._table.exists():
            return [], False
        any_job = select(VIDEO_JOBS.c.id).where(of_function).limit(1)
        async with self._table.begin() as connection:
            # One statement: of two workers that come at once, the second finds them taken.
            taken = await connection.execute(free.values(**self._claim()).returning(*columns))
            jobs = [VideoJob(*row) for row in taken.all()]
            return jobs, (await connection.execute(any_job)).first() is not None

    def _claim(self) -> dict[str, Any]:
        return {"holder": self._holder, "claimed_until": time.time() + CLAIM_SECONDS}

    def _own(self, job_id: str) -> tuple[Any, Any]:
        return VIDEO_JOBS.c.id == job_id, VIDEO_JOBS.c.holder == self._holder
