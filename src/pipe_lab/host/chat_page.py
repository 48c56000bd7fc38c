"""One open chat page: sends messages and receives events the way Open WebUI's own page does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any

import socketio

from .client import OpenWebUIClient
from .turn import Reply, Turn, another_try, another_wording, new_turn, same_answer

Responder = Callable[[Mapping[str, Any]], Any]


class ChatPage:
    """A browser tab without the browser; use it as an async context manager."""

    def __init__(self, client: OpenWebUIClient) -> None:
        self.client = client
        self._socket = socketio.AsyncClient(reconnection=False)
        self._socket.on("events", self._on_event)
        self._turns: dict[str, Turn] = {}
        self._replies: dict[str, Reply] = {}
        # What the page, or the person before it, answers to an event that asks something:
        # `execute:tool`, `request:user_input`, `confirmation`.
        self.responders: dict[str, Responder] = {}
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
        turn = new_turn(chosen, text, after, self.client.account.id)
        if "files" in request:
            turn.user_message["files"] = request["files"]
        if earlier := request.pop("chat_files", None):  # those of earlier turns go along
            request["files"] = [*earlier, *request.get("files", [])]
        if temporary:
            turn.chat_id = f"temporary:{self.session_id}"
            request["messages"] = turn.history
        return await self._post(turn, message_ids=_message_ids(turn), **request)

    async def edit(self, turn: Turn, text: str, **request: Any) -> Turn:
        """Word an earlier message anew, and wait for the answers to it."""
        edited = another_wording(turn, text)
        return await (await self._post(edited, message_ids=_message_ids(edited), **request)).done()

    async def regenerate(self, turn: Turn, **request: Any) -> Turn:
        """Have the same message answered once more."""
        again = another_try(turn)
        return await (await self._post(again, message_ids=_message_ids(again), **request)).done()

    async def continue_answer(self, turn: Turn, **request: Any) -> Turn:
        """Have the answer go on where it ended."""
        message_id = turn.reply.message_id
        going_on = await self._post(same_answer(turn), assistant_message_id=message_id, **request)
        return await going_on.done()

    async def decide(self, turn: Turn, call_id: str, action: str, **form: Any) -> None:
        """Press a button of the card: `approve` or `reject` the call, or `answer` the question."""
        turn.reopen()
        path = f"/api/v1/chats/{turn.chat_id}/messages/{turn.reply.message_id}/resolve"
        answer = await self.client.post(path, {"call_id": call_id, "action": action, **form})
        if not answer["task_ids"]:
            turn.settle()

    def watch(self, turn: Turn) -> None:
        """Take in what comes of this turn, in this tab."""
        for reply in turn.replies:
            self._replies[reply.message_id] = reply
            self._turns[reply.message_id] = turn

    async def stop(self, turn: Turn) -> None:
        """Press the stop button."""
        await self.client.stop_chat(turn.chat_id)

    async def _post(self, turn: Turn, **request: Any) -> Turn:
        self.watch(turn)
        body: dict[str, Any] = {
            "stream": True,
            "model": turn.reply.model,
            "params": {},
            "features": {},
            "variables": {},
            "session_id": self.session_id,
            "id": turn.reply.message_id,
            "parent_id": turn.user_message["parentId"],
            "user_message": turn.user_message,
            "background_tasks": {},
            **({"chat_id": turn.chat_id} if turn.chat_id else {}),
            **request,
        }
        answer = await self.client.post("/api/chat/completions", body)
        turn.chat_id = answer["chat_id"]
        turn.task_ids = answer["task_ids"]
        return turn

    async def _on_event(self, event: Mapping[str, Any]) -> Any:
        data: Mapping[str, Any] = event.get("data") or {}
        kind: str = data.get("type", "")
        payload: Any = data.get("data")
        message_id = event.get("message_id") or ""
        if kind in self.responders:
            return self.responders[kind](payload)
        if kind == "chat:active":
            if message_id in self._turns and not payload["active"]:
                self._turns[message_id].settle()
        elif kind == "chat:title" and message_id in self._turns:
            self._turns[message_id].name(payload)
        elif message_id in self._replies:
            self._replies[message_id].receive(kind, payload)
        else:
            self.other_events.append(event)
        return None


def _message_ids(turn: Turn) -> list[dict[str, Any]]:
    return [
        {"model_id": reply.model, "message_id": reply.message_id, "modelIdx": index}
        for index, reply in enumerate(turn.replies)
    ]
