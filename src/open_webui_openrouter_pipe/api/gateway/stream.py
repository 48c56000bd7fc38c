"""One request, one stream of Events: what both endpoints have in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import httpx

from ...core.config import Settings
from ...core.errors import PipeError
from ...core.json_codec import decode_json, encode_json
from ...core.json_values import JsonObject, as_object
from ...core.logging_system import LOG
from ..errors import holds_error, read_http_error
from ..events import Event, ResponseFailed
from ..exchange_log import log_answer, log_request
from ..http import (
    as_pipe_errors,
    authorize,
    metadata_headers,
    own_referer,
    refuse_web_page,
    timeouts,
    vendor_headers,
)
from ..pacing import shows_text
from .payloads import StreamReader

# How long the rest of a finished body may take (seconds) before its connection is cut, not reused.
_DRAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one endpoint is asked and read."""

    path: str
    new_reader: Callable[[], StreamReader]
    answer_field: str
    """The field that a whole answer has and an error has not."""
    read_whole: Callable[[JsonObject], list[Event]]


async def stream_endpoint(
    client: httpx.AsyncClient, settings: Settings, endpoint: Endpoint, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Send the request and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    response = await _open(client, settings, endpoint.path, body)
    try:
        refuse_web_page(response, settings)
        if "json" in response.headers.get("content-type", ""):
            yield await _read_whole_answer(response, settings, endpoint)
            return
        async with aclosing(_read_stream(response, settings, endpoint.new_reader())) as batches:
            async for batch in batches:
                yield batch
    finally:
        await response.aclose()


async def _open(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any]
) -> httpx.Response:
    with as_pipe_errors(settings, answering=False):
        request = client.build_request(
            "POST",
            f"{settings.base_url}{path}",
            content=encode_json({**body, "stream": True}),
            headers={
                **authorize(settings),
                **own_referer(settings),
                **vendor_headers(settings, body),
                **metadata_headers(body),
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
            },
            extensions=timeouts(settings),
        )
        log_request(path, body)
        response = await client.send(request, stream=True)
        log_answer(path, response)
        if response.is_success:
            return response
        try:
            content = await response.aread()
        finally:
            await response.aclose()
    raise read_http_error(response, content)


async def _read_whole_answer(
    response: httpx.Response, settings: Settings, endpoint: Endpoint
) -> list[Event]:
    """A JSON body where a stream was asked for: an error under HTTP 200, or the finished answer."""
    with as_pipe_errors(settings, answering=False):
        content = await response.aread()
    try:
        body = as_object(decode_json(content))
    except ValueError:
        body = {}
    if holds_error(body) or not isinstance(body.get(endpoint.answer_field), list):
        raise read_http_error(response, content)
    return endpoint.read_whole(body)


async def _read_stream(
    response: httpx.Response, settings: Settings, reader: StreamReader
) -> AsyncGenerator[list[Event]]:
    encoded = "content-encoding" in response.headers
    chunks = cast(
        "AsyncGenerator[bytes]", response.aiter_bytes() if encoded else response.aiter_raw()
    )
    gather: Callable[[], Awaitable[None]] | None = response.extensions.get("gather")
    try:
        with as_pipe_errors(settings, answering=True):
            async with aclosing(chunks):
                async for chunk in chunks:
                    if batch := reader.feed(chunk):
                        yield batch
                    if reader.finished:
                        await _drain(chunks)
                        return
                    if gather is not None and shows_text(batch):
                        await gather()
        if batch := reader.end():
            yield batch
    except PipeError as error:
        if not reader.finished:
            yield _broken_off(reader, error)


def _broken_off(reader: StreamReader, error: PipeError) -> list[Event]:
    """What had arrived and was not given out yet, and why no more comes, unless that was all."""
    events = reader.end()
    if isinstance(end := events[-1], ResponseFailed):
        end.error = error
    return events


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can serve the next request."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
    except TimeoutError:
        LOG.debug("the body went on after its last event; its connection is closed")
