"""Files of the web, fetched without a way into the server's own network.

The name is looked up once, every address it leads to is checked, and the connection goes to those
addresses and no others: an answer that changes between check and use changes nothing. Redirects
take the same way again, as often as they come.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from ..core.addresses import WebAddress, may_connect, not_public, read_address
from ..core.attachment_valves import DownloadRules
from ..core.errors import DownloadFailedError

Lookup = Callable[[str], Awaitable[list[str]]]
"""Gives the IP addresses of a host; raises `OSError` when there are none."""
Pause = Callable[[float], Awaitable[object]]

_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 20.0
_PIECE_BYTES = 256 * 1024
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # what is packed could grow beyond every limit
    "User-Agent": "Mozilla/5.0 (compatible; Open WebUI)",
}


async def look_up(host: str) -> list[str]:
    """The IP addresses of a host, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Downloads:
    """Fetches files; whoever asks for one that is on its way waits for it with the others."""

    def __init__(self, lookup: Lookup = look_up, pause: Pause = asyncio.sleep) -> None:
        self._lookup = lookup
        self._pause = pause
        self._running: dict[tuple[str, DownloadRules], _SharedDownload] = {}

    async def fetch(self, url: str, rules: DownloadRules) -> bytes:
        """Fetch a file; raises `AddressRefusedError` or `DownloadFailedError`.

        Cancelling one who waits ends the download only if nobody else waits for it.
        """
        with self.begun(url, rules) as task:
            return await asyncio.shield(task)

    @contextmanager
    def begun(self, url: str, rules: DownloadRules) -> Generator[asyncio.Task[bytes]]:
        """Have a download on its way, which whoever fetches the file inside waits for."""
        key = (url, rules)
        shared = self._running.get(key)
        if shared is None:
            task = asyncio.create_task(self._fetch(url, rules))
            task.add_done_callback(_look_at_failure)
            shared = self._running[key] = _SharedDownload(task)
        shared.waiting += 1
        try:
            yield shared.task
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                del self._running[key]
                shared.task.cancel()

    async def _fetch(self, url: str, rules: DownloadRules) -> bytes:
        try:
            async with asyncio.timeout(rules.time_limit):
                return await self._keep_trying(url, rules)
        except TimeoutError:
            raise DownloadFailedError("downloading it took too long") from None

    async def _keep_trying(self, url: str, rules: DownloadRules) -> bytes:
        for retry in range(rules.max_retries):
            with suppress(_PassingError):
                return await self._follow(url, rules)
            await self._pause(rules.first_wait * 2**retry)
        return await self._follow(url, rules)

    async def _follow(self, url: str, rules: DownloadRules) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            address = read_address(url, rules.addresses)
            pinned = _PinnedResolver(await self._checked_addresses(address, rules))
            answer = await _ask_server(address, pinned, rules.max_bytes)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(address.url, answer)
        raise DownloadFailedError("it was redirected too often")

    async def _checked_addresses(self, address: WebAddress, rules: DownloadRules) -> list[str]:
        found = [address.host]
        if not address.is_literal:
            try:
                found = await self._lookup(address.host)
            except (OSError, UnicodeError) as error:
                raise _PassingError(f"{address.host} was not found") from error
        is_trusted = address.origin in rules.addresses.trusted_origins
        if not found or not all(may_connect(ip, is_trusted=is_trusted) for ip in found):
            raise not_public(address)
        return found


@dataclass(slots=True)
class _SharedDownload:
    task: asyncio.Task[bytes]
    waiting: int = 0


def _look_at_failure(task: asyncio.Task[bytes]) -> None:
    """It may be that nobody waits any longer; asyncio complains of what nobody has looked at."""
    if not task.cancelled():
        task.exception()


class _PassingError(DownloadFailedError):
    """Another try may succeed."""


class _PinnedResolver(AbstractResolver):
    """Knows the checked addresses, whatever it is asked."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def _ask_server(address: WebAddress, pinned: _PinnedResolver, limit: int) -> bytes | str:
    """The file, or where the server says it is."""
    timeout = aiohttp.ClientTimeout(connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    connector = aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,  # a proxy would look the name up again
                timeout=timeout,
            ) as session,
            session.get(
                URL(address.url, encoded=True), allow_redirects=False, headers=_HEADERS
            ) as response,
        ):
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            _refuse_answer(response, limit)
            return await _read(response, limit)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _PassingError(f"{address.host} did not send it") from error
    except ValueError as error:
        raise DownloadFailedError(f"{address.host} did not answer as a web server does") from error


def _refuse_answer(response: aiohttp.ClientResponse, limit: int) -> None:
    host = response.url.host
    if response.status in _WORTH_ANOTHER_TRY:
        raise _PassingError(f"{host} answered with status {response.status}")
    if response.status != 200:
        raise DownloadFailedError(f"{host} answered with status {response.status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise DownloadFailedError(f"{host} sends it packed")
    if (response.content_length or 0) > limit:
        raise _too_large(limit)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    left = limit
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        left -= len(piece)
        if left < 0:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> DownloadFailedError:
    return DownloadFailedError(f"it is larger than {limit // 1024**2} MB")
