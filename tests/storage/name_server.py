"""A DNS server on loopback whose answers change as often as a test likes, and its resolver."""

from __future__ import annotations

import asyncio
import socket
import struct
from ipaddress import ip_address
from typing import Any

A, AAAA = 1, 28


class NameServer(asyncio.DatagramProtocol):
    """`names` says what each query for a name is answered with; the last answer repeats."""

    def __init__(self) -> None:
        self.names: dict[str, list[list[str]]] = {}
        self.queries: list[str] = []
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = data[12 : data.index(b"\0", 12) + 5]
        name, kind = _name_in(question), struct.unpack("!H", question[-4:-2])[0]
        if kind == A:
            self.queries.append(name)
        turns = self.names.get(name, [[]])
        addresses = turns[min(self.queries.count(name), len(turns)) - 1]
        records = [
            b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(packed)) + packed
            for packed in (ip_address(address).packed for address in addresses)
            if len(packed) == (4 if kind == A else 16)
        ]
        head = data[:2] + struct.pack("!HHHHH", 0x8180, 1, len(records), 0, 0)
        assert self._transport is not None
        self._transport.sendto(head + question + b"".join(records), addr)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    async def lookup(self, host: str) -> list[str]:
        """Ask over the wire: once for IPv4, then for IPv6."""
        found = [each for kind in (A, AAAA) for each in await self._ask(host, kind)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return found

    async def _ask(self, host: str, kind: int) -> list[str]:
        loop = asyncio.get_running_loop()
        labels = b"".join(bytes([len(part)]) + part.encode() for part in host.split("."))
        query = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + labels
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.setblocking(False)
            await loop.sock_connect(asked, ("127.0.0.1", self.port))
            await loop.sock_sendall(asked, query + struct.pack("!BHH", 0, kind, 1))
            answer = await asyncio.wait_for(loop.sock_recv(asked, 4096), 10)
        place = len(query) + 5
        addresses: list[str] = []
        for _ in range(struct.unpack("!H", answer[6:8])[0]):
            length = struct.unpack("!H", answer[place + 10 : place + 12])[0]
            addresses.append(str(ip_address(answer[place + 12 : place + 12 + length])))
            place += 12 + length
        return addresses


def _name_in(question: bytes) -> str:
    labels: list[str] = []
    place = 0
    while length := question[place]:
        labels.append(question[place + 1 : place + 1 + length].decode())
        place += 1 + length
    return ".".join(labels)


async def start_name_server() -> NameServer:
    loop = asyncio.get_running_loop()
    _, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    return server
