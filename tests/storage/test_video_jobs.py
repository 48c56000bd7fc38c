"""One database, several workers: a job is one worker's at a time, and one row in the ledger."""

from __future__ import annotations

import asyncio

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.api.events import Usage
from open_webui_openrouter_pipe.storage.spend_ledger import SpendLedger
from open_webui_openrouter_pipe.storage.spend_table import SPEND, RequestEnd
from open_webui_openrouter_pipe.storage.video_jobs import VIDEO_JOBS, VideoJob, VideoJobs
from tests.storage.artifact_stores import call

JOB = VideoJob("job-1", "openrouter", "a/one", "user-1", "chat-1", "message-1")


async def test_a_job_is_left_alone_while_its_worker_is_heard_of(engine: AsyncEngine) -> None:
    first, second = VideoJobs(), VideoJobs()
    assert await second.take_free("openrouter") == ([], False)
    assert await first.add(call(), "job-1")
    assert await second.take_free("openrouter") == ([], True)
    assert await second.take_free("another") == ([], False)
    assert not await second.renew("job-1")
    await second.forget("job-1")
    assert await first.renew("job-1")


async def test_of_all_that_come_for_a_dead_workers_job_one_gets_it(engine: AsyncEngine) -> None:
    dead = VideoJobs()
    await dead.add(call(), "job-1")
    async with engine.begin() as connection:
        await connection.execute(update(VIDEO_JOBS).values(claimed_until=0.0))
    others = [VideoJobs() for _ in range(8)]
    found = await asyncio.gather(*(each.take_free("openrouter") for each in others))
    assert sorted(jobs for jobs, _ in found) == [[]] * 7 + [[JOB]]
    assert not await dead.renew("job-1")
    (heir,) = [each for each, (jobs, _) in zip(others, found, strict=True) if jobs]
    assert await heir.renew("job-1")
    await heir.forget("job-1")
    assert await heir.take_free("openrouter") == ([], False)


async def test_two_workers_that_note_one_job_write_one_row(engine: AsyncEngine) -> None:
    ledgers = [SpendLedger(), SpendLedger()]
    for ledger in ledgers:
        ledger.note(call(), RequestEnd("finished", Usage(cost=0.5), key="job-1"))
        ledger.note(call(), RequestEnd("finished", Usage(cost=0.25)))
    for ledger in ledgers:
        await ledger.close()
    async with engine.begin() as connection:
        costs = (await connection.execute(select(SPEND.c.picodollars))).scalars().all()
    assert sorted(costs) == [25 * 10**10, 25 * 10**10, 5 * 10**11]
