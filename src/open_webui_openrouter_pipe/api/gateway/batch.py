"""The Events of one network read, with neighbouring deltas joined as they come.

A piece that is sent costs the server far more than one that is read, and what is joined at once
leaves nothing behind for the garbage collector, whose rounds grow with the whole server's memory.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..events import ArgumentsDelta, Delta, Event, ReasoningDelta, TextDelta


class EventBatch:
    """Takes Events in their order; deltas of the same text that follow each other become one."""

    __slots__ = ("_events", "_last", "_pieces")

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[Event] = []
        self._last: Event | None = None
        self._pieces: list[str] = []
        """What is still to be joined to the last Event."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take the next Event; it is the batch's from now on."""
        last = self._last
        if isinstance(event, Delta) and type(event) is type(last) and _is_same_text(event, last):
            self._pieces.append(event.text)
            return
        self._join()
        self._last = event
        self._events.append(event)

    def close(self) -> list[Event]:
        """The Events of the batch."""
        self._join()
        return self._events

    def _join(self) -> None:
        if self._pieces and isinstance(last := self._last, Delta):
            last.text += "".join(self._pieces)
            self._pieces.clear()


def _is_same_text(one: Event, other: Event | None) -> bool:
    """Whether the two, which are of one kind, add to the same text."""
    match one, other:
        case ReasoningDelta(), ReasoningDelta():
            return (one.output_index, one.part_index, one.is_summary) == (
                other.output_index,
                other.part_index,
                other.is_summary,
            )
        case (TextDelta(), TextDelta()) | (ArgumentsDelta(), ArgumentsDelta()):
            return one.output_index == other.output_index
        case _:
            return False
