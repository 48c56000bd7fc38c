"""Text is followed by a pause, in which the connection is left unread."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager

import httpx
import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
)
from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.api.pacing import WINDOW_SECONDS, Pacer


@pytest.mark.parametrize(
    ("batch", "pauses"),
    [
        ([TextDelta(0, "Hi")], [WINDOW_SECONDS]),
        ([ReasoningDelta(0, 0, "hm", is_summary=True)], [WINDOW_SECONDS]),
        ([ResponseStarted("g", "m"), ItemStarted(0, MessageItem("m"))], []),
        ([ResponseFinished("g", "m", None)], []),
        ([], []),
    ],
)
async def test_only_text_is_followed_by_a_pause(batch: list[Event], pauses: list[float]) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await Pacer(sleep=sleep, clock=lambda: sum(slept)).pause(batch)
    assert slept == pauses


async def test_a_server_that_wakes_late_sends_fewer_pieces_until_it_keeps_up() -> None:
    lateness = [0.01, 5.0, 0.0, 0.0]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def clock() -> float:
        return sum(slept) + sum(lateness[: len(slept)])

    pacer = Pacer(sleep=sleep, clock=clock)
    for _ in lateness:
        await pacer.pause([TextDelta(0, "Hi")])
    extensions = [seconds - WINDOW_SECONDS for seconds in slept]
    assert extensions == pytest.approx([0.0, 0.04, 0.3, 0.0], abs=1e-9)


async def test_the_connection_is_held_while_the_window_passes() -> None:
    held: list[str] = []

    @contextmanager
    def hold() -> Generator[None]:
        held.append("held")
        yield
        held.append("let go")

    async def sleep(seconds: float) -> None:
        held.append("slept")

    await Pacer(hold, sleep).pause([TextDelta(0, "Hi")])
    assert held == ["held", "slept", "let go"]


async def test_a_held_connection_gathers_what_comes_into_one_read() -> None:
    """A real connection: what is written meanwhile is not read, and comes whole afterwards."""
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
            with response.extensions["hold_reading"]():
                more.set()
                await written.wait()
            assert b"".join([piece async for piece in pieces]) == b" second third"


async def test_a_connection_that_has_been_read_to_its_end_cannot_be_held() -> None:
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
        with response.extensions["hold_reading"]():
            assert response.status_code == httpx.codes.OK
