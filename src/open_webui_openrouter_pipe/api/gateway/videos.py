"""`POST /videos`: a job, asked after until its video can be fetched."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from ...core.config import Settings
from ...core.errors import (
    ApiFailure,
    FileNotStoredError,
    OpenRouterAPIError,
    PipeError,
    UpstreamTimeoutError,
)
from ...core.json_codec import decode_json, encode_json
from ...core.json_values import JsonObject, as_object, text_of
from ...core.logging_system import LOG
from ..errors import read_http_error
from ..events import (
    Event,
    ItemFinished,
    ItemStarted,
    MediaItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Working,
)
from ..http import as_pipe_errors, authorize, own_referer, refuse_web_page, timeouts
from .items import read_usage

LARGEST_VIDEO_BYTES = 256 * 1024 * 1024
_FIRST_POLL_SECONDS = 3.0
_LONGEST_POLL_SECONDS = 20.0
_POLL_GROWTH = 1.3
_PATIENCE_SECONDS = 3_600.0
# How often in a row nobody may know how the job goes.
_MOST_DEAF_POLLS = 6
_JSON = {"Content-Type": "application/json"}
_STATES = {
    "pending": "The video waits for its turn.",
    "in_progress": "The video is being made.",
    "completed": "The video is being fetched.",
}


async def stream_video(
    client: httpx.AsyncClient, settings: Settings, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Have a video made; the first Event names the job. Raises a `PipeError` before it only."""
    job = await _ask_job(client, settings, "/videos", body)
    job_id, model = text_of(job.get("id")), text_of(body.get("model"))
    # From its item on nothing is asked for twice: the job costs.
    yield [ResponseStarted(job_id, model), ItemStarted(0, MediaItem("", "video"))]
    yield [Working(_STATES["pending"])]
    await asyncio.sleep(_FIRST_POLL_SECONDS)
    async with aclosing(follow_video(client, settings, job_id, model)) as batches:
        async for batch in batches:
            yield batch


async def follow_video(
    client: httpx.AsyncClient, settings: Settings, job_id: str, model: str
) -> AsyncGenerator[list[Event]]:
    """Ask how the job goes until its end; then the video, and what it cost."""
    usual, waited, failures, usage = _FIRST_POLL_SECONDS, 0.0, 0, None
    while waited < _PATIENCE_SECONDS:
        pause = usual = min(usual * _POLL_GROWTH, _LONGEST_POLL_SECONDS)
        try:
            job = await _ask_job(client, settings, f"/videos/{job_id}")
            status, usage = text_of(job.get("status")), read_usage(job.get("usage"))
            if status not in _STATES:
                yield [ResponseFailed(_no_video(job, status), usage)]
                return
            yield [Working(_STATES[status])]
            if status == "completed":
                video = MediaItem("", "video", await _fetch_video(client, settings, job_id))
                yield [ItemFinished(0, video), ResponseFinished(job_id, model, usage)]
                return
            failures = 0
        except PipeError as error:
            failures += 1
            if failures >= _MOST_DEAF_POLLS or not _may_still_come(error):
                yield [ResponseFailed(error, usage)]
                return
            LOG.info("videos: %s", error.cause)
            if isinstance(error, OpenRouterAPIError):
                pause = max(pause, min(error.failure.retry_after or 0.0, _PATIENCE_SECONDS))
        await asyncio.sleep(pause)
        waited += pause
    yield [ResponseFailed(UpstreamTimeoutError("The video took longer than an hour."))]


def _no_video(job: JsonObject, status: str) -> PipeError:
    words = text_of(job.get("error")) or f"The video job was {status}."
    return OpenRouterAPIError(ApiFailure(message=words, may_pass=False))


def _may_still_come(error: PipeError) -> bool:
    """Whether the same question may be answered later: a lost connection, an overloaded server."""
    if isinstance(error, OpenRouterAPIError):
        status = error.failure.status or 500
        return status >= 500 or status in (408, 429)
    return not isinstance(error, FileNotStoredError)


async def _ask_job(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any] | None = None
) -> JsonObject:
    """The job, as the API describes it."""
    with as_pipe_errors(settings, answering=False):
        response = await client.send(_request_for(client, settings, path, body))
    refuse_web_page(response, settings)
    try:
        job = as_object(decode_json(response.content))
    except ValueError:
        job = {}
    if not response.is_success or not job.get("id"):
        raise read_http_error(response, response.content)
    return job


def _request_for(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any] | None = None
) -> httpx.Request:
    return client.build_request(
        "GET" if body is None else "POST",
        settings.base_url + path,
        content=None if body is None else encode_json(body),
        headers={**authorize(settings), **own_referer(settings), **_JSON},
        extensions=timeouts(settings),
    )


async def _fetch_video(client: httpx.AsyncClient, settings: Settings, job_id: str) -> bytearray:
    with as_pipe_errors(settings, answering=False):
        request = _request_for(client, settings, f"/videos/{job_id}/content?index=0")
        response = await client.send(request, stream=True)
        try:
            if not response.is_success:
                raise read_http_error(response, await response.aread())
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST_VIDEO_BYTES:
                    raise FileNotStoredError("The video is too large to be stored.")
            return content
        finally:
            await response.aclose()
