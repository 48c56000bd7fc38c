"""Neighbouring deltas become one, and text is followed by a pause."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
)
from open_webui_openrouter_pipe.streaming.coalescer import WINDOW_SECONDS, Pacer, merge_deltas

EVENT = st.one_of(
    st.builds(TextDelta, st.integers(0, 1), st.text("abc", min_size=1, max_size=3)),
    st.builds(
        ReasoningDelta,
        st.integers(0, 1),
        st.integers(0, 1),
        st.text("abc", min_size=1, max_size=3),
        is_summary=st.booleans(),
    ),
    st.builds(ItemStarted, st.integers(0, 1), st.just(MessageItem("m"))),
    st.builds(ItemFinished, st.integers(0, 1), st.just(MessageItem("m"))),
)


def place(event: Event) -> Any:
    match event:
        case TextDelta(index):
            return "text", index
        case ReasoningDelta(index, part, _, is_summary):
            return "reasoning", index, part, is_summary
        case _:
            return None


def letter_by_letter(events: list[Event]) -> list[Any]:
    return [
        entry
        for event in events
        for entry in (
            [(place(event), letter) for letter in event.text]
            if isinstance(event, TextDelta | ReasoningDelta)
            else [event]
        )
    ]


@given(st.lists(EVENT, max_size=20))
def test_merging_changes_neither_text_nor_order(batch: list[Event]) -> None:
    before = letter_by_letter(batch)
    merged = merge_deltas(batch)
    assert letter_by_letter(merged) == before
    places = [place(event) for event in merged]
    assert all(one is None or one != next_ for one, next_ in itertools.pairwise(places))


def test_a_batch_of_deltas_is_one_delta() -> None:
    assert merge_deltas([TextDelta(0, piece) for piece in "Hello"]) == [TextDelta(0, "Hello")]


@pytest.mark.parametrize(
    ("batch", "pauses"),
    [
        ([TextDelta(0, "Hi")], [WINDOW_SECONDS]),
        ([ReasoningDelta(0, 0, "hm", is_summary=True)], [WINDOW_SECONDS]),
        ([ResponseStarted("g", "m"), ItemStarted(0, MessageItem("m"))], []),
        ([ResponseFinished("g", "m", None)], []),
        ([], []),
    ],
)
async def test_only_text_is_followed_by_a_pause(batch: list[Event], pauses: list[float]) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await Pacer(sleep, clock=lambda: sum(slept)).pause(batch)
    assert slept == pauses


async def test_a_server_that_wakes_late_sends_fewer_pieces_until_it_keeps_up() -> None:
    lateness = [0.01, 5.0, 0.0, 0.0]
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def clock() -> float:
        return sum(slept) + sum(lateness[: len(slept)])

    pacer = Pacer(sleep, clock)
    for _ in lateness:
        await pacer.pause([TextDelta(0, "Hi")])
    extensions = [seconds - WINDOW_SECONDS for seconds in slept]
    assert extensions == pytest.approx([0.0, 0.04, 0.3, 0.0], abs=1e-9)
