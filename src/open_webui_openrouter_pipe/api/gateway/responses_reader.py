"""The stream of `POST /responses`, read into Events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...core.json_values import JsonObject, as_object, objects_in, text_of, whole_of
from ..errors import holds_error, read_error_body
from ..events import (
    ArgumentsDelta,
    CitationFound,
    Delta,
    Event,
    ItemFinished,
    ItemStarted,
    OutputItem,
    PictureSketched,
    PlacedEvent,
    ReasoningDelta,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
)
from ..sse import DONE_PAYLOAD, SseDecoder
from .batch import EventBatch
from .items import picture_address, read_citation, read_item, read_usage, trimming_notices
from .part_ends import PartEnds
from .payloads import answer_cut_short, read_payload
from .text_run import TextRun


def read_finished_answer(body: JsonObject) -> list[Event]:
    """Read a response object that came whole, where a stream was asked for."""
    return [
        ResponseStarted(text_of(body.get("id")), text_of(body.get("model"))),
        *_finished_items(body),
        *trimming_notices(body),
        _read_end(body),
    ]


def _finished_items(response: JsonObject) -> list[ItemFinished]:
    """The items of a finished response, by which whatever the stream left out is known."""
    output = objects_in(response.get("output"))
    return [ItemFinished(index, read_item(item)) for index, item in enumerate(output)]


class ResponsesReader:
    """Reads one stream of the Responses API."""

    __slots__ = ("_closed", "_decoder", "_delta", "_last_place", "_part_ends", "_run", "finished")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._last_place = -1
        """The last place at which something came."""
        self._closed: set[int] = set()
        """The places of the items that have ended."""
        self._part_ends = PartEnds()
        self._run = TextRun()
        self._delta: Delta | None = None
        """The delta that the run goes on from."""
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read(self._decoder.flush())
        if not self.finished:
            self.finished = True
            events += [*self._part_ends.items(), ResponseFailed(answer_cut_short())]
        return events

    def _read(self, payloads: list[bytes]) -> list[Event]:
        batch, run = EventBatch(), self._run
        place = 0
        while place < len(payloads) and not self.finished:
            if taken := run.take(payloads, place):
                place += taken
                continue
            self._end_run(batch)
            if payloads[place] != DONE_PAYLOAD:
                self._read_one(payloads[place], batch)
            place += 1
        self._end_run(batch)
        return batch.close()

    def _end_run(self, batch: EventBatch) -> None:
        if self._delta is not None and (text := self._run.take_text()):
            batch.add(replace(self._delta, text=text))

    def _read_one(self, payload: bytes, batch: EventBatch) -> None:
        data = read_payload(payload)
        event = _read_event(data) if data is not None else None
        if data is None or event is None:
            self._part_ends.take(data or {})
            return
        if isinstance(event, Delta):
            self._delta = event
            self._run.follow(payload)
        if isinstance(event, PlacedEvent):
            self._last_place = max(self._last_place, event.output_index)
            if isinstance(event, ItemFinished):
                self._closed.add(event.output_index)
        elif isinstance(event, ResponseFinished | ResponseFailed):
            self.finished = True
            response = as_object(data.get("response"))
            for late in (*self._left_out(response), *trimming_notices(response)):
                batch.add(late)
        batch.add(event)

    def _left_out(self, response: JsonObject) -> list[ItemFinished]:
        """The items that came at the end only, or whose own end did not come."""
        items = _finished_items(response)
        if self._last_place >= len(items):
            items = []  # the stream counted otherwise: which of them are new cannot be told
        items += self._part_ends.items()
        return [item for item in items if item.output_index not in self._closed]


def _read_event(data: JsonObject) -> Event | None:
    kind = text_of(data.get("type"))
    if read := _EVENT_READERS.get(kind):
        return read(data)
    # An unknown event may report an error of one of its parts; the bare envelope ends the answer.
    return ResponseFailed(read_error_body(data)) if data.get("error") and not kind else None


def _index_of(data: JsonObject, key: str = "output_index") -> int:
    return max(whole_of(data.get(key)) or 0, 0)


def _delta_of(data: JsonObject) -> str:
    delta = data.get("delta")
    return delta if isinstance(delta, str) else ""


def _read_text_delta(data: JsonObject) -> Event | None:
    text = _delta_of(data)
    return TextDelta(_index_of(data), text) if text else None


def _read_summary_delta(data: JsonObject) -> Event | None:
    if not (text := _delta_of(data)):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "summary_index"), text, is_summary=True)


def _read_reasoning_delta(data: JsonObject) -> Event | None:
    if not (text := _delta_of(data)):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "content_index"), text, is_summary=False)


def _read_arguments_delta(data: JsonObject) -> Event | None:
    text = _delta_of(data)
    return ArgumentsDelta(_index_of(data), text) if text else None


def _read_annotation(data: JsonObject) -> Event | None:
    citation = read_citation(as_object(data.get("annotation")))
    return CitationFound(_index_of(data), citation) if citation is not None else None


def _read_sketch(data: JsonObject) -> Event | None:
    picture = text_of(data.get("partial_image_b64"))
    return PictureSketched(_index_of(data), picture_address(picture)) if picture else None


def _read_started(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return ResponseStarted(text_of(response.get("id")), text_of(response.get("model")))


def _read_item_started(data: JsonObject) -> Event | None:
    item = _item_of(data)
    return ItemStarted(_index_of(data), item) if item is not None else None


def _read_item_finished(data: JsonObject) -> Event | None:
    item = _item_of(data)
    return ItemFinished(_index_of(data), item) if item is not None else None


def _item_of(data: JsonObject) -> OutputItem | None:
    """The item, where it has a place: text may look for one, an item must not."""
    if whole_of(data.get("output_index", 0)) is None:
        return None
    item = as_object(data.get("item"))
    return read_item(item) if item else None


def _read_completed(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return _read_failed(data) if holds_error(response) else _read_end(response)


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
    "response.function_call_arguments.delta": _read_arguments_delta,
    "response.output_text.annotation.added": _read_annotation,
    "response.image_generation_call.partial_image": _read_sketch,
    "response.created": _read_started,
    "response.output_item.added": _read_item_started,
    "response.output_item.done": _read_item_finished,
    "response.completed": _read_completed,
    "response.incomplete": _read_completed,
    "response.failed": _read_failed,
    "response.error": _read_failed,
    "error": _read_failed,
}
