"""httpx on top of aiohttp: httpx's interface, a third of its CPU per streamed piece."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from typing import cast
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

from .pacing import window_for

_READ_BUFFER_BYTES = 128 * 1024
_PIECE_SENT_BYTES = 256 * 1024
_KEEPALIVE_SECONDS = 60.0
_DNS_CACHE_SECONDS = 300


class UnknownHostError(httpx.ConnectError):
    """The server's name has no address."""


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One connection pool; each request gets a light session of its own over it.

    Build it on a running event loop. Reads `connect`, `read` and `total` seconds
    from the request's `timeout` extension.
    """

    def __init__(self) -> None:
        self._connector = aiohttp.TCPConnector(
            limit=0,  # admission bounds how many requests run
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ttl_dns_cache=_DNS_CACHE_SECONDS,
        )
        self._open: set[_AiohttpStream] = set()
        self._proxies = {
            scheme: address for scheme, address in getproxies().items() if scheme != "no"
        }

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return once the headers are here; the body streams."""
        session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,  # httpx decodes
        )
        try:
            with _as_httpx_errors(request):
                response = await session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    data=_in_pieces(await request.aread()),
                    headers=request.headers.multi_items(),
                    timeout=_read_timeout(request),
                    allow_redirects=False,
                    proxy=self._find_proxy(request.url),
                )
        finally:
            session.detach()
        return httpx.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=_AiohttpStream(response, request, self._open),
            request=request,
            extensions={"gather": lambda: self._gather(response)},
        )

    async def _gather(self, response: aiohttp.ClientResponse) -> None:
        """Leave the connection unread for a moment: the system keeps what comes, at no cost."""
        with _hold_reading(response):
            await asyncio.sleep(window_for(len(self._open)))

    async def aclose(self) -> None:
        """Close every pooled connection."""
        await self._connector.close()

    def _find_proxy(self, url: httpx.URL) -> str | None:
        """The proxy that the environment names for this address."""
        if not self._proxies or proxy_bypass(url.host):
            return None
        return self._proxies.get(url.scheme)


class _AiohttpStream(httpx.AsyncByteStream):
    """The body, in the pieces in which it arrives."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: httpx.Request,
        open_streams: set[_AiohttpStream],
    ) -> None:
        self._response = response
        self._request = request
        self._open = open_streams
        open_streams.add(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _as_httpx_errors(self._request):
            try:
                while not content.at_eof():
                    first, _ = await content.readchunk()
                    if piece := first + _take_buffered(content):
                        yield piece
            except Exception:
                # aiohttp raises before it hands out the bytes that came before the failure.
                if rest := _take_buffered(content):
                    yield rest
                raise

    async def aclose(self) -> None:
        """Give the connection back, or cut it when the body is not read to its end.

        Nothing here waits: when the caller is cancelled there is no second chance to.
        """
        self._open.discard(self)
        self._response.release()


def _take_buffered(content: aiohttp.StreamReader) -> bytes:
    """All that has come, at once: aiohttp wakes its parser after each HTTP chunk it hands out."""
    buffer: deque[bytes] | None = getattr(content, "_buffer", None)
    splits: deque[int] | None = getattr(content, "_http_chunk_splits", None)
    if buffer and splits and not getattr(content, "_buffer_offset", 1):
        joined = b"".join(buffer)
        buffer.clear()
        buffer.append(joined)
        splits.clear()
    return content._read_nowait(-1)  # pyright: ignore[reportPrivateUsage]


@contextmanager
def _hold_reading(response: aiohttp.ClientResponse) -> Generator[None]:
    """Leave the connection unread; one that is read to its end may serve another request by now."""
    connection = response.connection
    transport = connection.transport if connection is not None else None
    if transport is None or not transport.is_reading():
        yield
        return
    transport.pause_reading()
    try:
        yield
    finally:
        transport.resume_reading()


def _in_pieces(body: bytes) -> bytes | AsyncIterator[bytes] | None:
    """A large body piece by piece: whole, asyncio would copy what the socket does not take."""
    if len(body) <= _PIECE_SENT_BYTES:
        return body or None

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), _PIECE_SENT_BYTES):
            yield body[start : start + _PIECE_SENT_BYTES]

    return pieces()


def _read_timeout(request: httpx.Request) -> aiohttp.ClientTimeout:
    seconds = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
    return aiohttp.ClientTimeout(
        total=seconds.get("total"), connect=seconds.get("connect"), sock_read=seconds.get("read")
    )


@contextmanager
def _as_httpx_errors(request: httpx.Request) -> Generator[None]:
    """Speak httpx's exceptions, so that nothing above knows which wire there is."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("connecting took too long", request=request) from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise httpx.ReadTimeout("no data came in time", request=request) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise UnknownHostError(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (ValueError, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol("the address cannot be used", request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.RemoteProtocolError("the connection ended early", request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError("the connection broke", request=request) from error
