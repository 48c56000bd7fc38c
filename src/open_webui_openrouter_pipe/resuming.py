"""Videos outlive the worker that asked for them: the next one sees them to their end."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import aclosing, suppress
from dataclasses import asdict
from functools import partial

from sqlalchemy.exc import SQLAlchemyError

from .api.events import ItemFinished, MessageItem, ResponseFailed, ResponseFinished
from .api.gateway.videos import follow_video
from .core.config import Settings
from .core.context import HostHandles, RequestContext
from .core.ids import new_request_id
from .core.json_values import JsonObject
from .core.logging_system import LOG
from .host.chats import finish_message, has_message
from .host.database import whole_step
from .host.events import emitter_for, send_event
from .runtime import Runtime
from .storage.keeping import keep_files
from .storage.video_jobs import CLAIM_SECONDS, VideoJob
from .storage.video_watch import VideoWatch, contained
from .streaming.response_events import ResponseEvents


def resume_videos(runtime: Runtime, function_id: str, settings: Settings) -> None:
    """Look for such videos beside what a call does: once a minute, and on while there are any."""
    if settings.api_key and time.monotonic() >= runtime.look_at:
        runtime.look_at = math.inf
        runtime.run_beside(_resume_all(runtime, function_id, settings))


async def _resume_all(runtime: Runtime, function_id: str, settings: Settings) -> None:
    try:
        while runtime.is_newest:
            jobs, are_left = await whole_step(runtime.video_jobs.take_free(function_id))
            for job in jobs:
                LOG.info("videos: taking up the unfinished job %s", job.id)
                runtime.run_beside(_finish(runtime, job, settings))
            if not are_left:
                break
            await asyncio.sleep(CLAIM_SECONDS)
    except Exception:  # noqa: BLE001 - a background job is contained
        LOG.debug("videos: the list of unfinished ones could not be read", exc_info=True)
    runtime.look_at = time.monotonic() + CLAIM_SECONDS


async def _finish(runtime: Runtime, job: VideoJob, settings: Settings) -> None:
    fields = asdict(job)
    host = HostHandles(metadata=fields, event_emitter=emitter_for(fields))
    del fields["id"]
    context = RequestContext(request_id=new_request_id(), settings=settings, host=host, **fields)
    with runtime.lease(job.function_id, settings):
        is_there = await contained(has_message(context), None)
        if is_there is None:
            return  # the claim runs out, and a worker asks again
        try:
            if is_there:
                await _see_to_its_end(runtime, context, job)
        except Exception:  # noqa: BLE001 - a background job is contained
            LOG.exception("videos: the job %s could not be finished", job.id)
        # One try: what fails for good must not store a video every minute.
        with suppress(SQLAlchemyError):
            await runtime.video_jobs.forget(job.id)


async def _see_to_its_end(runtime: Runtime, context: RequestContext, job: VideoJob) -> None:
    """Do what the stream and Open WebUI would have done: statuses as they come, then the message.

    The job is held until the message is saved.
    """
    note = partial(runtime.ledger().note, context)
    watch = VideoWatch(context, runtime.video_jobs, note, job.id, is_kept=True)
    followed = follow_video(runtime.client(), context.settings, job.id, job.model)
    renderer = ResponseEvents(show_usage=context.settings.show_final_usage)
    ended: JsonObject = {"output": [], "done": True}
    async with aclosing(keep_files(watch.follow(followed), context)) as batches:
        async for batch in batches:
            for event in batch:
                if isinstance(event, ItemFinished) and isinstance(item := event.item, MessageItem):
                    ended["content"] = item.text
            for shown in renderer.render(batch):
                match shown:
                    case {"event": {"type": str(kind), "data": data}}:
                        await contained(send_event(context.host, kind, data), None)
                    case {"type": "response.output_item.done", "item": stored}:
                        ended["output"].append(stored)
                    case {"response": {"usage": usage}} | {"usage": usage}:
                        ended["usage"] = usage
                    case _:
                        pass
            end = batch[-1]
            if isinstance(end, ResponseFinished | ResponseFailed) and watch.is_ours:
                failure = end.error.for_person() if isinstance(end, ResponseFailed) else ""
                await finish_message(context, ended, failure)
