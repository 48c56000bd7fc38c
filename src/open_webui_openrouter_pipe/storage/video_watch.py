"""A video job in the hands of one worker: held while it is followed, counted once at its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from ..api.events import Event, ResponseFailed, ResponseStarted
from ..core.context import RequestContext
from ..core.errors import StreamInterruptedError
from ..core.logging_system import LOG
from ..host.chats import is_saved_chat
from ..host.database import whole_step
from ..host.events import send_event
from .spend_table import RequestEnd, tell_end
from .video_jobs import CLAIM_SECONDS, VideoJobs

Known = TypeVar("Known")

_STOPPED = (
    "OpenRouter cannot be told to stop: it makes a video to its end, and charges the whole of it."
)


@dataclass(slots=True)
class VideoWatch:
    """What becomes of one job while this worker follows it."""

    context: RequestContext
    jobs: VideoJobs
    note: Callable[[RequestEnd], None]
    """Writes the job's row of the ledger."""
    job_id: str = ""
    """Empty before the job is ordered."""
    is_kept: bool = False
    """Whether the table holds it: only the video of a saved chat has a place to come to later."""
    is_ours: bool = True
    """Whether its end is for this worker to tell."""

    def follow(self, answer: AsyncGenerator[list[Event]]) -> AsyncGenerator[list[Event]]:
        """Pass the job's Events on for as long as it is ours; one row is written for it."""
        return tell_end(self._held(answer), self._note)

    def _note(self, end: RequestEnd) -> None:
        # Both may have seen it finished; the key makes one row of that.
        if self.is_ours or end.outcome == "finished":
            self.note(replace(end, key=self.job_id))

    async def _held(self, answer: AsyncGenerator[list[Event]]) -> AsyncGenerator[list[Event]]:
        is_resumed = self.is_kept
        beat = asyncio.create_task(self._keep_renewing())
        try:
            async with aclosing(answer) as batches:
                async for batch in batches:
                    if isinstance(batch[0], ResponseStarted):
                        await self._begin(batch[0].response_id)
                    # What comes now may be the video: only one worker stores it.
                    elif not await self._renew():
                        yield [ResponseFailed(_taken_over())]
                        return
                    yield batch
            # Whoever asked for more has stored what came.
            await self._forget()
        except (asyncio.CancelledError, GeneratorExit):
            # Only a server that ends has cancelled that task, as all its others.
            if self.is_kept and (is_resumed or beat.cancelling()):
                self.is_ours = False  # the next worker tells its end
            elif self.job_id and await self._renew():
                await self._forget()
                note = {"type": "info", "content": _STOPPED}
                await contained(send_event(self.context.host, "notification", note), None)
            raise
        finally:
            beat.cancel()
            await asyncio.wait({beat})

    async def _begin(self, job_id: str) -> None:
        self.job_id = job_id
        if is_saved_chat(self.context.chat_id):
            try:
                self.is_kept = await contained(self.jobs.add(self.context, job_id), False)
            except asyncio.CancelledError:
                self.is_kept = True  # the step went on to its end: there is a row to forget
                raise

    async def _keep_renewing(self) -> None:
        """Fetching and storing a video may take longer than a claim lasts."""
        while await self._renew():  # noqa: ASYNC110 - the database tells of no event
            await asyncio.sleep(CLAIM_SECONDS / 3)

    async def _renew(self) -> bool:
        """Whether the job is still ours; a database that fails gives it to nobody else."""
        if self.is_kept and self.is_ours:
            self.is_ours = await contained(self.jobs.renew(self.job_id), True)
        return self.is_ours

    async def _forget(self) -> None:
        if self.is_kept:
            await contained(self.jobs.forget(self.job_id), None)


async def contained(step: Coroutine[Any, Any, Known], otherwise: Known) -> Known:
    """What goes wrong beside a video costs neither the video nor the answer that waits for it."""
    try:
        return await whole_step(step)
    except Exception:  # noqa: BLE001 - an answer that waits goes on
        LOG.exception("videos: a step beside one failed")
        return otherwise


def _taken_over() -> StreamInterruptedError:
    return StreamInterruptedError(
        "This server was not heard of for a while, so another one finishes the video.",
        "It will appear in this chat.",
    )
