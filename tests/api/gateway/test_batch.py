"""Neighbouring deltas become one."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    TextDelta,
)
from open_webui_openrouter_pipe.api.gateway.batch import EventBatch

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
    merged = EventBatch(deepcopy(batch)).close()
    assert letter_by_letter(merged) == before
    places = [place(event) for event in merged]
    assert all(one is None or one != next_ for one, next_ in itertools.pairwise(places))


def test_a_batch_of_deltas_is_one_delta() -> None:
    pieces = [TextDelta(0, piece) for piece in "Hello"]
    assert EventBatch(pieces).close() == [TextDelta(0, "Hello")]
