"""One answer over all its rounds: numbered through, in order, with what it has cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..api.events import (
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MediaItem,
    MessageItem,
    OutputItem,
    PlacedEvent,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    ToolOutputItem,
    Usage,
)
from .collector import Collector
from .think_tags import ThinkTags
from .usage import sum_usage


class Transcript:
    """Reads what comes of each round, and adds what the pipe itself has to say.

    `taken_call_ids` are those of the conversation so far: the API wants each of them once.
    """

    def __init__(self, taken_call_ids: Iterable[str] = ()) -> None:
        self._tags = ThinkTags()
        self._collector = Collector(taken_call_ids)
        self._has_started = False
        self._first_place = 0
        """Where this round begins; the API counts from zero in each."""
        self._next_place = 0
        """Behind the last item that came of this round."""
        self._order: list[int] = []
        """The places of this round's items, as they opened."""
        self._items: dict[int, OutputItem] = {}
        """The finished items of this round, by place."""
        self._is_uncounted = False
        """Whether this round gave something of which the cost is not known yet."""
        self._usages: list[Usage | None] = []
        self.last_usage: Usage | None = None
        """What the newest round has taken."""

    @property
    def ended(self) -> bool:
        """Whether the answer is over, as far as it looks."""
        return self._collector.ended

    @property
    def has_answer(self) -> bool:
        """Whether this round said, drew or played anything for the reader."""
        return any(
            isinstance(item, ImageItem | MediaItem)
            or (isinstance(item, MessageItem) and item.text.strip())
            for item in self._items.values()
        )

    def go_on(self) -> None:
        """The end of this round is not the end of the answer."""
        self._collector.go_on()

    def begin_round(self) -> None:
        """Take what comes now as another round, behind the outputs of this one's calls."""
        self._next_place += len(self._calls())
        self._first_place = self._next_place
        self._order.clear()
        self._items.clear()

    def take(self, batch: list[Event]) -> list[Event]:
        """Put a batch of this round in order; its end tells what all rounds have taken."""
        events = [self._placed(event) for event in batch if self._is_new(event)]
        ordered = self._collector.take(self._tags.split(events))
        self._keep(ordered)
        for event in ordered:
            if isinstance(event, ResponseFinished | ResponseFailed):
                self._count(event)
        return ordered

    def taken(self) -> Usage | None:
        """What the rounds that are over have taken."""
        return sum_usage(self._usages)

    def charge(self, usage: Usage) -> None:
        """Count what a refused request has cost."""
        self._usages.insert(0, usage)

    def answer_call(self, call: FunctionCallItem, output: ToolOutputItem) -> list[Event]:
        """Put a call's output behind this round's items, in the order of their calls."""
        return self._collector.add(self._next_place + self._calls().index(call), output)

    def say(self, text: str) -> list[Event]:
        """Add words of the pipe's own, behind all that is there."""
        self.begin_round()
        return self._collector.add(self._next_place, MessageItem("", text))

    def open_calls(self) -> list[FunctionCallItem]:
        """The calls that wait for their output, in the order the model made them."""
        waiting = {call.call_id for call in self._collector.open_calls()}
        return [call for call in self._calls() if call.call_id in waiting]

    def round_items(self) -> list[OutputItem]:
        """The items of this round, in the order the model gave.

        Thinking told apart from a message's text is left out: the API never gave such an item.
        """
        return [
            self._items[place]
            for place in self._order
            if place in self._items
            and not (place < 0 and isinstance(self._items[place], ReasoningItem))
        ]

    def _calls(self) -> list[FunctionCallItem]:
        return [item for item in self.round_items() if isinstance(item, FunctionCallItem)]

    def _is_new(self, event: Event) -> bool:
        """Whether the reader does not know it yet: an answer starts once, however many rounds."""
        if not isinstance(event, ResponseStarted):
            return True
        is_first, self._has_started = not self._has_started, True
        return is_first

    def _placed(self, event: Event) -> Event:
        """The event at its place in the whole answer; its reader may go on from it as it is."""
        if self._first_place and isinstance(event, PlacedEvent):
            return replace(event, output_index=event.output_index + self._first_place)
        return event

    def _keep(self, events: list[Event]) -> None:
        for event in events:
            if not isinstance(event, ItemStarted | ItemFinished):
                continue
            place, item = event.output_index, event.item
            if isinstance(item, ToolOutputItem):
                continue
            self._next_place = max(self._next_place, place + 1)
            if isinstance(event, ItemStarted):
                self._order.append(place)
                self._is_uncounted = True
            else:
                self._items[place] = item

    def _count(self, end: ResponseFinished | ResponseFailed) -> None:
        """Let the end tell what all rounds took; a request that gave nothing took nothing."""
        if end.usage is not None or self._is_uncounted or isinstance(end, ResponseFinished):
            self._usages.append(end.usage)
            self.last_usage = end.usage
        self._is_uncounted = False
        end.usage = sum_usage(self._usages)
