"""Thinking between tags becomes reasoning, however the text is cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFinished,
    TextDelta,
)
from open_webui_openrouter_pipe.streaming.collector import Collector
from open_webui_openrouter_pipe.streaming.think_tags import ThinkTags


def read(pieces: list[str], *, whole: str | None = None) -> tuple[str, str, list[object]]:
    """The thinking, the answer and the finished items of a message in these pieces."""
    tags, collector = ThinkTags(), Collector()
    stream: list[Event] = [
        ItemStarted(0, MessageItem("m")),
        *(TextDelta(0, piece) for piece in pieces),
        ItemFinished(0, MessageItem("m", "".join(pieces) if whole is None else whole)),
        ResponseFinished("r", "a/b", None),
    ]
    events = [event for one in stream for event in collector.take(tags.split([one]))]
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    answer = "".join(event.text for event in events if isinstance(event, TextDelta))
    return thought, answer, [e.item for e in events if isinstance(e, ItemFinished)]


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[start:end] for start, end in pairwise(ends)]


@given(st.lists(st.integers(0, 500)), st.sampled_from(["think", "thinking", "reasoning"]))
def test_a_block_at_the_beginning_is_thinking_under_any_cut(places: list[int], tag: str) -> None:
    text = f"\n<{tag}>I add < two.</{tag}>\n\nFour, not <b>five</b>."
    thought, answer, items = read(cut(text, places))
    assert (thought, answer) == ("I add < two.", "Four, not <b>five</b>.")
    assert [type(item) for item in items] == [ReasoningItem, MessageItem]
    assert isinstance(items[1], MessageItem)
    assert items[1].text == "Four, not <b>five</b>."


@given(st.lists(st.integers(0, 500)))
def test_a_tag_further_on_is_part_of_the_answer(places: list[int]) -> None:
    text = "The tag <think>is</think> text here."
    assert read(cut(text, places))[:2] == ("", text)


def test_text_that_found_no_room_and_thinking_between_tags_do_not_meet() -> None:
    tags, collector = ThinkTags(), Collector()
    stream: list[Event] = [
        ItemFinished(0, MessageItem("a", "Said.")),
        TextDelta(0, "Said more."),  # its item is closed: it gets one of its own
        TextDelta(1, "<think>Hm.</think>Answer."),
        ResponseFinished("r", "a/b", None),
    ]
    events = [event for one in stream for event in collector.take(tags.split([one]))]
    places = [event.output_index for event in events if isinstance(event, ItemStarted)]
    texts = [event.item.text for event in finished(events, MessageItem)]
    assert len(set(places)) == len(places) == 4
    assert sorted(texts) == ["Answer.", "Said more.", "Said."]
    assert [event.item.content for event in finished(events, ReasoningItem)] == [["Hm."]]


def finished(events: list[Event], kind: Any) -> list[Any]:
    return [e for e in events if isinstance(e, ItemFinished) and isinstance(e.item, kind)]


def test_what_only_begins_like_a_tag_is_text() -> None:
    assert read(["<thi", "s>"])[:2] == ("", "<this>")
    assert read(["<th"])[:2] == ("", "<th")


def test_thinking_that_never_closes_stays_thinking() -> None:
    thought, answer, items = read(["<think>On and o", "n </thi"])
    assert (thought, answer) == ("On and on </thi", "")
    assert [type(item) for item in items] == [ReasoningItem, MessageItem]


def test_a_message_that_comes_whole_is_split_too() -> None:
    thought, answer, items = read([], whole="<think>Hm.</think>Yes.")
    assert (thought, answer) == ("Hm.", "Yes.")
    assert [type(item) for item in items] == [ReasoningItem, MessageItem]
