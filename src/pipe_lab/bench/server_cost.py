"""CPU of the Open WebUI process while it streams, in chats and over its API."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenWebUIClient
from pipe_lab.host.measure import footprint

PROMPT = "go"


@dataclass(frozen=True, slots=True)
class Load:
    """So many streams at once, so often, of a model that answers in so many deltas."""

    name: str
    model: str
    streams: int
    repeats: int
    goal: float
    """The ratio to reach."""
    over_api: bool = False


LOADS = (
    Load("UI, 1 chat of 2000 deltas", "lab/stream-2000", 1, 4, 0.5),
    Load("UI, 20 chats of 200 deltas", "lab/stream-200", 20, 1, 0.8),
    Load("API, 100 streams of 200 deltas", "lab/stream-200", 100, 1, 1.0, over_api=True),
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
                streams.create_task(run(site, model))
    return footprint(site.pid).cpu_seconds - before


async def _chat(site: Site, model: str) -> None:
    turn = await site.page.ask(model, PROMPT)
    if turn.reply.error:
        raise RuntimeError(f"{model}: {turn.reply.error}")


async def _stream(site: Site, model: str) -> None:
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    words = 0
    async for chunk in site.client.stream(body):
        if "error" in chunk:
            raise RuntimeError(f"{model}: {chunk['error']}")
        words += len(chunk.get("choices") or ())
    if not words:
        raise RuntimeError(f"{model}: the answer was empty")
