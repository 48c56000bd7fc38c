"""Text is followed by a pause, in which the connection is left unread."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from open_webui_openrouter_pipe.api.gateway.responses import stream_responses
from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.api.pacing import window_for


@pytest.mark.parametrize(
    ("streams", "seconds"), [(0, 0.03), (1, 0.03), (3, 0.03), (20, 0.16), (60, 0.3), (1_000, 0.3)]
)
def test_the_more_answers_are_written_the_longer_text_is_gathered(
    streams: int, seconds: float
) -> None:
    assert window_for(streams) == pytest.approx(seconds)


class Wire(httpx.AsyncBaseTransport, httpx.AsyncByteStream):
    """A connection that writes down when it is read and when it is left alone."""

    def __init__(self, *reads: list[dict[str, Any]]) -> None:
        self.reads = reads
        self.story: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=self, extensions={"gather": self.gather})

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for events in self.reads:
            self.story.append("read")
            yield b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)

    async def gather(self) -> None:
        self.story.append("gather")


async def test_only_text_is_followed_by_a_pause(settings_for: Callable[..., Any]) -> None:
    text = {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"}
    thought = {"type": "response.reasoning_text.delta", "output_index": 1, "delta": "Hm"}
    end = {"type": "response.completed", "response": {"id": "g", "model": "m", "output": []}}
    wire = Wire([{"type": "response.created"}], [text], [thought, text], [end])
    async with open_client(wire) as client:
        body = {"model": "a/b", "input": []}
        batches = stream_responses(client, settings_for("https://openrouter.example/v1"), body)  # type: ignore[arg-type]
        assert [batch async for batch in batches]
    assert wire.story == ["read", "read", "gather", "read", "gather", "read"]


async def test_what_comes_while_text_is_gathered_is_read_afterwards() -> None:
    written, more = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfirst")
        await more.wait()
        for piece in (b" second", b" third"):
            writer.write(piece)
            await writer.drain()
        written.set()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    async with server, open_client() as client, asyncio.timeout(5):
        url = f"http://127.0.0.1:{address[1]}/"
        async with client.stream("GET", url) as response:
            pieces = response.aiter_raw()
            assert await anext(pieces) == b"first"
            gathering = asyncio.create_task(response.extensions["gather"]())
            more.set()
            await written.wait()
            await gathering
            assert b"".join([piece async for piece in pieces]) == b" second third"


async def test_a_connection_that_has_been_read_to_its_end_is_left_alone() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHi")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, open_client() as client, asyncio.timeout(5):
        request = client.build_request("GET", url)
        response = await client.send(request, stream=True)
        assert await response.aread() == b"Hi"
        await response.extensions["gather"]()
