"""The stream of `POST /responses`, read into Events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ...core.errors import StreamInterruptedError
from ...core.json_codec import decode_json
from ...core.json_values import (
    JsonObject,
    as_object,
    number_of,
    objects_in,
    text_of,
    whole_of,
)
from ...core.logging_system import LOG
from ..errors import read_error_body
from ..events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    OtherItem,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
    Usage,
)
from ..sse import DONE_PAYLOAD, SseDecoder


def read_finished_answer(body: JsonObject) -> list[Event]:
    """Read a response object that came whole, where a stream was asked for."""
    events: list[Event] = [ResponseStarted(text_of(body.get("id")), text_of(body.get("model")))]
    for index, item in enumerate(objects_in(body.get("output"))):
        events.append(ItemFinished(index, read_item(item)))
    events.append(_read_end(body))
    return events


class ResponsesReader:
    """Turns the bytes of one stream into Events; what it does not know it passes over."""

    __slots__ = ("_decoder", "finished")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read_payloads(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read_payloads(self._decoder.flush())
        if not self.finished:
            self.finished = True
            error = StreamInterruptedError(
                "The answer stopped before its end.",
                "What had arrived is kept. Try again for a whole answer.",
            )
            events.append(ResponseFailed(error))
        return events

    def _read_payloads(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            if self.finished:
                break
            if payload == DONE_PAYLOAD:
                continue
            event = _read_payload(payload)
            if event is None:
                continue
            events.append(event)
            if isinstance(event, ResponseFinished | ResponseFailed):
                self.finished = True
        return events


def _read_payload(payload: bytes) -> Event | None:
    try:
        data = decode_json(payload)
    except ValueError:
        LOG.warning(
            "an event of the stream is not JSON and was passed over (%d bytes)", len(payload)
        )
        return None
    if not isinstance(data, dict):
        return None
    data = cast("JsonObject", data)
    kind = text_of(data.get("type"))
    if read := _EVENT_READERS.get(kind):
        return read(data)
    # An unknown event may report an error of one of its parts; the bare envelope ends the answer.
    return ResponseFailed(read_error_body(data)) if data.get("error") and not kind else None


def _index_of(data: JsonObject, key: str = "output_index") -> int:
    value = data.get(key)
    return value if isinstance(value, int) and value >= 0 else 0


def _read_text_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    return TextDelta(_index_of(data), text) if text and isinstance(text, str) else None


def _read_summary_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    if not text or not isinstance(text, str):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "summary_index"), text, is_summary=True)


def _read_reasoning_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    if not text or not isinstance(text, str):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "content_index"), text, is_summary=False)


def _read_started(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return ResponseStarted(text_of(response.get("id")), text_of(response.get("model")))


def _read_item_started(data: JsonObject) -> Event:
    return ItemStarted(_index_of(data), read_item(as_object(data.get("item"))))


def _read_item_finished(data: JsonObject) -> Event:
    return ItemFinished(_index_of(data), read_item(as_object(data.get("item"))))


def _read_completed(data: JsonObject) -> Event:
    return _read_end(as_object(data.get("response")))


def _read_failed(data: JsonObject) -> Event:
    response = as_object(data.get("response")) or data
    return ResponseFailed(read_error_body(response), read_usage(response.get("usage")))


def _read_end(response: JsonObject) -> ResponseFinished:
    details = as_object(response.get("incomplete_details"))
    cut = response.get("status") == "incomplete"
    return ResponseFinished(
        response_id=text_of(response.get("id")),
        model=text_of(response.get("model")),
        usage=read_usage(response.get("usage")),
        incomplete_reason=text_of(details.get("reason")) or ("incomplete" if cut else ""),
    )


_EVENT_READERS: dict[str, Callable[[JsonObject], Event | None]] = {
    "response.output_text.delta": _read_text_delta,
    "response.refusal.delta": _read_text_delta,
    "response.reasoning_summary_text.delta": _read_summary_delta,
    "response.reasoning_text.delta": _read_reasoning_delta,
    "response.created": _read_started,
    "response.output_item.added": _read_item_started,
    "response.output_item.done": _read_item_finished,
    "response.completed": _read_completed,
    "response.incomplete": _read_completed,
    "response.failed": _read_failed,
    "response.error": _read_failed,
    "error": _read_failed,
}


def read_item(item: JsonObject) -> OutputItem:
    """Read one output item of the API."""
    item_id = text_of(item.get("id"))
    match item.get("type"):
        case "message":
            return MessageItem(
                id=item_id,
                text="".join(_texts(item.get("content"))),
                phase=text_of(item.get("phase")),
                status=text_of(item.get("status")) or "completed",
            )
        case "reasoning":
            return ReasoningItem(
                id=item_id,
                summary=_texts(item.get("summary")),
                content=_texts(item.get("content")),
                encrypted_content=text_of(item.get("encrypted_content")),
                signature=text_of(item.get("signature")),
                format=text_of(item.get("format")),
                status=text_of(item.get("status")) or "completed",
            )
        case other:
            return OtherItem(id=item_id, type=text_of(other))


def _texts(parts: Any) -> list[str]:
    return [text_of(part.get("text")) or text_of(part.get("refusal")) for part in objects_in(parts)]


def read_usage(value: Any) -> Usage | None:
    """Read the usage object of a finished response; `None` when there is none."""
    usage = as_object(value)
    if not usage:
        return None
    inputs = as_object(usage.get("input_tokens_details"))
    outputs = as_object(usage.get("output_tokens_details"))
    is_byok = usage.get("is_byok")
    return Usage(
        input_tokens=whole_of(usage.get("input_tokens")),
        output_tokens=whole_of(usage.get("output_tokens")),
        total_tokens=whole_of(usage.get("total_tokens")),
        cached_tokens=whole_of(inputs.get("cached_tokens")),
        cache_write_tokens=whole_of(inputs.get("cache_write_tokens")),
        reasoning_tokens=whole_of(outputs.get("reasoning_tokens")),
        cost=number_of(usage.get("cost")),
        is_byok=is_byok if isinstance(is_byok, bool) else None,
        cost_details=_numbers(usage.get("cost_details")),
    )


def _numbers(value: Any) -> dict[str, float]:
    pairs = as_object(value).items()
    return {key: number for key, part in pairs if (number := number_of(part)) is not None}
