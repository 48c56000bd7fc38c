"""One message of a person and the answers to it, as far as their events have arrived."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

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

    def reopen(self) -> None:
        """The answer goes on."""
        self._done.clear()

    def items(self, kind: str) -> list[Item]:
        """The items of one type in the answer's output."""
        return [item for item in self.output if item["type"] == kind]

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
        return await self.paused()

    async def titled(self) -> str:
        """Wait until the chat has been given a title."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._titled.wait()
        return self.title

    async def paused(self) -> Turn:
        """Wait until nothing of it runs: it is finished, or waits for the person to decide."""
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._settled.wait()
        return self

    def reopen(self) -> None:
        """The answers go on: what was finished or paused is so no longer."""
        self._settled.clear()
        for reply in self.replies:
            reply.reopen()

    def name(self, title: str) -> None:
        """Take the chat's title in."""
        self.title = title
        self._titled.set()

    def settle(self) -> None:
        """No task of this turn runs any more."""
        self._settled.set()


def new_turn(models: Sequence[str], text: str, after: Turn | None, user_id: str) -> Turn:
    """A message that was not sent yet, with a place for each model's answer."""
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
    history = [{"role": "user", "content": text, "id": user_message["id"]}]
    if after is None:
        return Turn(user_message, _new_replies(models), history)
    answer = {"role": "assistant", "model": after.reply.model, "output": after.reply.output}
    history = [*after.history, answer, *history]
    return Turn(user_message, _new_replies(models), history, after.chat_id)


def another_wording(turn: Turn, text: str) -> Turn:
    """The message edited: a branch of the chat that leaves it at the same place."""
    message = {**turn.user_message, "id": str(uuid.uuid4()), "childrenIds": [], "content": text}
    history = [*turn.history[:-1], {"role": "user", "content": text, "id": message["id"]}]
    return Turn(message, _new_replies(message["models"]), history, turn.chat_id)


def another_try(turn: Turn) -> Turn:
    """The same message, to be answered once more."""
    models = turn.user_message["models"]
    return Turn(turn.user_message, _new_replies(models), turn.history, turn.chat_id)


def same_answer(turn: Turn) -> Turn:
    """The same message and the same answer, to be continued."""
    reply = Reply(turn.reply.model, turn.reply.message_id, output=turn.reply.output)
    return Turn(turn.user_message, [reply], turn.history, turn.chat_id)


def _new_replies(models: Sequence[str]) -> list[Reply]:
    return [Reply(model, str(uuid.uuid4())) for model in models]


def error_text(error: Any) -> str:
    """What the page shows of a message's error, in whichever form it came or was saved."""
    if not isinstance(error, Mapping):
        return str(error)
    known = (error.get(key) for key in ("content", "message", "detail", "error"))
    inner = next((value for value in known if value), None)
    return str(dict(error)) if inner is None else error_text(inner)
