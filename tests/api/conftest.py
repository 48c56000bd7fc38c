"""The other side of the wire: servers on loopback that say exactly what a test wants."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

# The package is imported in the fixtures: pytest may read this file before it knows the target.


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy and no key of this machine."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "openrouter_api_key"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def settings_for() -> Callable[..., Any]:
    from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot

    def build(base_url: str, **valves: Any) -> Any:
        return take_snapshot(SystemValves(**{"API_KEY": "sk-test", "BASE_URL": base_url, **valves}))

    return build


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    from open_webui_openrouter_pipe.api.http import open_client

    async with open_client() as running:
        yield running
    gc.collect()  # what was left open must show


class Loopback:
    """Answers each request on a connection with the next of its replies; the last one repeats."""

    def __init__(self, replies: tuple[bytes, ...], tail: bytes, then_close: bool) -> None:
        self._replies = replies
        self._tail = tail
        self._then_close = then_close
        self.url = ""
        self.requests: list[bytes] = []
        self.connections: list[asyncio.StreamWriter] = []
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        """Lets the tail of a reply go."""
        self.hung_up = asyncio.Event()
        """A client has left."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                _, _, rest = head.lower().partition(b"content-length: ")
                body = await reader.readexactly(int(rest.split(b"\r\n")[0])) if rest else b""
                self.requests.append(head + body)
                self.asked.set()
                writer.write(self._replies[min(len(self.requests), len(self._replies)) - 1])
                if self._tail:
                    await self.release.wait()
                    writer.write(self._tail)
                await writer.drain()
                if self._then_close:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            self.hung_up.set()
        finally:
            writer.close()


Serve = Callable[..., Awaitable[Loopback]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    running: list[tuple[asyncio.Server, Loopback]] = []

    async def start(*replies: bytes, tail: bytes = b"", then_close: bool = False) -> Loopback:
        loopback = Loopback(replies, tail, then_close)
        server = await asyncio.start_server(loopback.converse, "127.0.0.1", 0)
        running.append((server, loopback))
        loopback.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return loopback

    yield start
    for server, loopback in running:
        server.close()
        loopback.release.set()
        for writer in loopback.connections:
            writer.close()
        await asyncio.gather(
            *(writer.wait_closed() for writer in loopback.connections), return_exceptions=True
        )
        await server.wait_closed()
