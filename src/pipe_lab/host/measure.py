"""What a running server costs and holds: CPU, memory, threads, sockets, tasks."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .client import OpenWebUIClient

PROBE_ID = "lab_probe"
PROBE_MODEL = f"{PROBE_ID}.probe"

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What the kernel knows about a process."""

    cpu_seconds: float
    resident_bytes: int
    threads: int
    sockets: int


@dataclass(frozen=True, slots=True)
class Census:
    """What the process knows about itself."""

    # Running asyncio tasks by the name of their coroutine.
    tasks: dict[str, int]
    threads: list[str]
    # How many objects the garbage collector tracks.
    objects: int


def footprint(pid: int) -> Footprint:
    """Read /proc: Linux only, and costs the measured process nothing."""
    folder = Path("/proc") / str(pid)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    resident_pages = int((folder / "statm").read_text().split()[1])
    return Footprint(
        cpu_seconds=(user + system) / _TICKS,
        resident_bytes=resident_pages * os.sysconf("SC_PAGE_SIZE"),
        threads=int(fields[17]),
        sockets=sum(bool(_inode(entry)) for entry in (folder / "fd").iterdir()),
    )


async def install_probe(client: OpenWebUIClient) -> None:
    """Put the probe's model into the server."""
    folder = resources.files("pipe_lab.host")
    source = folder.joinpath("probe_function.py").read_text(encoding="utf-8")
    await client.install_function(PROBE_ID, "Lab probe", source)
    await client.models()


async def census(client: OpenWebUIClient) -> Census:
    """Ask the probe."""
    body = {"model": PROBE_MODEL, "messages": [{"role": "user", "content": "count"}]}
    answer = await client.complete(body)
    return Census(**json.loads(answer["choices"][0]["message"]["content"]))


def connections_to(pid: int, port: int) -> int:
    """How many TCP connections the process holds to one port of this machine."""
    folder = Path("/proc") / str(pid)
    held = {_inode(entry) for entry in (folder / "fd").iterdir()}
    rows = (line.split() for line in (folder / "net" / "tcp").read_text().splitlines()[1:])
    return sum(row[2].endswith(f":{port:04X}") and row[9] in held for row in rows)


def _inode(entry: Path) -> str:
    """The inode of an open socket, or nothing."""
    try:
        target = os.readlink(entry)
    except FileNotFoundError:
        # Closed between the listing and the look.
        return ""
    return target[len("socket:[") : -1] if target.startswith("socket:") else ""
