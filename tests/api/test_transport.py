"""httpx on aiohttp, against real sockets: what goes out, what comes back, what breaks and how."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.api.transport import UnknownHostError

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: a=b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n"
LAST_CHUNK = b"3\r\ntwo\r\n0\r\n\r\n"

Serve = Callable[..., Awaitable[Any]]


async def test_request_and_answer_arrive_as_they_are(
    client: httpx.AsyncClient, serve: Serve
) -> None:
    server = await serve(b"HTTP/1.1 418 No\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 3\r\n\r\nnow")
    response = await client.post(f"{server.url}/a%2Fb?q=%20", content=b"{}", headers={"X-B": "3"})
    assert (response.status_code, response.content) == (418, b"now")
    assert response.headers.get_list("x-a") == ["1", "2"]
    [request] = server.requests
    assert request.startswith(b"POST /a%2Fb?q=%20 HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n{}")
    for header in (b"X-B: 3", b"HTTP-Referer: https://openwebui.com/", b"Content-Length: 2"):
        assert header.lower() in request.lower()


async def test_a_large_body_arrives_whole_and_with_its_length(
    client: httpx.AsyncClient, serve: Serve
) -> None:
    server = await serve(OK)
    body = bytes(range(256)) * 5000
    assert (await client.post(server.url, content=body)).text == "hello"
    [request] = server.requests
    assert request.endswith(b"\r\n\r\n" + body)
    assert b"chunked" not in request[:500]


async def test_a_finished_connection_serves_the_next_request_without_cookies(
    client: httpx.AsyncClient, serve: Serve
) -> None:
    server = await serve(OK, CHUNKED + LAST_CHUNK, OK)
    assert [(await client.get(server.url)).text for _ in range(3)] == ["hello", "onetwo", "hello"]
    assert len(server.connections) == 1
    assert not any(b"cookie:" in request.lower() for request in server.requests)


async def test_closing_early_cuts_the_connection(client: httpx.AsyncClient, serve: Serve) -> None:
    server = await serve(CHUNKED)
    async with client.stream("GET", server.url) as response:
        assert await anext(response.aiter_raw()) == b"one"
    await asyncio.wait_for(server.hung_up.wait(), 10)


async def test_a_cancelled_request_leaves_nothing(client: httpx.AsyncClient, serve: Serve) -> None:
    server = await serve(b"")
    request = asyncio.create_task(client.get(server.url))
    await server.asked.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    await asyncio.wait_for(server.hung_up.wait(), 10)


async def test_closing_the_client_closes_its_idle_connections(serve: Serve) -> None:
    server = await serve(OK)
    async with open_client() as client:
        await client.get(server.url)
        assert not server.hung_up.is_set()
    await asyncio.wait_for(server.hung_up.wait(), 10)


async def test_redirects_are_not_followed(client: httpx.AsyncClient, serve: Serve) -> None:
    server = await serve(b"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")
    response = await client.get(server.url)
    assert (response.status_code, response.headers["location"]) == (302, "/b")
    assert len(server.requests) == 1


@pytest.mark.parametrize("limit", ["read", "total"])
@pytest.mark.parametrize("reply", [b"", CHUNKED], ids=["before the head", "in the body"])
async def test_silence_ends_in_a_timeout(
    client: httpx.AsyncClient, serve: Serve, reply: bytes, limit: str
) -> None:
    server = await serve(reply)
    with pytest.raises(httpx.ReadTimeout):
        await client.get(server.url, extensions={"timeout": {limit: 0.05}})
    await asyncio.wait_for(server.hung_up.wait(), 10)


async def test_connecting_ends_in_a_timeout(client: httpx.AsyncClient) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with (
            socket.create_connection(address),  # takes the only waiting place
            pytest.raises(httpx.ConnectTimeout),
        ):
            limits = {"timeout": {"connect": 0.05}}
            await client.get(f"http://127.0.0.1:{address[1]}", extensions=limits)


async def test_a_name_without_an_address_is_told_apart(client: httpx.AsyncClient) -> None:
    with pytest.raises(UnknownHostError):
        await client.get("http://nowhere.invalid/")


async def test_a_refused_connection_is_a_connect_error(client: httpx.AsyncClient) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            await client.get(f"http://127.0.0.1:{closed.getsockname()[1]}")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", httpx.RemoteProtocolError),
        (CHUNKED, httpx.RemoteProtocolError),
        (OK[:-2], httpx.RemoteProtocolError),
        (b"SSH-2.0-OpenSSH\r\n\r\n", httpx.ReadError),
    ],
    ids=["at once", "between chunks", "short body", "no HTTP"],
)
async def test_a_server_that_hangs_up_is_a_transport_error(
    client: httpx.AsyncClient, serve: Serve, reply: bytes, error: type[Exception]
) -> None:
    server = await serve(reply, then_close=True)
    with pytest.raises(error):
        await client.get(server.url)


@pytest.mark.parametrize(
    "address",
    ["openrouter.ai/api", "ftp://a/b", "http:///b", "http://a:70000/", "http://a..b/", ""],
)
async def test_an_address_that_cannot_be_used_is_named(
    client: httpx.AsyncClient, address: str
) -> None:
    with pytest.raises(httpx.UnsupportedProtocol):
        await client.get(address)


async def test_the_proxy_of_the_environment_is_used_except_where_it_is_bypassed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, direct = await serve(OK), await serve(OK)
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//user:word@"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with open_client() as client:
        await client.get("http://openrouter.example/x")
        await client.get(direct.url)
    [request] = proxy.requests
    assert request.startswith(b"GET http://openrouter.example/x HTTP/1.1\r\n")
    assert b"\r\nproxy-authorization: basic dxnlcjp3b3jk\r\n" in request.lower()
    [request] = direct.requests
    assert request.startswith(b"GET / HTTP/1.1\r\n")
    assert b"proxy-authorization" not in request.lower()


async def test_a_proxy_that_cannot_be_used_is_a_transport_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "localhost:1")
    async with open_client() as client:
        with pytest.raises(httpx.TransportError):
            await client.get("http://openrouter.example/x")
