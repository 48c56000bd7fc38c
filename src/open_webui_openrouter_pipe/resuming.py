"""Videos outlive the worker that asked for them: the next one sees them to their end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import asdict

from .api.events import (
    Event,
    ItemFinished,
    MessageItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Usage,
    Working,
)
from .api.gateway.videos import follow_video
from .core.config import Settings
from .core.context import HostHandles, RequestContext
from .core.ids import new_request_id
from .core.logging_system import LOG
from .host.chats import finish_message, is_saved_chat
from .host.departure import is_server_ending
from .host.events import emitter_for, send_event
from .host.video_jobs import VideoJob, claim_video_jobs, forget_video_job, hold_video_job
from .runtime import Runtime
from .storage.keeping import keep_files
from .streaming.output_items import message_output, output_text_part
from .streaming.usage import usage_of_response

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
                        case Working() if job_id:
                            await _contained(hold_video_job(context, job_id))
                        case ResponseFinished() | ResponseFailed() if job_id:
                            await _contained(forget_video_job(job_id))
                            job_id = ""
                        case _:
                            pass
                yield batch
    except (asyncio.CancelledError, GeneratorExit):
        if job_id and not is_server_ending():
            await _contained(forget_video_job(job_id))
            note = {"type": "info", "content": _STOPPED}
            await _contained(send_event(context.host, "notification", note))
        raise


async def _contained(step: Awaitable[None]) -> None:
    """What goes wrong here costs a job its second life, not an answer."""
    try:
        await step
    except Exception:  # noqa: BLE001 - an answer that waits goes on
        LOG.exception("videos: a job could not be kept")


def resume_videos(runtime: Runtime, function_id: str, settings: Settings) -> None:
    """Look for such videos, once in the life of each copy of the pipe, beside what it does."""
    if settings.api_key and not runtime.has_resumed:
        runtime.has_resumed = True
        runtime.run_beside(_resume_all(runtime, function_id, settings))


async def _resume_all(runtime: Runtime, function_id: str, settings: Settings) -> None:
    look_at = 0.0
    while True:
        await asyncio.sleep(max(look_at - time.time(), 0.0))
        try:
            jobs, look_at = await claim_video_jobs(function_id)
        except Exception:  # noqa: BLE001 - a background job is contained
            LOG.debug("videos: the list of unfinished ones could not be read", exc_info=True)
            return
        for job in jobs:
            LOG.info("videos: taking up the unfinished job %s", job.id)
            runtime.run_beside(_finish(runtime, job, settings))
        if not look_at:
            return


async def _finish(runtime: Runtime, job: VideoJob, settings: Settings) -> None:
    context = RequestContext(
        request_id=new_request_id(),
        function_id=job.function_id,
        settings=settings,
        model=job.model,
        user_id=job.user_id,
        chat_id=job.chat_id,
        message_id=job.message_id,
        host=HostHandles(metadata=asdict(job), event_emitter=emitter_for(asdict(job))),
    )
    with runtime.lease(job.function_id, settings):
        await _contained(_see_to_its_end(runtime, context, job))


async def _see_to_its_end(runtime: Runtime, context: RequestContext, job: VideoJob) -> None:
    output: list[dict[str, object]] = []
    usage: Usage | None = None
    failure = ""
    followed = follow_video(runtime.client(), context.settings, job.id, job.model)
    answer = watch_video(keep_files(followed, context), context, job.id)
    async with aclosing(answer) as batches:
        async for batch in batches:
            for event in batch:
                match event:
                    case ItemFinished(_, MessageItem() as item):
                        output.append(
                            message_output(item, "completed", [output_text_part(item.text)])
                        )
                    case ResponseFinished():
                        usage = event.usage
                    case ResponseFailed():
                        failure, usage = event.error.for_person(), event.usage
                    case _:
                        pass
    await finish_message(context, output, usage_of_response(usage) if usage else None, failure)
