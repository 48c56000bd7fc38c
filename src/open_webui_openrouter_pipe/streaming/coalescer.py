"""Fewer, larger pieces: sending one costs the server far more than reading one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import groupby

from ..api.events import Event, ReasoningDelta, TextDelta

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
WINDOW_SECONDS = 0.03


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


async def pace(
    batch: list[Event], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Let a window pass after text was shown, so that the next read brings all that came in it.

    The first words are not held back, and while the model is silent there is no timer.
    """
    if any(isinstance(event, TextDelta | ReasoningDelta) for event in batch):
        await sleep(WINDOW_SECONDS)
