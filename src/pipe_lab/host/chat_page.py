"""One open chat page: sends messages and receives events the way Open WebUI's own page does."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import socketio

from .client import OpenWebUIClient

ANSWER_SECONDS = 60

Item = dict[str, Any]


@dataclass(slots=True)
class Reply:
    """One model's answer, as far as its events have arrived."""

    model: str
    message_id: str
    # (seconds since the clock's start, type, data) of every event of this message, in order.
    events: list[tuple[float, str, Any]] = field(default_factory=list)
    text: str = ""
    output: list[Item] = field(default_factory=list)
    usage: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    cancelled: bool = False
    _spoke: asyncio.Event = field(default_factory=asyncio.Event)
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    async def first_word(self) -> None:
        """Wait until any text of the answer has arrived."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._spoke.wait()

    async def done(self) -> Reply:
        """Wait until the page would show this answer as finished."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._done.wait()
        return self

    def receive(self, kind: str, data: Any) -> None:
        """Take one event in."""
        self.events.append((time.perf_counter(), kind, data))
        if kind == "response:completion":
            self._receive_response_event(data)
        elif kind == "chat:completion":
            self._receive_completion(data)
        elif kind == "chat:message:error":
            self.error = error_text(data["error"])
            self._finish_if(data.get("done"))
        elif kind == "chat:tasks:cancel":
            self.cancelled = True
            self.output = (data or {}).get("output") or self.output
            self._done.set()

    def _receive_response_event(self, event: Mapping[str, Any]) -> None:
        if event.get("type") == "response.output_text.delta":
            self.text += event.get("delta", "")
            self._spoke.set()

    def _receive_completion(self, data: Mapping[str, Any]) -> None:
        if data.get("output"):
            self.output = data["output"]
        if data.get("usage"):
            self.usage = data["usage"]
        if data.get("error"):
            self.error = error_text(data["error"])
        self._finish_if(data.get("done"))

    def _finish_if(self, done: object) -> None:
        if done:
            self._done.set()


@dataclass(slots=True)
class Turn:
    """One message of the person and the answers to it, side by side."""

    user_message: dict[str, Any]
    replies: list[Reply]
    history: list[dict[str, Any]]
    chat_id: str = ""
    task_ids: list[str] = field(default_factory=list)
    # The title the page shows for the chat, once it has been told one.
    title: str = ""
    _titled: asyncio.Event = field(default_factory=asyncio.Event)
    _settled: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reply(self) -> Reply:
        """The first, and mostly the only, answer."""
        return self.replies[0]

    async def done(self) -> Turn:
        """Wait until every answer is finished and everything about it is saved."""
        for reply in self.replies:
            await reply.done()
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._settled.wait()
        return self

    async def titled(self) -> str:
        """Wait until the chat has been given a title."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._titled.wait()
        return self.title

    def name(self, title: str) -> None:
        """Take the chat's title in."""
        self.title = title
        self._titled.set()

    def settle(self) -> None:
        """No task of this turn runs any more."""
        self._settled.set()


class ChatPage:
    """A browser tab without the browser; use it as an async context manager."""

    def __init__(self, client: OpenWebUIClient) -> None:
        self.client = client
        self._socket = socketio.AsyncClient(reconnection=False)
        self._socket.on("events", self._on_event)
        self._turns: dict[str, Turn] = {}
        self._replies: dict[str, Reply] = {}
        # Events that belong to no message of this page, such as notifications.
        self.other_events: list[Mapping[str, Any]] = []

    async def __aenter__(self) -> ChatPage:
        await self._socket.connect(
            self.client.url,
            socketio_path="/ws/socket.io",
            transports=["websocket"],
            auth={"token": self.client.account.token},
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._socket.disconnect()

    @property
    def session_id(self) -> str:
        """The socket's id, under which the server knows this tab."""
        return self._socket.get_sid() or ""

    async def ask(self, models: str | Sequence[str], text: str, **options: Any) -> Turn:
        """Send a message and wait for its answers; `options` are those of `send`."""
        turn = await self.send(models, text, **options)
        return await turn.done()

    async def send(
        self,
        models: str | Sequence[str],
        text: str,
        *,
        after: Turn | None = None,
        temporary: bool = False,
        **request: Any,
    ) -> Turn:
        """Send a message and return at once; `request` goes into the request body as it is."""
        chosen = [models] if isinstance(models, str) else list(models)
        turn = _new_turn(chosen, text, after, self.client.account.id)
        for reply in turn.replies:
            self._replies[reply.message_id] = reply
            self._turns[reply.message_id] = turn
        body: dict[str, Any] = {
            "stream": True,
            "model": chosen[0],
            "params": {},
            "features": {},
            "variables": {},
            "session_id": self.session_id,
            "id": turn.reply.message_id,
            "message_ids": [
                {"model_id": reply.model, "message_id": reply.message_id, "modelIdx": index}
                for index, reply in enumerate(turn.replies)
            ],
            "parent_id": turn.user_message["parentId"],
            "user_message": turn.user_message,
            "background_tasks": {},
            **request,
        }
        if "files" in request:
            turn.user_message["files"] = request["files"]
        if temporary:
            body["chat_id"] = f"temporary:{self.session_id}"
            body["messages"] = turn.history
        elif after is not None:
            body["chat_id"] = after.chat_id
        answer = await self.client.post("/api/chat/completions", body)
        turn.chat_id = answer["chat_id"]
        turn.task_ids = answer["task_ids"]
        return turn

    async def stop(self, turn: Turn) -> None:
        """Press the stop button."""
        await self.client.stop_chat(turn.chat_id)

    async def _on_event(self, event: Mapping[str, Any]) -> None:
        data: Mapping[str, Any] = event.get("data") or {}
        kind: str = data.get("type", "")
        payload: Any = data.get("data")
        message_id = event.get("message_id") or ""
        if kind == "chat:active":
            if message_id in self._turns and not payload["active"]:
                self._turns[message_id].settle()
        elif kind == "chat:title" and message_id in self._turns:
            self._turns[message_id].name(payload)
        elif message_id in self._replies:
            self._replies[message_id].receive(kind, payload)
        else:
            self.other_events.append(event)


def _new_turn(models: Sequence[str], text: str, after: Turn | None, user_id: str) -> Turn:
    user_message: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "parentId": after.reply.message_id if after else None,
        "childrenIds": [],
        "role": "user",
        "user_id": user_id,
        "content": text,
        "timestamp": int(time.time()),
        "models": list(models),
    }
    replies = [Reply(model, str(uuid.uuid4())) for model in models]
    history = [{"role": "user", "content": text, "id": user_message["id"]}]
    if after:
        answer = {"role": "assistant", "model": after.reply.model, "output": after.reply.output}
        history = [*after.history, answer, *history]
    return Turn(user_message, replies, history)


def error_text(error: Any) -> str:
    """What the page shows of a message's error, in whichever form it came or was saved."""
    if not isinstance(error, Mapping):
        return str(error)
    known = (error.get(key) for key in ("content", "message", "detail", "error"))
    inner = next((value for value in known if value), None)
    return str(dict(error)) if inner is None else error_text(inner)
