"""Events put in order: every item opens once, its deltas add up to its text, and it closes once."""

from __future__ import annotations

from ..api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    TextDelta,
)
from ..core.ids import new_item_id


class Collector:
    """Repairs one stream, so that the renderers need no doubt.

    Streams leave deltas out, open an item late or never close it; items may overlap.
    State is kept by `output_index`, for ids change between events.
    """

    __slots__ = ("_open", "_seen", "ended")

    def __init__(self) -> None:
        self._open: dict[int, OutputItem] = {}
        self._seen: set[int] = set()
        self.ended = False
        """Whether the answer's end was given out; nothing comes after it."""

    def take(self, batch: list[Event]) -> list[Event]:
        """Return the batch with what it lacked; text is never given out twice."""
        ordered: list[Event] = []
        for event in batch:
            if not self.ended:
                self._take_one(event, ordered)
        return ordered

    def _take_one(self, event: Event, ordered: list[Event]) -> None:
        match event:
            case TextDelta():
                self._take_text(event, ordered)
            case ReasoningDelta():
                self._take_reasoning(event, ordered)
            case ItemStarted():
                self._start(event.output_index, event.item, ordered)
            case ItemFinished():
                self._finish(event, ordered)
            case ResponseFinished():
                self._end("completed", event, ordered)
            case ResponseFailed():
                self._end("incomplete", event, ordered)
            case _:
                ordered.append(event)

    def _start(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        if index in self._seen:
            return
        self._seen.add(index)
        opened = self._open[index] = _without_text(item)
        ordered.append(ItemStarted(index, _without_text(opened)))

    def _take_text(self, event: TextDelta, ordered: list[Event]) -> None:
        self._start(event.output_index, MessageItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.text += event.text
            ordered.append(event)

    def _take_reasoning(self, event: ReasoningDelta, ordered: list[Event]) -> None:
        self._start(event.output_index, ReasoningItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, ReasoningItem):
            _add_to_part(item.summary if event.is_summary else item.content, event)
            ordered.append(event)

    def _finish(self, event: ItemFinished, ordered: list[Event]) -> None:
        index, finished = event.output_index, event.item
        self._start(index, finished, ordered)
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if type(finished) is not type(opened):
            finished = opened  # what was shown as one kind cannot end as another
        if isinstance(finished, MessageItem) and isinstance(opened, MessageItem):
            ordered.extend(_missing_text(index, opened.text, finished.text))
            finished.text = finished.text or opened.text
            finished.phase = finished.phase or opened.phase
        elif isinstance(finished, ReasoningItem) and isinstance(opened, ReasoningItem):
            ordered.extend(_missing_reasoning(index, opened, finished))
            finished.summary = finished.summary if any(finished.summary) else opened.summary
            finished.content = finished.content if any(finished.content) else opened.content
        finished.id = opened.id
        ordered.append(ItemFinished(index, finished))

    def _end(self, status: str, event: Event, ordered: list[Event]) -> None:
        for index, item in sorted(self._open.items(), key=lambda entry: entry[0]):
            if isinstance(item, MessageItem | ReasoningItem):
                item.status = status
            ordered.append(ItemFinished(index, item))
        self._open.clear()
        self.ended = True
        ordered.append(event)


def _without_text(item: OutputItem) -> OutputItem:
    match item:
        case MessageItem():
            return MessageItem(item.id or new_item_id("msg"), phase=item.phase)
        case ReasoningItem():
            return ReasoningItem(item.id or new_item_id("rs"))
        case _:
            return item


def _add_to_part(parts: list[str], event: ReasoningDelta) -> None:
    # An index is the API's word, not a reason to make room for a billion parts.
    position = min(event.part_index, len(parts))
    if position == len(parts):
        parts.append("")
    parts[position] += event.text


def _missing_text(index: int, shown: str, whole: str) -> list[Event]:
    missing = whole.removeprefix(shown) if whole.startswith(shown) else ""
    return [TextDelta(index, missing)] if missing else []


def _missing_reasoning(index: int, opened: ReasoningItem, finished: ReasoningItem) -> list[Event]:
    if opened.summary or opened.content:
        return []
    parts = [(number, text, True) for number, text in enumerate(finished.summary)]
    if not any(finished.summary):
        parts = [(number, text, False) for number, text in enumerate(finished.content)]
    return [ReasoningDelta(index, *part) for part in parts if part[1]]
