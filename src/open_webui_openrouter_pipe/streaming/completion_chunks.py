"""An API client that streams: `chat.completion.chunk` objects, as server-sent events."""

from __future__ import annotations

import time
from typing import Any

from ..api.events import (
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    MediaItem,
    OutputItem,
    ReasoningDelta,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
    ToolOutputItem,
    Usage,
)
from ..core.errors import PipeError
from ..core.ids import new_item_id
from ..core.json_codec import encode_json
from .completion_notes import CompletionNotes
from .open_calls import OpenCalls
from .output_items import audio_part, image_part
from .usage import finish_reason, usage_of_completion

_DONE = b"data: [DONE]\n\n"


class CompletionChunks:
    """Renders one answer as bytes, one server-sent event a piece.

    `model` is the id the client asked for: it finds its own model again in every chunk.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._response_id = new_item_id("chatcmpl")
        self._created = int(time.time())
        self._begun = False
        self._part: tuple[int, int] | None = None
        self._calls = OpenCalls()
        self._notes = CompletionNotes()
        self._images = 0

    def render(self, batch: list[Event]) -> list[bytes]:
        """The chunks that this batch adds to the stream."""
        chunks: list[bytes] = []
        for event in batch:
            match event:
                case ResponseStarted(response_id):
                    self._response_id = response_id or self._response_id
                case TextDelta(_, text):
                    chunks.append(self._delta({"content": text}))
                case ReasoningDelta():
                    chunks.append(self._delta({"reasoning": self._thought(event)}))
                case ItemFinished(_, item):
                    chunks.extend(self._finish(item))
                case ResponseFinished():
                    chunks.extend(self._end(event))
                case ResponseFailed(error, usage):
                    chunks.extend(self._failure(error, usage))
                case _:
                    pass
        return chunks

    def _finish(self, item: OutputItem) -> list[bytes]:
        self._notes.take(item)
        match item:
            case FunctionCallItem() | ToolOutputItem():
                self._calls.take(item)
            case ImageItem() if item.data_url:
                self._images += 1
                return [self._delta({"images": [image_part(item, self._images - 1)]})]
            case MediaItem():
                return [self._delta({"audio": audio_part(item)})]
            case _:
                pass
        return []

    def _delta(self, delta: dict[str, Any]) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _thought(self, event: ReasoningDelta) -> str:
        """The text, a paragraph apart from an earlier part's: clients see one string."""
        part = event.output_index, event.part_index
        gap = "\n\n" if self._part not in (None, part) else ""
        self._part = part
        return gap + event.text

    def _end(self, event: ResponseFinished) -> list[bytes]:
        calls = self._calls.of_completion()
        reason = "tool_calls" if calls else finish_reason(event.incomplete_reason)
        chunks = [
            self._delta({"tool_calls": [{"index": place, **call}]})
            for place, call in enumerate(calls)
        ]
        if notes := self._notes.of_completion():
            chunks.append(self._delta(notes))
        chunks.append(self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}]))
        return [*chunks, *self._usage(event.usage), _DONE]

    def _failure(self, error: PipeError, usage: Usage | None) -> list[bytes]:
        body = {"error": {"message": error.for_person(), "type": type(error).__name__}}
        return [*self._usage(usage), _as_server_sent_event(body), _DONE]

    def _usage(self, usage: Usage | None) -> list[bytes]:
        return [] if usage is None else [self._chunk([], usage=usage_of_completion(usage))]

    def _chunk(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        return _as_server_sent_event(
            {
                "id": self._response_id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self._model,
                "choices": choices,
                **extra,
            }
        )


def _as_server_sent_event(body: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(body) + b"\n\n"
