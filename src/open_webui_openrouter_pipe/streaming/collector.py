"""Events put in order: every item opens once, its deltas add up to its text, and it closes once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..api.events import (
    ArgumentsDelta,
    Citation,
    CitationFound,
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MediaItem,
    MessageItem,
    OtherItem,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ServerToolItem,
    TextDelta,
    ToolOutputItem,
)
from ..core.ids import new_item_id


class Collector:
    """Repairs one stream, so that the renderers need no doubt.

    Streams leave deltas out, open an item late or never close it; items may overlap.
    State is kept by `output_index`, for ids change between events. Text whose place holds
    something else, or is closed already, gets an item of its own: nothing received is lost.
    No two items have the same id, no two calls the same call id, and a call that will never be
    run gets an output that says so: without one Open WebUI would run it.
    """

    __slots__ = (
        "_call_ids",
        "_item_ids",
        "_open",
        "_own_places",
        "_seen",
        "_shown",
        "_strays",
        "_unanswered",
        "ended",
    )

    def __init__(self, taken_call_ids: Iterable[str] = ()) -> None:
        self._open: dict[int, OutputItem] = {}
        self._seen: set[int] = set()
        self._shown: dict[int, str] = {}
        """The words of the items that are closed."""
        self._strays: dict[tuple[int, type[OutputItem]], int] = {}
        """Where the text went that found no room at its place."""
        self._own_places = 0
        self._item_ids: set[str] = set()
        self._call_ids: dict[str, int | None] = dict.fromkeys(taken_call_ids)
        """At which place each call id is used; at none in this answer, where it is an older one."""
        self._unanswered: dict[str, FunctionCallItem] = {}
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
            case ArgumentsDelta():
                self._take_arguments(event, ordered)
            case CitationFound():
                self._take_citation(event, ordered)
            case ItemStarted():
                self._start(event.output_index, event.item, ordered)
            case ItemFinished():
                self._finish(event, ordered)
            case ResponseFinished():
                self._end(event, ordered, is_cut=bool(event.incomplete_reason))
            case ResponseFailed():
                self._end(event, ordered, is_cut=True)
            case _:
                ordered.append(event)

    def _start(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        if index in self._seen:
            return
        self._seen.add(index)
        opened = self._open[index] = self._with_own_ids(index, _without_text(item))
        ordered.append(ItemStarted(index, _without_text(opened)))

    def _with_own_ids(self, index: int, item: OutputItem) -> OutputItem:
        if item.id in self._item_ids:
            item = replace(item, id=new_item_id("item"))
        self._item_ids.add(item.id)
        if isinstance(item, FunctionCallItem):
            item.call_id = self._call_id_for(index, item.call_id, new_item_id("call"))
        return item

    def _call_id_for(self, index: int, call_id: str, instead: str) -> str:
        """The call id, if no other call has it; some vendors count anew in every round."""
        free = call_id and self._call_ids.setdefault(call_id, index) == index
        return call_id if free else instead

    def _take_text(self, event: TextDelta, ordered: list[Event]) -> None:
        if not isinstance(self._open.get(event.output_index), MessageItem):
            event = replace(event, output_index=self._room_for(event, MessageItem(""), ordered))
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.text += event.text
            ordered.append(event)

    def _take_reasoning(self, event: ReasoningDelta, ordered: list[Event]) -> None:
        if not isinstance(self._open.get(event.output_index), ReasoningItem):
            event = replace(event, output_index=self._room_for(event, ReasoningItem(""), ordered))
        item = self._open.get(event.output_index)
        if isinstance(item, ReasoningItem):
            part = _add_to_part(item.summary if event.is_summary else item.content, event)
            moved = part != event.part_index
            ordered.append(replace(event, part_index=part) if moved else event)

    def _room_for(
        self, event: TextDelta | ReasoningDelta, empty: OutputItem, ordered: list[Event]
    ) -> int:
        """The place of the item that takes this text; of a closed one that has it already."""
        index = event.output_index
        self._start(index, empty, ordered)
        if type(self._open.get(index)) is type(empty) or event.text in self._shown.get(index, ""):
            return index
        if (index, type(empty)) not in self._strays:
            self._strays[index, type(empty)] = self._own_place()
        stray = self._strays[index, type(empty)]
        self._start(stray, empty, ordered)
        return stray

    def _own_place(self) -> int:
        """A place that nobody has: an even number below zero; the odd ones are for think tags."""
        self._own_places += 1
        return -2 * self._own_places

    def _take_arguments(self, event: ArgumentsDelta, ordered: list[Event]) -> None:
        item = self._open.get(event.output_index)
        if isinstance(item, FunctionCallItem):
            item.arguments += event.text
            ordered.append(event)

    def _take_citation(self, event: CitationFound, ordered: list[Event]) -> None:
        self._start(event.output_index, MessageItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.citations.append(event.citation)

    def _finish(self, event: ItemFinished, ordered: list[Event]) -> None:
        index, finished = event.output_index, event.item
        self._start(index, finished, ordered)
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if type(finished) is not type(opened):
            finished = opened  # what was shown as one kind cannot end as another
        match finished, opened:
            case MessageItem(), MessageItem():
                missing = _missing_text(index, opened.text, finished.text)
                self._shown[index] = opened.text + "".join(delta.text for delta in missing)
                ordered.extend(missing)
                _complete_message(finished, opened)
            case ReasoningItem(), ReasoningItem():
                ordered.extend(_missing_reasoning(index, opened, finished))
                finished.summary = _fuller(finished.summary, opened.summary)
                finished.content = _fuller(finished.content, opened.content)
                self._shown[index] = "".join([*finished.summary, *finished.content])
            case FunctionCallItem(), FunctionCallItem():
                finished.arguments = finished.arguments or opened.arguments
                finished.call_id = self._call_id_for(index, finished.call_id, opened.call_id)
                finished.name = finished.name or opened.name
            case _:
                pass
        finished.id = opened.id
        self._close(index, finished, ordered)

    def _close(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        ordered.append(ItemFinished(index, item))
        if isinstance(item, ToolOutputItem):
            self._unanswered.pop(item.call_id, None)
        elif isinstance(item, FunctionCallItem):
            self._unanswered[item.call_id] = item
            if item.status != "completed":
                self._refuse(item, ordered)

    def _refuse(self, call: FunctionCallItem, ordered: list[Event]) -> None:
        words = "The call was cut off and not run."
        if call.status == "completed":
            words = "The answer broke off before this call was answered."
        output = ToolOutputItem("", call.call_id, words, status="failed")
        self._finish(ItemFinished(self._own_place(), output), ordered)

    def _end(self, event: Event, ordered: list[Event], *, is_cut: bool) -> None:
        for index, item in sorted(self._open.items(), key=lambda entry: entry[0]):
            if not isinstance(item, OtherItem):
                item.status = "incomplete" if is_cut else "completed"
            self._close(index, item, ordered)
        self._open.clear()
        if is_cut:
            for call in list(self._unanswered.values()):
                self._refuse(call, ordered)
        self.ended = True
        ordered.append(event)

    def add(self, index: int, item: OutputItem) -> list[Event]:
        """Put in a whole item of the pipe's own; it may stand between two rounds."""
        ordered: list[Event] = []
        self._finish(ItemFinished(index, item), ordered)
        return ordered

    def open_calls(self) -> list[FunctionCallItem]:
        """The calls that have no output yet."""
        return list(self._unanswered.values())

    def go_on(self) -> None:
        """Take another round: what looked like the end was none."""
        self.ended = False


