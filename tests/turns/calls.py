"""Calls of the pipe as Open WebUI makes them, and what they gave."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from starlette.responses import StreamingResponse

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import Reply, Simulator, text_reply

CHAT = {
    "chat_id": "chat-1",
    "message_id": "msg-1",
    "session_id": "session-1",
    "user_id": "user-1",
}
# The comment, response.created, in_progress, item and part come before the first delta.
BEFORE_TEXT = 5

Json = dict[str, Any]


def open_sockets() -> int:
    """How many sockets this process holds, where the system tells."""
    count = 0
    for entry in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            count += os.readlink(entry).startswith("socket:")
    return count


async def eventually(condition: Callable[[], bool]) -> None:
    """Return as soon as the condition holds: of what the system does, no event tells."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def make_pipe(simulator: Simulator | None = None, **valves: Any) -> Pipe:
    return configure(Pipe(), simulator, **valves)


def configure(pipe: Any, simulator: Simulator | None = None, **valves: Any) -> Any:
    """Set the valves as Open WebUI does before each call."""
    address = {"BASE_URL": simulator.base_url} if simulator else {}
    pipe.valves = pipe.Valves(**{"API_KEY": "sk-test", **address, **valves})
    return pipe


def body(text: str = "Hello", model: str = "a.one", stream: bool = True) -> Json:
    messages = [{"role": "user", "content": text}]
    return {"model": f"openrouter.{model}", "messages": messages, "stream": stream}


def request_of(user_id: str, **personal_valves: Json) -> Any:
    """The web request of a signed-in user with these settings, by function."""
    settings = SimpleNamespace(functions={"valves": personal_valves})
    user = SimpleNamespace(id=user_id, role="user", settings=settings)
    return SimpleNamespace(state=SimpleNamespace(user=user))


async def start_chat(pipe: Pipe, **options: Any) -> AsyncGenerator[Json]:
    answer = await pipe.pipe(body(**options), CHAT)
    assert isinstance(answer, AsyncGenerator)
    return answer


async def chat(pipe: Pipe, **options: Any) -> list[Json]:
    async with asyncio.timeout(10):
        return [event async for event in await start_chat(pipe, **options)]


async def stream(pipe: Pipe, **options: Any) -> list[bytes]:
    async with asyncio.timeout(10):
        answer = await pipe.pipe(body(**options), {"chat_id": "", "user_id": "user-1"})
        assert isinstance(answer, StreamingResponse)
        return [bytes(piece) async for piece in as_pieces(answer)]


def as_pieces(answer: StreamingResponse) -> AsyncIterator[bytes]:
    return answer.body_iterator  # type: ignore[return-value]


async def whole(pipe: Pipe, task: str | None = None, **options: Any) -> Json:
    async with asyncio.timeout(10):
        answer = await pipe.pipe(
            body(stream=False, **options), {"user_id": "user-1"}, __task__=task
        )
        assert isinstance(answer, dict)
        return answer


def text_of_chat(events: list[Json]) -> str:
    return "".join(
        event["delta"] for event in events if event.get("type") == "response.output_text.delta"
    )


def kinds(events: list[Json]) -> list[str]:
    """The types of the events; neighbours of one type count once."""
    names = [event.get("type", "+".join(sorted(event))) for event in events]
    return [name for name, before in zip(names, [None, *names], strict=False) if name != before]


def read_chunks(pieces: list[bytes]) -> list[Json]:
    assert pieces[-1] == b"data: [DONE]\n\n"
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces[:-1]]


def stalled(text: str = "One two three") -> Reply:
    reply = text_reply(text)
    reply.stall_after = BEFORE_TEXT + 1
    return reply


async def next_text(answer: AsyncGenerator[Json]) -> str:
    async with asyncio.timeout(5):
        async for event in answer:
            if event.get("type") == "response.output_text.delta":
                return event["delta"]
    raise AssertionError("the answer ended without text")


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/api/v1"
