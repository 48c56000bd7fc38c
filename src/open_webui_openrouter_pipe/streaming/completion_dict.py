"""A caller that wants the whole answer at once: one `chat.completion` object."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..api.events import (
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    MediaItem,
    MessageItem,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    ToolOutputItem,
    Usage,
)
from ..core.errors import PipeError
from ..core.ids import new_item_id
from .completion_notes import CompletionNotes
from .open_calls import OpenCalls
from .output_items import (
    audio_part,
    function_call_item,
    image_part,
    message_output,
    output_text_part,
    reasoning_output,
    tool_output_item,
)
from .usage import finish_reason, usage_of_completion

_KeptItem = MessageItem | ReasoningItem | FunctionCallItem | ToolOutputItem


class CompletionDict:
    """Gathers one answer; its only piece is the finished object.

    `model` is the id the caller asked for. In a chat the object also carries the `output` items,
    from which Open WebUI draws the reasoning. A chore gets the plain result and no reasoning.
    """

    def __init__(self, model: str, *, with_output: bool, with_reasoning: bool = True) -> None:
        self._model = model
        self._with_output = with_output
        self._with_reasoning = with_reasoning
        self._response_id = new_item_id("chatcmpl")
        self._items: list[_KeptItem] = []
        self._calls = OpenCalls()
        self._images: list[ImageItem] = []
        self._sound: MediaItem | None = None

    def render(self, batch: list[Event]) -> list[dict[str, Any]]:
        """The finished object, once its end is in the batch."""
        for event in batch:
            match event:
                case ResponseStarted(response_id):
                    self._response_id = response_id or self._response_id
                case ItemFinished(_, MessageItem() as item):
                    self._items.append(item)
                case ItemFinished(_, FunctionCallItem() | ToolOutputItem() as item):
                    self._items.append(item)
                    self._calls.take(item)
                case ItemFinished(_, ReasoningItem() as item) if item.is_visible or item.details:
                    self._items.append(item)
                case ItemFinished(_, ImageItem() as item) if item.data_url:
                    self._images.append(item)
                case ItemFinished(_, MediaItem() as item):
                    self._sound = item
                case ResponseFinished():
                    return [self._answer(event)]
                case ResponseFailed(error, usage):
                    return [self._failure(error, usage)]
                case _:
                    pass
        return []

    def _failure(self, error: PipeError, usage: Usage | None) -> dict[str, Any]:
        failure = {"error": {"message": error.for_person(), "type": type(error).__name__}}
        # The text that had arrived stays.
        partial = self._completion("error") if self._items or self._images else {}
        return partial | failure | _usage(usage)

    def _answer(self, event: ResponseFinished) -> dict[str, Any]:
        has_calls = bool(self._calls.of_completion())
        reason = "tool_calls" if has_calls else finish_reason(event.incomplete_reason)
        return self._completion(reason) | _usage(event.usage)

    def _completion(self, reason: str) -> dict[str, Any]:
        completion: dict[str, Any] = {
            "id": self._response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": [{"index": 0, "message": self._message(), "finish_reason": reason}],
        }
        if self._with_output:
            # The pictures of a chat are files of its message; with nothing at all in `output`
            # Open WebUI would not end the message.
            items = self._items or [MessageItem(new_item_id("msg")) for _ in self._images[:1]]
            ends = {item.call_id: item.status for item in items if isinstance(item, ToolOutputItem)}
            completion["output"] = [_output_of(item, ends) for item in items]
        return completion

    def _message(self) -> dict[str, Any]:
        texts = [item.text for item in self._items if isinstance(item, MessageItem)]
        thoughts = [
            "\n\n".join(filter(None, item.summary or item.content))
            for item in self._items
            if isinstance(item, ReasoningItem)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if calls := self._calls.of_completion():
            message["tool_calls"] = calls
        reasoning = "\n\n".join(filter(None, thoughts))
        if reasoning and self._with_reasoning:
            message["reasoning"] = reasoning
        if self._with_reasoning and not self._with_output:
            notes = CompletionNotes()
            for item in self._items:
                notes.take(item)
            message |= notes.of_completion()
        if self._images and not self._with_output:
            message["images"] = [image_part(item, n) for n, item in enumerate(self._images)]
        if self._sound is not None:
            message["audio"] = audio_part(self._sound)
        return message


def _usage(usage: Usage | None) -> dict[str, Any]:
    return {} if usage is None else {"usage": usage_of_completion(usage)}


def _output_of(item: _KeptItem, ends: Mapping[str, str]) -> dict[str, Any]:
    match item:
        case MessageItem():
            return message_output(item, item.status, [output_text_part(item.text)])
        case ReasoningItem():
            return reasoning_output(item)
        case FunctionCallItem():
            # The card of a call that came to nothing says so.
            status = ends.get(item.call_id) if item.status == "completed" else None
            return function_call_item(item) | ({"status": status} if status else {})
        case ToolOutputItem():
            return tool_output_item(item)
