"""Addresses that lead into the server's own network: none of them makes a connection there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from open_webui_openrouter_pipe.core.addresses import AddressRules
from open_webui_openrouter_pipe.core.attachment_valves import DownloadRules
from open_webui_openrouter_pipe.core.errors import PipeError
from open_webui_openrouter_pipe.storage.downloads import Downloads
from tests.storage.name_server import NameServer, start_name_server

# PORT stands for the listener's port, which these tests allow: the address alone must be refused.
IPV4 = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.100.100.200",
    "100.127.255.254", "127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "168.63.129.16",
    "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1", "172.31.255.254", "192.0.0.8",
    "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.254", "198.18.0.1",
    "198.19.255.254", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1",
    "255.255.255.255",
]  # fmt: skip
IPV6 = [
    "::", "::1", "0:0:0:0:0:0:0:1", "0000:0000:0000:0000:0000:0000:0000:0001", "::0001",
    "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:7f00:1", "0:0:0:0:0:ffff:7f00:0001",
    "::ffff:0:127.0.0.1", "::ffff:8.8.8.8", "::FFFF:A9FE:A9FE", "64:ff9b::127.0.0.1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1", "64:ff9b:1:fffe::10.0.0.1",
    "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::", "2002:7f00:0001::1", "2002:a9fe:a9fe::", "2002:808:808::1", "3fff::1",
    "2600::5efe:7f00:1", "2600::200:5efe:10.0.0.1", "5f00::1", "4000::1", "fc00::1", "fd00::1",
    "fd00:ec2::254", "fd20:ce::254", "fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1", "ff0e::1",
    "2620:4f:8000::1",
]  # fmt: skip
SPELLINGS = [
    # numbers that some readers take for an address
    "https://127.1:PORT/", "https://127.0.1:PORT/", "https://0:PORT/", "https://127:PORT/",
    "https://2130706433:PORT/", "https://0x7f000001:PORT/", "https://017700000001:PORT/",
    "https://0177.0.0.1:PORT/", "https://0x7f.0.0.1:PORT/", "https://0x7F.0X0.0x0.0x1:PORT/",
    "https://127.0.0.01:PORT/", "https://0127.0.0.1:PORT/", "https://127.0.0.0x1:PORT/",
    "https://127.000.000.001:PORT/", "https://127.0.0.1.:PORT/", "https://127.0.0.1..:PORT/",
    "https://127.0.0.256:PORT/", "https://383.0.0.1:PORT/", "https://4294967297:PORT/",
    "https://[::1%25lo]:PORT/", "https://[fe80::1%25eth0]:PORT/", "https://[::1%lo]:PORT/",
    "https://[127.0.0.1]:PORT/", "https://[v1.127.0.0.1]:PORT/", "https://::1:PORT/",
    # other letters and digits
    "https://①②⑦.⓪.⓪.①:PORT/", "https://127。0。0。1:PORT/", "https://127．0．0．1:PORT/",
    "https://１２７.0.0.1:PORT/", "https://ⓛocalhost:PORT/", "https://localhoſt:PORT/",
    "https://٠.0.0.0:PORT/", "https://loc\u00adalhost:PORT/", "https://127.0.0.1\u200b:PORT/",
    "https://xn--:PORT/",
    # escapes and white space
    "https://%31%32%37.0.0.1:PORT/", "https://127.0.0.1%3APORT/", "https://%6c%6f%63alhost:PORT/",
    "https://127.0.0.1%00.files.test:PORT/", "https://127.0.0.1%2f@files.test:PORT/",
    " https://127.0.0.1:PORT/", "https://127.0.0.1 :PORT/", "https://127.0.0.1\t:PORT/",
    "https://127.0.0.1:PORT\n/", "https://127.0.0.1\r\nHost: files.test/", "ht\ttps://127.0.0.1/",
    "https://files.test\n@127.0.0.1:PORT/", "https://127.0.0.1\x00:PORT/",
    # who is the user, and which the host
    "https://files.test@127.0.0.1:PORT/", "https://files.test:443@127.0.0.1:PORT/",
    "https://user:word@127.0.0.1:PORT/", "https://@127.0.0.1:PORT/", "https://a@b@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT@localhost:PORT/", "https://127.0.0.1:PORT\\@files.test/",
    "https://127.0.0.1:PORT#@files.test/", "https://127.0.0.1:PORT?@files.test/",
    "https://127.0.0.1\\.files.test:PORT/", "https:\\\\127.0.0.1:PORT\\", "https:/127.0.0.1:PORT/",
    "https:127.0.0.1:PORT/", "https:///127.0.0.1:PORT/", "https:////127.0.0.1:PORT/",
    "//127.0.0.1:PORT/", "127.0.0.1:PORT/", "https://", "https://:PORT/", "",
    "https://127.0.0.1:PORT:PORT/", "https://127.0.0.1;files.test:PORT/",
    "https://127.0.0.1,files.test:PORT/", "https://127.0.0.1&files.test:PORT/",
    "https://[::1]files.test:PORT/", "https://[::1:PORT/", "https://::1]:PORT/",
    # other protocols and ports
    "http://127.0.0.1:PORT/", "http://[::1]:PORT/", "HTTP://127.0.0.1:PORT/", "ftp://127.0.0.1/",
    "http://inside.test:PORT/", "file:///etc/passwd", "file://127.0.0.1/etc/passwd",
    "gopher://127.0.0.1:PORT/_", "dict://127.0.0.1:PORT/", "ldap://127.0.0.1:PORT/",
    "unix:///var/run/docker.sock", "ws://127.0.0.1:PORT/", "jar:https://127.0.0.1:PORT/!/",
    "data:text/html,x", "javascript:alert(1)", "https+unix://127.0.0.1:PORT/",
    "view-source:https://127.0.0.1:PORT/", "https://127.0.0.1:22/", "https://127.0.0.1:0/",
    "https://127.0.0.1:65536/", "https://127.0.0.1:-1/", "https://127.0.0.1:+443/",
    "https://127.0.0.1:٤٤٣/", "https://127.0.0.1:4 43/", "https://127.0.0.1:0x1bb/",
    # names of the machine itself
    "https://localhost:PORT/", "https://LOCALHOST:PORT/", "https://localhost.:PORT/",
    "https://ip6-localhost:PORT/", "https://intranet:PORT/", "https://" + "a." * 2500 + "test/",
]  # fmt: skip
NAMES = {
    "inside.test": [["127.0.0.1"]],
    "inside6.test": [["::1"]],
    "INSIDE.test": [["127.0.0.1"]],
    "localhost.test": [["127.0.0.1", "::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "nat64.test": [["64:ff9b::7f00:1"]],
    "mixed.test": [["2600::", "127.0.0.1"]],
    "mixed6.test": [["93.184.215.14", "::1"]],
    "127.0.0.1.files.test": [["127.0.0.1"]],
    "127-0-0-1.files.test": [["127.0.0.1"]],
    "metadata.google.internal": [["169.254.169.254"]],
    "private.test": [["10.0.0.1"]],
    "shared.test": [["100.64.0.1"]],
    "nowhere.test": [["0.0.0.0"]],
    "multicast.test": [["224.0.0.1"]],
    "own_server.test": [["127.0.0.1"]],
    # checked once, used later: the second answer comes with the second try
    "rebinding.test": [["2600::"], ["127.0.0.1"]],
}
REDIRECTS = [
    "https://127.0.0.1:PORT/", "https://[::1]:PORT/", "https://localhost:PORT/", "https://0:PORT/",
    "https://inside.test:PORT/", "//inside.test:PORT/", "//127.0.0.1:PORT/", "\\\\127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/", "https://rebinding.test:PORT/", "https://u@127.0.0.1:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/", "https://mixed.test:PORT/", "file:///etc/passwd",
    "https://2130706433:PORT/", "ht\ttps://127.0.0.1:PORT/", "https://[64:ff9b::7f00:1]:PORT/",
    "http://hop.test:PORT/", "gopher://127.0.0.1:PORT/",
]  # fmt: skip
HOSTILE = [
    *(f"https://{address}:PORT/" for address in IPV4),
    *(f"https://[{address}]:PORT/" for address in IPV6),
    *SPELLINGS,
    *(f"https://{name}:PORT/" for name in NAMES),
]


@dataclass(slots=True)
class Forbidden:
    """A port of this machine where nobody may come; and a server that sends people there."""

    port: int = 0
    hop: int = 0
    visits: list[str] = field(default_factory=list[str])
    location: str = ""
    names: NameServer = field(default_factory=NameServer)

    async def visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits.append(str(writer.get_extra_info("sockname")))
        writer.close()

    async def redirect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: {self.location}\r\n\r\n"
        writer.write(head.encode())
        await writer.drain()
        writer.close()

    async def try_to_fetch(self, url: str) -> PipeError:
        origins = frozenset({f"http://hop.test:{self.hop}"})
        rules = DownloadRules(AddressRules(origins, frozenset({443, self.port})), 10**6, 1, 0.0, 5)
        with pytest.raises(PipeError) as refused:
            await Downloads(self.names.lookup).fetch(url.replace("PORT", str(self.port)), rules)
        return refused.value


@pytest.fixture
async def forbidden() -> AsyncIterator[Forbidden]:
    inside = Forbidden(names=await start_name_server())
    inside.names.names = {name.lower(): answers for name, answers in NAMES.items()}
    inside.names.names["hop.test"] = [["127.0.0.1"]]
    one = await asyncio.start_server(inside.visit, "0.0.0.0", 0)
    inside.port = one.sockets[0].getsockname()[1]
    other = await asyncio.start_server(inside.visit, "::1", inside.port)
    hop = await asyncio.start_server(inside.redirect, "127.0.0.1", 0)
    inside.hop = hop.sockets[0].getsockname()[1]
    async with one, other, hop:
        yield inside
    inside.names.close()


@pytest.mark.parametrize("url", HOSTILE)
async def test_no_spelling_of_an_inner_address_makes_a_connection(
    forbidden: Forbidden, url: str
) -> None:
    await forbidden.try_to_fetch(url)
    assert forbidden.visits == []


@pytest.mark.parametrize("location", REDIRECTS)
async def test_no_redirect_leads_to_an_inner_address(forbidden: Forbidden, location: str) -> None:
    forbidden.location = location.replace("PORT", str(forbidden.port))
    await forbidden.try_to_fetch(f"http://hop.test:{forbidden.hop}/file")
    assert forbidden.visits == []
    assert forbidden.names.queries.count("hop.test") >= 1


async def test_the_refusal_does_not_say_where_a_name_leads(forbidden: Forbidden) -> None:
    refusals = [
        await forbidden.try_to_fetch(f"https://{name}:PORT/")
        for name in ("inside.test", "private.test")
    ]
    words = [refusal.cause.replace("inside", "private") for refusal in refusals]
    assert words[0] == words[1] and "127.0.0.1" not in words[0]


def test_the_table_is_long_enough() -> None:
    assert len(set(HOSTILE)) + len(REDIRECTS) >= 120
