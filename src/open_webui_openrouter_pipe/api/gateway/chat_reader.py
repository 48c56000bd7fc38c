"""The stream of `POST /chat/completions`, read into the same Events."""

from __future__ import annotations

from collections.abc import Iterable

from ...core.json_values import JsonObject, as_object, objects_in, text_of, whole_of
from ..errors import read_error_body
from ..events import (
    ArgumentsDelta,
    CitationFound,
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
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
from .batch import EventBatch
from .items import read_citation, read_usage, trimming_notices
from .parsed_files import ParsedFiles
from .payloads import answer_cut_short, read_payload
from .sound import SoundPieces

_UNEXPLAINED: JsonObject = {"error": {"message": "The answer broke off without a reason."}}
_CUT_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_finished_completion(body: JsonObject) -> list[Event]:
    """Read a completion object that came whole, where a stream was asked for."""
    reader = ChatReader()
    events = reader.read_chunk(body)
    return events if reader.finished else [*events, *reader.finish(done=True)]


class ChatReader:
    """Reads one stream of chat completions.

    Chunks have no items: the first piece of each kind opens one, reasoning that follows other
    output opens another. Usage comes after `finish_reason`, so only the body's end is the end.
    `known_files` are the hashes of documents of which the request says what is in them.
    """

    def __init__(self, known_files: Iterable[str] = ()) -> None:
        self._decoder = SseDecoder()
        self._started = False
        self._items: list[OutputItem] = []
        self._message: int | None = None
        self._reasoning: int | None = None
        self._calls: dict[int, int] = {}
        self._sound = SoundPieces()
        self._parsed = ParsedFiles(known_files)
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._response_id = ""
        self._model = ""
        self._provider = ""
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read(self._decoder.flush())
        if not self.finished:
            events.extend(self.finish())
        return events

    def _read(self, payloads: list[bytes]) -> list[Event]:
        batch = EventBatch()
        for payload in payloads:
            if self.finished:
                break
            for event in self._read_one(payload):
                batch.add(event)
        return batch.close()

    def _read_one(self, payload: bytes) -> list[Event]:
        if payload == DONE_PAYLOAD:
            return self.finish(done=True)
        data = read_payload(payload)
        return [] if data is None else self.read_chunk(data)

    def read_chunk(self, data: JsonObject) -> list[Event]:
        """The Events of one object of the stream."""
        events: list[Event] = []
        if not self._started and data.get("id"):
            self._started = True
            self._response_id, self._model = text_of(data["id"]), text_of(data.get("model"))
            events.append(ResponseStarted(self._response_id, self._model))
        self._provider = text_of(data.get("provider")) or self._provider
        self._usage = read_usage(data.get("usage")) or self._usage
        events.extend(trimming_notices(data))
        choice = next(iter(objects_in(data.get("choices"))), JsonObject())
        self._read_delta(as_object(choice.get("delta") or choice.get("message")), events)
        self._finish_reason = text_of(choice.get("finish_reason")) or self._finish_reason
        failure = next((body for body in (data, choice) if body.get("error")), None)
        if failure is not None or self._finish_reason == "error":
            failure = failure or _UNEXPLAINED
            self.finished = True
            events.append(ResponseFailed(read_error_body(failure), self._usage))
        return events

    def _read_delta(self, delta: JsonObject, events: list[Event]) -> None:
        self._read_reasoning(delta, events)
        sound = as_object(delta.get("audio"))
        transcript = text_of(sound.get("transcript"))
        self._read_text(text_of(delta.get("content")) + transcript, events)
        self._read_sound(text_of(sound.get("data")), transcript, events)
        if refusal := text_of(delta.get("refusal")):
            self._read_text(refusal, events, is_refusal=True)
        for annotation in objects_in(delta.get("annotations")):
            if annotation.get("type") == "file":
                self._parsed.add(annotation)
            elif (citation := read_citation(annotation)) is not None:
                events.append(CitationFound(self._message_index(events), citation))
        for call in objects_in(delta.get("tool_calls")):
            self._read_call(call, events)
        for image in objects_in(delta.get("images")):
            self._read_image(image, events)

    def _read_reasoning(self, delta: JsonObject, events: list[Event]) -> None:
        details = objects_in(delta.get("reasoning_details"))
        # `reasoning` repeats the text of the details; some vendors send only one of the two.
        text = text_of(delta.get("reasoning")) or text_of(delta.get("reasoning_content"))
        text = text or "".join(_text_of_detail(detail) for detail in details)
        if not text and not any(map(_says_something, details)):
            return
        if self._reasoning is None:
            self._reasoning = self._open(ReasoningItem(""), events)
        item = self._items[self._reasoning]
        if isinstance(item, ReasoningItem):
            for detail in details:
                merge_detail(item.details, detail)
        if text:
            is_summary = any(detail.get("type") == "reasoning.summary" for detail in details)
            events.append(ReasoningDelta(self._reasoning, 0, text, is_summary))

    def _read_text(self, text: str, events: list[Event], *, is_refusal: bool = False) -> None:
        if not text:
            return
        index = self._message_index(events)
        item = self._items[index]
        if isinstance(item, MessageItem):
            item.is_refusal = item.is_refusal or is_refusal
        events.append(TextDelta(index, text))

    def _message_index(self, events: list[Event]) -> int:
        if self._message is None:
            self._close_reasoning(events)
            self._message = self._open(MessageItem(""), events)
        return self._message

    def _read_call(self, call: JsonObject, events: list[Event]) -> None:
        function = as_object(call.get("function"))
        position = whole_of(call.get("index")) or 0
        call_id, name = text_of(call.get("id")), text_of(function.get("name"))
        if self._is_new_call(position, call_id, name):
            self._close_reasoning(events)
            self._calls[position] = self._open(FunctionCallItem("", call_id, name), events)
        index = self._calls[position]
        if isinstance(item := self._items[index], FunctionCallItem):
            item.call_id, item.name = item.call_id or call_id, item.name or name
        if arguments := text_of(function.get("arguments")):
            events.append(ArgumentsDelta(index, arguments))

    def _is_new_call(self, position: int, call_id: str, name: str) -> bool:
        """Whether no call has this place, or another one: some vendors count every call as 0."""
        known = self._items[self._calls[position]] if position in self._calls else None
        if not isinstance(known, FunctionCallItem):
            return True
        if not known.call_id:  # it may come late; another name is another call
            return bool(call_id and name and known.name)
        return call_id not in ("", known.call_id)

    def _read_sound(self, data: str, transcript: str, events: list[Event]) -> None:
        if data and self._sound.is_silent:
            self._close_reasoning(events)
            self._open(self._sound.item, events)
        self._sound.add(data, transcript)

    def _read_image(self, image: JsonObject, events: list[Event]) -> None:
        url = text_of(as_object(image.get("image_url")).get("url"))
        if url:
            self._close_reasoning(events)
            item = ImageItem("", url)
            events.append(ItemFinished(self._open(item, events), item))

    def _open(self, item: OutputItem, events: list[Event]) -> int:
        self._items.append(item)
        events.append(ItemStarted(len(self._items) - 1, item))
        return len(self._items) - 1

    def _close_reasoning(self, events: list[Event]) -> None:
        details = self._parsed.take_details()
        if details and self._reasoning is None:
            self._reasoning = self._open(ReasoningItem(""), events)
        if self._reasoning is None:
            return
        item = self._items[self._reasoning]
        if isinstance(item, ReasoningItem):
            # Open WebUI keeps for the next turn what stands beside the thinking, nothing else.
            item.details.extend(details)
        events.append(ItemFinished(self._reasoning, item))
        self._reasoning = None

    def finish(self, *, done: bool = False) -> list[Event]:
        """The Events of the end: `[DONE]` says that it is one, or a finish reason has to."""
        self.finished = True
        if not self._finish_reason and not (done and self._items):
            return [ResponseFailed(answer_cut_short(), self._usage)]
        reason = _CUT_REASONS.get(self._finish_reason, "")
        if reason:
            self._mark_cut()
        closing: list[Event] = []
        if self._parsed.waiting:
            self._close_reasoning(closing)
        closing += [ItemFinished(index, item) for index, item in enumerate(self._items)]
        end = ResponseFinished(self._response_id, self._model, self._usage, reason, self._provider)
        return [*closing, end]

    def _mark_cut(self) -> None:
        """Half a call must not be run; which one was cut, the API does not say."""
        for item in self._items:
            if isinstance(item, FunctionCallItem | MessageItem):
                item.status = "incomplete"


def merge_detail(details: list[JsonObject], piece: JsonObject) -> None:
    """Add a piece of reasoning detail to those of the same type, index and id."""
    known = next((detail for detail in details if _is_same(detail, piece)), None)
    if known is None:
        details.append({key: value for key, value in piece.items() if value is not None})
        return
    for key, value in piece.items():
        if key in ("text", "summary", "data"):
            known[key] = text_of(known.get(key)) + text_of(value)
        elif value:
            known[key] = value


def _is_same(detail: JsonObject, piece: JsonObject) -> bool:
    same_place = all(detail.get(key) == piece.get(key) for key in ("type", "index"))
    return same_place and (not piece.get("id") or detail.get("id") == piece.get("id"))


def _says_something(detail: JsonObject) -> bool:
    return any(detail.get(key) for key in ("text", "summary", "data", "signature"))


def _text_of_detail(detail: JsonObject) -> str:
    return text_of(detail.get("text")) or text_of(detail.get("summary"))
