"""Fewer, larger pieces: sending one costs the server far more than reading one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import groupby

from ..api.events import Event, ReasoningDelta, TextDelta

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
WINDOW_SECONDS = 0.03
_LATENESS_FACTOR = 4.0
_LONGEST_EXTENSION_SECONDS = 0.3


def merge_deltas(batch: list[Event]) -> list[Event]:
    """Join neighbouring deltas of the same text; what stands between two keeps its place."""
    merged: list[Event] = []
    for place, run in groupby(batch, key=_place_of_delta):
        events = list(run)
        if place is None or len(events) == 1:
            merged.extend(events)
        else:
            merged.append(_join(events))
    return merged


def _place_of_delta(event: Event) -> tuple[int, int, bool] | int | None:
    if isinstance(event, TextDelta):
        return event.output_index
    if isinstance(event, ReasoningDelta):
        return event.output_index, event.part_index, event.is_summary
    return None


def _join(events: list[Event]) -> Event:
    deltas = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
    return replace(deltas[0], text="".join(delta.text for delta in deltas))


class Pacer:
    """Lets a window pass after text was shown, so that the next read brings all that came in it.

    The first words are not held back, and while the model is silent there is no timer. Where the
    server is so busy that it wakes late, windows grow: it then sends fewer, larger pieces.
    """

    __slots__ = ("_clock", "_late", "_sleep")

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sleep = sleep
        self._clock = clock
        self._late = 0.0

    async def pause(self, batch: list[Event]) -> None:
        """Wait, if this batch showed text."""
        if not any(isinstance(event, TextDelta | ReasoningDelta) for event in batch):
            return
        window = WINDOW_SECONDS + min(_LATENESS_FACTOR * self._late, _LONGEST_EXTENSION_SECONDS)
        begun = self._clock()
        await self._sleep(window)
        self._late = max(self._clock() - begun - window, 0.0)
