"""Thinking in status lines: true sentences, short, seldom, and over when the thought is."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFinished,
    TextDelta,
    Usage,
)
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents
from open_webui_openrouter_pipe.streaming.thinking_status import PAUSE_SECONDS, ThinkingStatus

Json = dict[str, Any]


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines(events: list[Json]) -> list[tuple[str, bool]]:
    data = [event["event"]["data"] for event in events if "event" in event]
    return [(entry["description"], entry["done"]) for entry in data]


def test_a_line_is_the_newest_whole_sentence(clock: Clock) -> None:
    thinking = ThinkingStatus(clock)
    assert thinking.take("The user wants ") == []
    shown = thinking.take("a poem. It must rhyme well. Perhaps abo")
    assert lines(shown) == [("It must rhyme well.", False)]


def test_there_is_a_pause_after_a_line(clock: Clock) -> None:
    thinking = ThinkingStatus(clock)
    thinking.take("This is the first line. ")
    clock.now += PAUSE_SECONDS - 0.1
    assert thinking.take("This is the second line. ") == []
    clock.now += 0.1
    assert lines(thinking.take("This is the third")) == [("This is the second line.", False)]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("**Planning the answer**\n\nI", "Planning the answer"),
        ("今日は天気がとてもいいですね。次", "今日は天気がとてもいいですね。"),
        ("OK. Hm. Yes! ", None),
        ("We need version 3.11 of it", None),
    ],
)
def test_headings_and_other_scripts_end_too_and_crumbs_are_left(
    text: str, line: str | None, clock: Clock
) -> None:
    assert lines(ThinkingStatus(clock).take(text)) == ([(line, False)] if line else [])


def test_a_long_sentence_is_cut_between_words(clock: Clock) -> None:
    [(line, _)] = lines(ThinkingStatus(clock).take("wordy " * 60 + "end. "))
    assert len(line) <= 160 and line.endswith("wordy…")
    [(line, _)] = lines(ThinkingStatus(clock).take("x" * 300 + ". "))
    assert len(line) == 160


THOUGHT = "I should greet them back."
TURN: list[Event] = [
    ItemStarted(0, ReasoningItem("r")),
    ReasoningDelta(0, 0, THOUGHT, is_summary=True),
    ItemFinished(0, ReasoningItem("r", [THOUGHT], details=[{"data": "sealed"}])),
    ItemStarted(1, MessageItem("m")),
    TextDelta(1, "Hello"),
    ItemFinished(1, MessageItem("m", "Hello")),
    ResponseFinished("gen-1", "a/one", Usage(input_tokens=1, output_tokens=1)),
]


def shown_in(mode: str, clock: Clock) -> list[Json]:
    renderer = ResponseEvents(thinking=mode, clock=clock)
    shown: list[Json] = []
    for event in TURN:
        shown += renderer.render([event])
        clock.now += 1.0
    return shown


def test_a_thought_without_a_border_is_told_at_its_end_and_closed(clock: Clock) -> None:
    assert lines(shown_in("status", clock)) == [(THOUGHT, False), ("Thought for 2 s", True)]
    assert lines(shown_in("open_webui", clock)) == []


def test_in_the_status_alone_the_words_stay_out_of_the_message(clock: Clock) -> None:
    shown = shown_in("status", clock)
    [stored] = [e["item"] for e in shown if e.get("item", {}).get("type") == "reasoning"]
    assert stored["reasoning_details"] == [{"data": "sealed"}]
    assert stored["summary"] == [] and "content" not in stored
    assert THOUGHT not in str([event for event in shown if "event" not in event])


def test_in_both_places_the_box_is_as_ever(clock: Clock) -> None:
    box = shown_in("open_webui", Clock())
    both = shown_in("both", clock)
    assert [event for event in both if "event" not in event] == box
    assert len(lines(both)) == 2


def test_an_open_thought_nobody_may_read_leaves_nothing(clock: Clock) -> None:
    renderer = ResponseEvents(thinking="status", clock=clock)
    shown = renderer.render(
        [ItemStarted(0, ReasoningItem("r")), ItemFinished(0, ReasoningItem("r"))]
    )
    assert shown == []