def _without_text(item: OutputItem) -> OutputItem:
    match item:
        case MessageItem():
            return MessageItem(item.id or new_item_id("msg"), phase=item.phase)
        case ReasoningItem():
            return ReasoningItem(item.id or new_item_id("rs"))
        case FunctionCallItem():
            call_id = item.call_id or new_item_id("call")
            return FunctionCallItem(item.id or new_item_id("fc"), call_id, item.name)
        case ServerToolItem() | ImageItem() | MediaItem():
            return replace(item, id=item.id or new_item_id("st"))
        case ToolOutputItem():
            return replace(item, id=item.id or new_item_id("fco"))
        case _:
            return item


def _complete_message(finished: MessageItem, opened: MessageItem) -> None:
    if opened.text.startswith(finished.text):
        finished.text = opened.text
    finished.is_refusal = finished.is_refusal or opened.is_refusal
    finished.phase = finished.phase or opened.phase
    finished.citations = _each_once([*opened.citations, *finished.citations])


def _each_once(citations: list[Citation]) -> list[Citation]:
    """One citation a page; the one that quotes it is worth more than the one that does not."""
    by_url: dict[str, Citation] = {}
    for citation in citations:
        known = by_url.get(citation.url)
        if known is None or (citation.excerpt and not known.excerpt):
            by_url[citation.url] = citation
    return list(by_url.values())


def _add_to_part(parts: list[str], event: ReasoningDelta) -> int:
    # An index is the API's word, not a reason to make room for a billion parts.
    position = min(event.part_index, len(parts))
    if position == len(parts):
        parts.append("")
    parts[position] += event.text
    return position


def _fuller(finished: list[str], opened: list[str]) -> list[str]:
    """The words the item closes with, unless fewer than those that were shown."""
    return finished if len("".join(finished)) >= len("".join(opened)) else opened


def _missing_text(index: int, shown: str, whole: str) -> list[TextDelta]:
    missing = whole.removeprefix(shown) if whole.startswith(shown) else ""
    return [TextDelta(index, missing)] if missing else []


def _missing_reasoning(index: int, opened: ReasoningItem, finished: ReasoningItem) -> list[Event]:
    if opened.summary or opened.content:
        return []
    parts = [(number, text, True) for number, text in enumerate(finished.summary)]
    if not any(finished.summary):
        parts = [(number, text, False) for number, text in enumerate(finished.content)]
    return [ReasoningDelta(index, *part) for part in parts if part[1]]
