"""A video under way is written down, so that it outlives the worker that asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing

from ..api.events import Event, ResponseFailed, ResponseFinished, ResponseStarted, Working
from ..core.context import RequestContext
from ..core.logging_system import LOG
from ..host.chats import is_saved_chat
from ..host.departure import is_server_ending
from ..host.events import send_event
from ..host.video_jobs import add_video_job, forget_video_job, renew_video_job

_STOPPED = "OpenRouter makes a video to its end once it has begun, and charges it."


async def watch_video(
    answer: AsyncGenerator[list[Event]], context: RequestContext, job_id: str = ""
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; the job is kept until its video is stored, it failed or was stopped.

    Only the video of a saved chat has a place to come to later. `job_id` is that of a known job.
    """
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                for event in batch:
                    match event:
                        case ResponseStarted(response_id) if is_saved_chat(context.chat_id):
                            job_id = response_id
                            await _try(add_video_job(context, job_id))
                        case Working() if job_id:
                            await _try(renew_video_job(job_id))
                        case ResponseFinished() | ResponseFailed() if job_id:
                            await _try(forget_video_job(job_id))
                            job_id = ""
                        case _:
                            pass
                yield batch
    except (asyncio.CancelledError, GeneratorExit):
        if job_id and not is_server_ending():
            await _try(forget_video_job(job_id))
            await _try(
                send_event(context.host, "notification", {"type": "info", "content": _STOPPED})
            )
        raise


async def _try(step: Awaitable[None]) -> None:
    """What goes wrong here costs the job its second life, not the video."""
    try:
        await step
    except Exception:  # noqa: BLE001 - an answer that a person waits for goes on
        LOG.exception("videos: a job could not be written down")
