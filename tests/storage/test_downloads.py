"""Downloads from servers that the admin has named: what comes, is refused, is shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from open_webui_openrouter_pipe.core.addresses import AddressRules, read_origins
from open_webui_openrouter_pipe.core.attachment_valves import DownloadRules
from open_webui_openrouter_pipe.core.errors import (
    AddressRefusedError,
    DownloadFailedError,
    FileNotStoredError,
    PipeError,
)
from open_webui_openrouter_pipe.storage.downloads import Downloads, look_up
from open_webui_openrouter_pipe.storage.encoded_files import EncodedFiles, LargeFiles
from open_webui_openrouter_pipe.storage.pictures import fetch_picture
from tests.requests.contexts import context
from tests.storage.name_server import NameServer, start_name_server

PNG = b"\x89PNG\r\n\x1a\n" + bytes(1000)
LIMIT = 5000


class WebServer:
    """Answers each request with the next of its replies; the last one repeats."""

    def __init__(self) -> None:
        self.replies: list[bytes] = [answer(PNG)]
        self.requests: list[bytes] = []
        self.asked = asyncio.Event()
        self.left = asyncio.Event()
        self.rules = DownloadRules(AddressRules(), LIMIT, 3, 5.0, 30.0)
        self.port = 0

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        self.asked.set()
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        writer.write(reply.removesuffix(STALL))
        if reply.endswith(STALL):
            await reader.read()
            self.left.set()
        writer.close()

    def url(self, path: str = "/files/My%20picture.exe?a=1#top") -> str:
        return f"http://files.test:{self.port}{path}"


STALL = b"!stall"


def answer(content: bytes = b"", status: str = "200 OK", headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    server = await start_name_server()
    server.names["files.test"] = [["127.0.0.1"]]
    yield server
    server.close()


@pytest.fixture
async def web() -> AsyncIterator[WebServer]:
    web = WebServer()
    async with await asyncio.start_server(web.converse, "127.0.0.1", 0) as server:
        web.port = server.sockets[0].getsockname()[1]
        trusted = AddressRules(read_origins([f"http://files.test:{web.port}"]))
        web.rules = replace(web.rules, addresses=trusted)
        yield web


async def test_a_file_arrives_and_is_asked_for_plainly(web: WebServer, names: NameServer) -> None:
    web.replies = [answer(PNG, headers="Content-Type: text/html\r\nSet-Cookie: a=b\r\n")]
    assert await Downloads(names.lookup).fetch(web.url(), web.rules) == PNG
    [request] = web.requests
    assert request.startswith(b"GET /files/My%20picture.exe?a=1 HTTP/1.1\r\n")
    assert f"Host: files.test:{web.port}".encode() in request
    assert b"Accept-Encoding: identity\r\n" in request


async def test_the_connection_goes_to_the_address_that_was_checked(
    web: WebServer, names: NameServer
) -> None:
    names.names["files.test"] = [["127.0.0.1"], ["127.0.0.2"]]
    visits: list[object] = []
    async with await asyncio.start_server(lambda *_: visits.append(1), "127.0.0.2", web.port):
        await Downloads(names.lookup).fetch(web.url(), web.rules)
    assert names.queries == ["files.test"]
    assert (len(web.requests), visits) == (1, [])


async def test_a_named_server_may_be_asked_by_its_ip_and_only_at_its_port(web: WebServer) -> None:
    origins = read_origins([f"http://127.0.0.1:{web.port}", "not an address", "[::1]"])
    rules = replace(web.rules, addresses=AddressRules(origins))
    downloads = Downloads(look_up)
    await downloads.fetch(f"http://127.0.0.1:{web.port}/a.png", rules)
    for refused in (f"https://127.0.0.1:{web.port}/", "http://127.0.0.1:1/", "https://[::2]/"):
        with pytest.raises(AddressRefusedError):
            await downloads.fetch(refused, rules)
    assert len(web.requests) == 1


@pytest.mark.parametrize("address", ["169.254.169.254", "168.63.129.16", "224.0.0.1", "0.0.0.0"])
async def test_not_even_a_named_server_may_be_a_metadata_service(
    web: WebServer, names: NameServer, address: str
) -> None:
    names.names["files.test"] = [[address]]
    with pytest.raises(AddressRefusedError):
        await Downloads(names.lookup).fetch(web.url(), web.rules)


async def test_proxies_and_passwords_of_the_machine_are_not_used(
    web: WebServer, names: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert await Downloads(names.lookup).fetch(web.url(), web.rules) == PNG


async def test_redirects_are_followed_and_looked_up_again(
    web: WebServer, names: NameServer
) -> None:
    web.replies = [answer(status="302 Found", headers="Location: ../b.png\r\n"), answer(PNG)]
    assert await Downloads(names.lookup).fetch(web.url(), web.rules) == PNG
    assert b"GET /b.png " in web.requests[1]
    assert names.queries == ["files.test"] * 2


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (answer(status="302 Found", headers="Location: /again\r\n"), "redirected too often"),
        (answer(status="404 Not Found"), "status 404"),
        (answer(status="206 Partial Content"), "status 206"),
        (answer(PNG, headers="Content-Encoding: gzip\r\n"), "packed"),
        (answer(PNG, headers="Content-Encoding: identity, br\r\n"), "packed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5001\r\n\r\n" + STALL, "larger than"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"1000\r\n" + bytes(4096) + b"\r\n") * 2
            + STALL,
            "larger than",
        ),
    ],
)
async def test_what_is_refused_is_not_asked_for_again(
    web: WebServer, names: NameServer, reply: bytes, words: str
) -> None:
    web.replies = [reply]
    with pytest.raises(PipeError, match=words):
        await Downloads(names.lookup).fetch(web.url(), web.rules)
    assert len(web.requests) == (6 if "often" in words else 1)


@pytest.mark.parametrize(
    "failure", [answer(status="503 Busy"), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"]
)
async def test_passing_failures_are_tried_again_with_growing_waits(
    web: WebServer, names: NameServer, failure: bytes
) -> None:
    waits: list[float] = []

    async def pause(seconds: float) -> None:
        waits.append(seconds)

    downloads = Downloads(names.lookup, pause)
    web.replies = [failure, failure, answer(PNG)]
    assert await downloads.fetch(web.url(), web.rules) == PNG
    assert waits == [5.0, 10.0]
    web.replies = [failure]
    with pytest.raises(DownloadFailedError):
        await downloads.fetch(web.url(), web.rules)
    assert (waits[2:], len(web.requests)) == ([5.0, 10.0, 20.0], 7)


async def test_a_name_without_an_address_is_a_failure(web: WebServer, names: NameServer) -> None:
    names.names.clear()
    with pytest.raises(DownloadFailedError, match="not found"):
        await Downloads(names.lookup).fetch(web.url(), replace(web.rules, max_retries=0))


async def test_a_slow_server_does_not_hold_a_turn(web: WebServer, names: NameServer) -> None:
    web.replies = [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + STALL]
    with pytest.raises(DownloadFailedError, match="too long"):
        await Downloads(names.lookup).fetch(web.url(), replace(web.rules, time_limit=0.2))
    await asyncio.wait_for(web.left.wait(), 10)


async def test_who_asks_for_the_same_file_shares_one_download(
    web: WebServer, names: NameServer
) -> None:
    downloads = Downloads(names.lookup)
    fetches = [asyncio.create_task(downloads.fetch(web.url(), web.rules)) for _ in range(3)]
    await web.asked.wait()
    fetches[0].cancel()
    files = await asyncio.gather(*fetches, return_exceptions=True)
    assert isinstance(files[0], asyncio.CancelledError)
    assert files[1] is files[2]
    assert len(web.requests) == 1
    await downloads.fetch(web.url(), web.rules)
    assert len(web.requests) == 2


async def test_a_download_nobody_waits_for_ends(web: WebServer, names: NameServer) -> None:
    web.replies = [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + STALL]
    downloads = Downloads(names.lookup)
    fetches = [asyncio.create_task(downloads.fetch(web.url(), web.rules)) for _ in range(2)]
    await web.asked.wait()
    for fetch in fetches:
        fetch.cancel()
    await asyncio.gather(*fetches, return_exceptions=True)
    await asyncio.wait_for(web.left.wait(), 10)


async def test_a_linked_file_is_remembered_for_a_while(web: WebServer, names: NameServer) -> None:
    now = [1000.0]
    files = EncodedFiles(Downloads(names.lookup), lambda: now[0])
    for seconds, asked in ((0, 1), (599, 1), (2, 2), (599, 2)):
        now[0] += seconds
        file = await files.linked(web.url(), web.rules, lambda *_: None, LargeFiles())
        assert (file.media_type, len(web.requests)) == ("image/png", asked)


async def test_a_picture_that_came_as_a_link_is_fetched_as_any_file_of_the_web(
    web: WebServer,
) -> None:
    address = f"http://127.0.0.1:{web.port}"
    valves = {"REMOTE_DOWNLOAD_TRUSTED_ORIGINS": address}
    picture = await fetch_picture(f"{address}/a", context(**valves))
    assert (picture.content, picture.media_type) == (PNG, "image/png")
    web.replies = [answer(b"<svg/>")]
    with pytest.raises(FileNotStoredError):
        await fetch_picture(f"{address}/a", context(**valves))
    with pytest.raises(AddressRefusedError):
        await fetch_picture(f"{address}/a", context())
    assert len(web.requests) == 2


async def test_only_four_requests_at_once_hold_large_files() -> None:
    large = 9 * 1024 * 1024
    rooms = [LargeFiles() for _ in range(5)]
    for room in rooms[:4]:
        await room.enter(large)
        await room.enter(large)  # a second file needs no second place
    await rooms[4].enter(1024)
    waiting = asyncio.create_task(rooms[4].enter(large))
    await asyncio.sleep(0)
    assert not waiting.done()
    rooms[0].leave()
    rooms[0].leave()
    await asyncio.wait_for(waiting, 5)
    for room in rooms:
        room.leave()
