"""Puts a reply on the wire: whole or streamed, cut, delayed, stalled, truncated, aborted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator

from aiohttp import web

from .replies import Reply


async def deliver(reply: Reply, request: web.Request, release: asyncio.Event) -> web.StreamResponse:
    """Send the reply; returns when its last byte is written."""
    if reply.delay:
        await asyncio.sleep(reply.delay)
    if reply.events is None:
        return _whole_body(reply)
    response = web.StreamResponse(
        status=reply.status,
        headers={
            "Content-Type": "text/event-stream",
            "Cache-Control": "no-cache",
            **reply.headers,
        },
    )
    response.enable_chunked_encoding()
    await response.prepare(request)
    await _write_stream(reply, response, request, release)
    return response


def _whole_body(reply: Reply) -> web.Response:
    return web.Response(
        status=reply.status,
        body=reply.encoded_body(),
        headers={"Content-Type": "application/json", **reply.headers},
    )


async def _write_stream(
    reply: Reply, response: web.StreamResponse, request: web.Request, release: asyncio.Event
) -> None:
    stops = (reply.end_after, reply.disconnect_after)
    limit = min((stop for stop in stops if stop is not None), default=None)
    events = itertools.islice(reply.encoded_events(), limit)
    if reply.stall_after is not None:
        await _write_all(itertools.islice(events, reply.stall_after), reply, response)
        await release.wait()
    await _write_all(events, reply, response)
    if reply.disconnect_after is not None and request.transport is not None:
        await _abort(request.transport)
        return
    await response.write_eof()


async def _abort(transport: asyncio.BaseTransport) -> None:
    # The bytes written so far must leave before the connection breaks; no event tells when.
    if isinstance(transport, asyncio.Transport):
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        transport.abort()


async def _write_all(events: Iterable[bytes], reply: Reply, response: web.StreamResponse) -> None:
    pieces = _cut(events, reply.chunk_size) if reply.chunk_size else events
    for piece in pieces:
        await response.write(piece)
        # Without a pause too, so that each piece leaves on its own and streams take turns.
        await asyncio.sleep(reply.pause)


def _cut(events: Iterable[bytes], size: int) -> Iterator[bytes]:
    whole = b"".join(events)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]
