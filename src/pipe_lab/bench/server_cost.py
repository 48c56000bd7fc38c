"""CPU of the Open WebUI process while it streams, in chats and over its API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenWebUIClient
from pipe_lab.host.measure import footprint


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, so often, each of so many deltas."""

    name: str
    deltas: int
    streams: int
    repeats: int
    goal: float
    """The ratio of the pipe to the own connection that is to be reached."""
    over_api: bool = False
    pause_ms: int = 0

    @property
    def prompt(self) -> str:
        """What makes the simulator answer so."""
        return f"#stream deltas={self.deltas} pause_ms={self.pause_ms}"


LOADS = (
    Load("UI, 1 chat of 2000 deltas", 2000, 1, 4, 0.22),
    Load("UI, 20 chats of 200 deltas", 200, 20, 1, 0.6),
    Load("UI, 20 chats of 300 deltas, 10 ms apart", 300, 20, 1, 0.5, pause_ms=10),
    Load("API, 1 stream of 2000 deltas", 2000, 1, 16, 0.45, over_api=True),
    Load("API, 100 streams of 200 deltas", 200, 100, 1, 0.9, over_api=True),
)


@dataclass(frozen=True, slots=True)
class Site:
    """The running server, and the page and client that put load on it."""

    pid: int
    client: OpenWebUIClient
    page: ChatPage


async def cpu_seconds(site: Site, load: Load, model: str) -> float:
    """What the server spends on this load."""
    before = footprint(site.pid).cpu_seconds
    for _ in range(load.repeats):
        run = _stream if load.over_api else _chat
        async with asyncio.TaskGroup() as streams:
            for _ in range(load.streams):
                streams.create_task(run(site, load.prompt, model))
    return footprint(site.pid).cpu_seconds - before


async def _chat(site: Site, prompt: str, model: str) -> None:
    turn = await site.page.ask(model, prompt)
    if turn.reply.error:
        raise RuntimeError(f"{model}: {turn.reply.error}")


async def _stream(site: Site, prompt: str, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    words = 0
    async for chunk in site.client.stream(body):
        if "error" in chunk:
            raise RuntimeError(f"{model}: {chunk['error']}")
        words += len(chunk.get("choices") or ())
    if not words:
        raise RuntimeError(f"{model}: the answer was empty")
