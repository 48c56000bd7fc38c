"""A chat in Open WebUI: Responses events, which its reducer stores and its page draws."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from ..api.events import (
    ArgumentsDelta,
    Event,
    FunctionCallItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
    Notice,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    RetryScheduled,
    ServerToolItem,
    SourcesFound,
    SpendingKnown,
    TextDelta,
    ToolOutputItem,
    Usage,
    Working,
)
from ..core.errors import PipeError
from ..core.ids import new_item_id
from .citations import Sources
from .layout import Segment
from .output_items import (
    function_call_item,
    message_output,
    output_text_part,
    reasoning_output,
    tool_output_item,
)
from .renderer import HostEvent
from .server_tools import server_tool_cards
from .status import describe_spending, describe_usage, status_event
from .thinking_status import ThinkingStatus
from .usage import usage_of_response

_CUT_NOTICES = {
    "max_output_tokens": "The answer was cut off at its length limit.",
    "content_filter": "The answer was cut off by a content filter.",
}


class ResponseEvents:
    """Renders one answer as items of the message's `output` list.

    Items are counted anew, for Open WebUI keeps only those it is shown. `thinking` says where
    the model's thinking appears: in its own box (`open_webui`), in the `status`, or in `both`.
    Where the reader sees text alone, as in a channel, it `speaks_errors`.
    """

    def __init__(
        self,
        *,
        show_usage: bool = False,
        thinking: str = "open_webui",
        speaks_errors: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._show_usage = show_usage
        self._speaks_errors = speaks_errors
        self._asked_at = clock()
        self._status_is_open = False
        self._working = ""
        self._spending = SpendingKnown()
        self._closing_words = ""
        self._places: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._started_at: dict[int, float] = {}
        self._shows_box = thinking != "status"
        self._thinking = ThinkingStatus(clock) if thinking != "open_webui" else None
        self._segment = Segment()
        self._summary_parts: set[tuple[int, int]] = set()
        self._sources = Sources()
        self._outputs: list[int] = []
        self._calls: dict[str, tuple[int, FunctionCallItem]] = {}
        self._answered: set[str] = set()
        self._count = 0

    def render(self, batch: list[Event]) -> list[HostEvent]:
        """The events that this batch adds to the message."""
        shown: list[HostEvent] = []
        for event in batch:
            match event:
                case TextDelta(index, text):
                    shown.append(self._text_delta(index, text))
                case ReasoningDelta():
                    shown.extend(self._reasoning_delta(event))
                case ItemStarted(index, item):
                    shown.extend([*self._end_waiting(), *self._start(index, item)])
                case ItemFinished(index, item):
                    shown.extend(self._finish(index, item))
                case ArgumentsDelta(index, text):
                    shown.append(self._arguments_delta(index, text))
                case ResponseFinished():
                    shown.extend(self._end(event))
                case ResponseFailed(error, usage):
                    shown.extend([*self._close_segment(), *self._sources.events()])
                    shown.extend([*self._closing_status(usage), *self._fail(error, usage)])
                case _:
                    shown.extend(self._aside(event))
        return shown

    def _aside(self, event: Event) -> list[HostEvent]:
        """What stands beside the answer."""
        match event:
            case RetryScheduled():
                self._status_is_open = True
                words = f"{event.error.cause} Trying again in {event.wait:.0f} s."
                return [status_event(words, done=False)]
            case Working(words) if words != self._working:
                self._working, self._status_is_open = words, True
                return [status_event(words, done=False)]
            case SpendingKnown():
                self._spending = event
            case Notice(words, in_closing_line=True):
                self._closing_words = words
            case Notice(words):
                self._status_is_open = False
                return [status_event(words, done=True)]
            case SourcesFound(sources):
                self._sources.add_found(sources)
            case _:
                pass
        return []

    def _start(self, index: int, item: OutputItem) -> list[HostEvent]:
        self._started_at[index] = self._clock()
        self._ids[index] = item.id
        match item:
            case MessageItem():
                return self._open_message(index, item)
            case FunctionCallItem():
                opened = function_call_item(item) | {"status": "in_progress", "arguments": ""}
                return [_item_added(self._take_place(index), opened)]
            case ServerToolItem():
                cards = server_tool_cards(item)
                # One card can be seen under way; a call and its result come together at the end.
                return [_item_added(self._take_place(index), cards[0])] if len(cards) == 1 else []
            case _:
                # Reasoning opens with its first word: without one its card would be empty.
                return []

    def _open_message(self, index: int, item: MessageItem) -> list[HostEvent]:
        place = self._take_place(index)
        return [
            _item_added(place, message_output(item, "in_progress", [])),
            {
                "type": "response.content_part.added",
                "output_index": place,
                "content_index": 0,
                "part": output_text_part(""),
            },
        ]

    def _text_delta(self, index: int, text: str) -> HostEvent:
        return {
            "type": "response.output_text.delta",
            "output_index": self._places[index],
            "content_index": 0,
            "delta": text,
        }

    def _reasoning_delta(self, event: ReasoningDelta) -> list[HostEvent]:
        index, part = event.output_index, event.part_index
        shown = self._thinking.take(event.text) if self._thinking else []
        if not self._shows_box:
            return shown
        if index not in self._places:
            opened = ReasoningItem(self._ids[index], status="in_progress")
            shown.append(_item_added(self._take_place(index), reasoning_output(opened)))
        place = self._places[index]
        if not event.is_summary:
            kind, position = "response.reasoning_text.delta", {"content_index": part}
        else:
            kind, position = "response.reasoning_summary_text.delta", {"summary_index": part}
            if (index, part) not in self._summary_parts:
                self._summary_parts.add((index, part))
                shown.append(_summary_part_added(place, part))
        shown.append({"type": kind, "output_index": place, **position, "delta": event.text})
        return shown

    def _arguments_delta(self, index: int, text: str) -> HostEvent:
        return {
            "type": "response.function_call_arguments.delta",
            "output_index": self._places[index],
            "delta": text,
        }

    def _finish(self, index: int, item: OutputItem) -> list[HostEvent]:
        before: list[HostEvent] = []
        match item:
            case MessageItem():
                self._sources.add(item.citations)
                content = [output_text_part(item.text)]
                stored = [message_output(item, item.status, content)]
            case ReasoningItem():
                seconds = self._clock() - self._started_at[index]
                before = self._thinking.finish(seconds) if self._thinking else []
                if index not in self._places and not item.details:
                    return before
                kept = item if self._shows_box else replace(item, summary=[], content=[])
                stored = [reasoning_output(kept) | {"duration": round(seconds)}]
            case FunctionCallItem():
                self._calls[item.call_id] = self._take_place(index), item
                stored = [function_call_item(item)]
            case ToolOutputItem():
                self._answered.add(item.call_id)
                output = _item_added(self._make_place(index), tool_output_item(item))
                return [*self._close_segment(), output, *self._failed_call(item)]
            case ServerToolItem():
                stored = server_tool_cards(item)
                # A call with its result ends a message of the next turn's history.
                before = self._close_segment() if len(stored) > 1 else []
            case _:
                return []
        place = self._take_place(index)
        self._segment.add(place, item, stored[0])
        more = [_item_done(self._next_place(), card) for card in stored[1:]]
        return [*before, _item_done(place, stored[0]), *more]

    def _close_segment(self) -> list[HostEvent]:
        """Store how the parts stood, where that would be forgotten."""
        again = self._segment.close()
        return [_item_done(*again)] if again else []

    def _end(self, event: ResponseFinished) -> list[HostEvent]:
        # An `output` of the API's own would replace all that was shown.
        response: HostEvent = {"id": event.response_id, "output": []}
        if event.usage is not None:
            response["usage"] = usage_of_response(event.usage)
        notice = _CUT_NOTICES.get(event.incomplete_reason, "The answer is incomplete.")
        return [
            *self._close_segment(),
            *self._calls_left_open(),
            *self._sources.events(),
            *([status_event(notice, done=True)] if event.incomplete_reason else []),
            *self._closing_status(event.usage),
            {"type": "response.completed", "response": response},
        ]

    def _fail(self, error: PipeError, usage: Usage | None) -> list[HostEvent]:
        failure = _failure_event(error, usage)
        if not self._speaks_errors:
            return [failure]
        words = MessageItem(new_item_id("msg"), error.for_person())
        spoken = message_output(words, "completed", [output_text_part(words.text)])
        return [_item_added(self._next_place(), spoken), failure]

    def _closing_status(self, usage: Usage | None) -> list[HostEvent]:
        parts = [self._closing_words]
        if self._show_usage and usage is not None:
            own = describe_usage(usage, self._clock() - self._asked_at)
            parts += [own, describe_spending(self._spending)]
        line = " \N{MIDDLE DOT} ".join(filter(None, parts))
        return [status_event(line, done=True)] if line else self._end_waiting()

    def _end_waiting(self) -> list[HostEvent]:
        """A status that said "trying again" must not go on saying it."""
        was_open, self._status_is_open = self._status_is_open, False
        return [status_event("", done=True)] if was_open else []

    def _take_place(self, index: int) -> int:
        if index not in self._places:
            self._places[index] = self._next_place()
        return self._places[index]

    def _failed_call(self, output: ToolOutputItem) -> list[HostEvent]:
        """The call anew, where it came to nothing: its card says so."""
        place, call = self._calls.get(output.call_id, (0, None))
        if call is None or call.status != "completed" or output.status == "completed":
            return []
        return [_item_done(place, function_call_item(call) | {"status": output.status})]

    def _calls_left_open(self) -> list[HostEvent]:
        """The calls anew that Open WebUI is to run: 0.11 asks only about those in progress."""
        return [
            _item_done(place, function_call_item(call) | {"status": "in_progress"})
            for call_id, (place, call) in self._calls.items()
            if call_id not in self._answered and call.status == "completed"
        ]

    def _make_place(self, index: int) -> int:
        """The place of an output, before those of later calls that came sooner."""
        place = self._count - sum(1 for known in self._outputs if known > index)
        self._outputs.append(index)
        self._count += 1
        return place

    def _next_place(self) -> int:
        self._count += 1
        return self._count - 1


def _item_added(place: int, item: HostEvent) -> HostEvent:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def _item_done(place: int, item: HostEvent) -> HostEvent:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def _summary_part_added(place: int, part: int) -> HostEvent:
    return {
        "type": "response.reasoning_summary_part.added",
        "output_index": place,
        "summary_index": part,
        "part": {"type": "summary_text", "text": ""},
    }


def _failure_event(error: PipeError, usage: Usage | None) -> HostEvent:
    # Not `response.failed`: Open WebUI would overlook the usage in that.
    failure: HostEvent = {"error": {"message": error.for_person()}}
    return failure | {"usage": usage_of_response(usage)} if usage is not None else failure
