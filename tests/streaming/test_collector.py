"""Events put in order, whatever order and gaps they come with."""

from __future__ import annotations

from collections import defaultdict
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    ArgumentsDelta,
    Citation,
    CitationFound,
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
    OtherItem,
    OutputItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    ServerToolItem,
    TextDelta,
    Usage,
)
from open_webui_openrouter_pipe.api.gateway.batch import EventBatch
from open_webui_openrouter_pipe.core.errors import InternalError
from open_webui_openrouter_pipe.core.json_codec import encode_json
from open_webui_openrouter_pipe.streaming.collector import Collector
from open_webui_openrouter_pipe.streaming.completion_chunks import CompletionChunks
from open_webui_openrouter_pipe.streaming.completion_dict import CompletionDict
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents

END = ResponseFinished("gen-1", "a/one", None)
FAILURE = ResponseFailed(InternalError("It broke."), Usage(output_tokens=1))


def take(*events: Event) -> list[Event]:
    """All events in one batch."""
    return Collector().take(list(events))


def text(index: int, piece: str) -> TextDelta:
    return TextDelta(index, piece)


def thought(index: int, piece: str, part: int = 0, *, is_summary: bool = True) -> ReasoningDelta:
    return ReasoningDelta(index, part, piece, is_summary=is_summary)


def test_a_whole_stream_passes_as_it_is() -> None:
    stream: list[Event] = [
        ResponseStarted("gen-1", "a/one"),
        ItemStarted(0, MessageItem("m1")),
        text(0, "Hel"),
        text(0, "lo"),
        ItemFinished(0, MessageItem("m1", "Hello")),
        END,
    ]
    assert take(*stream) == stream


def test_an_item_that_never_opened_is_opened() -> None:
    opened, first, finished, _ = take(text(0, "Hi"), ItemFinished(0, MessageItem("m1", "Hi")), END)
    assert isinstance(opened, ItemStarted)
    assert first == text(0, "Hi")
    assert isinstance(finished, ItemFinished)
    assert finished.item.id == opened.item.id != ""


def test_an_item_that_never_closed_is_closed_with_what_it_has() -> None:
    events = take(ItemStarted(0, MessageItem("m1")), text(0, "Hi"), END)
    assert events[2:] == [ItemFinished(0, MessageItem("m1", "Hi")), END]


def test_what_was_open_at_a_failure_is_closed_as_incomplete() -> None:
    events = take(
        ItemStarted(0, MessageItem("m1")),
        text(0, "Hi"),
        ItemStarted(1, ReasoningItem("r1")),
        thought(1, "hm"),
        FAILURE,
    )
    assert events[-3:] == [
        ItemFinished(0, MessageItem("m1", "Hi", status="incomplete")),
        ItemFinished(1, ReasoningItem("r1", ["hm"], status="incomplete")),
        FAILURE,
    ]


@pytest.mark.parametrize(("shown", "rest"), [("", "Hello"), ("Hel", "lo"), ("Hello", "")])
def test_text_that_was_left_out_is_given_out_before_the_item_closes(shown: str, rest: str) -> None:
    deltas: list[Event] = [text(0, shown)] if shown else []
    events = take(*deltas, ItemFinished(0, MessageItem("m1", "Hello")), END)
    expected: list[Event] = [*deltas, *([text(0, rest)] if rest else [])]
    assert events[1:-2] == expected


def test_the_api_has_the_last_word_on_a_text() -> None:
    *_, finished, _ = take(text(0, "Helo"), ItemFinished(0, MessageItem("m1", "Hello")), END)
    assert isinstance(finished, ItemFinished)
    assert finished.item == MessageItem(finished.item.id, "Hello")


@pytest.mark.parametrize(
    ("item", "missing"),
    [
        (ReasoningItem("r1", ["a", "b"]), [thought(0, "a"), thought(0, "b", 1)]),
        (ReasoningItem("r1", content=["raw"]), [thought(0, "raw", is_summary=False)]),
        (ReasoningItem("r1", ["short"], ["raw"]), [thought(0, "short")]),
        (ReasoningItem("r1", details=[{"data": "xyz"}]), []),
    ],
)
def test_thinking_that_was_left_out_is_given_out(item: ReasoningItem, missing: list[Event]) -> None:
    assert take(ItemFinished(0, item)) == [
        ItemStarted(0, ReasoningItem("r1")),
        *missing,
        ItemFinished(0, item),
    ]


def test_thinking_that_was_shown_is_not_shown_again() -> None:
    item = ReasoningItem("r1", ["The whole thought"], ["raw"])
    events = take(thought(0, "The whole"), ItemFinished(0, item))
    assert [event for event in events if isinstance(event, ReasoningDelta)] == [
        thought(0, "The whole")
    ]


@pytest.mark.parametrize("is_summary", [True, False])
def test_a_closing_item_without_words_does_not_wipe_the_ones_shown(is_summary: bool) -> None:
    *_, finished = take(
        thought(0, "hm", is_summary=is_summary),
        ItemFinished(0, ReasoningItem("r1", summary=[""], content=[""])),
    )
    assert isinstance(finished, ItemFinished) and isinstance(finished.item, ReasoningItem)
    assert "hm" in (*finished.item.summary, *finished.item.content)


def test_an_items_id_stays_the_one_it_opened_with() -> None:
    events = take(ItemStarted(0, MessageItem("m1")), ItemFinished(0, MessageItem("other", "Hi")))
    assert events[-1] == ItemFinished(0, MessageItem("m1", "Hi"))


def test_overlapping_items_keep_apart() -> None:
    stream: list[Event] = [
        ItemStarted(0, ReasoningItem("r1")),
        thought(0, "hm", is_summary=False),
        ItemStarted(1, MessageItem("m1")),
        text(1, "Hel"),
        thought(0, "!", is_summary=False),
        text(1, "lo"),
        ItemFinished(1, MessageItem("m1", "Hello")),
        ItemFinished(0, ReasoningItem("r1", content=["hm!"])),
        END,
    ]
    assert take(*stream) == stream


def test_an_item_that_closes_as_another_kind_keeps_what_was_shown() -> None:
    events = take(
        ItemStarted(0, MessageItem("m1")),
        text(0, "Hi"),
        ItemFinished(0, ReasoningItem("r1", ["hm"])),
        END,
    )
    assert events[2:-1] == [ItemFinished(0, MessageItem("m1", "Hi"))]


def words(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta | ReasoningDelta))


def test_text_at_the_place_of_something_else_gets_a_message_of_its_own() -> None:
    events = take(
        ItemStarted(0, ReasoningItem("r1")),
        thought(0, "hm"),
        text(0, "Hel"),
        text(0, "lo"),
        ItemFinished(0, ReasoningItem("r1", ["hm"])),
        END,
    )
    finished = [event.item for event in events if isinstance(event, ItemFinished)]
    assert finished == [ReasoningItem("r1", ["hm"]), MessageItem(finished[1].id, "Hello")]
    assert words(events) == "hmHello"


def test_thinking_at_the_place_of_something_else_gets_an_item_of_its_own() -> None:
    events = take(ItemStarted(0, OtherItem("x", "y")), thought(0, "hm"), thought(0, "!"), END)
    finished = [event.item for event in events if isinstance(event, ItemFinished)]
    assert ReasoningItem(finished[0].id, ["hm!"]) in finished


def test_text_that_comes_after_its_item_closed_is_kept_unless_it_was_shown() -> None:
    closed = ItemFinished(0, MessageItem("m1", "Hello"))
    late = take(ItemStarted(0, MessageItem("m1")), text(0, "Hel"), closed, text(0, "lo"), END)
    assert words(late) == "Hello"
    lost = take(text(0, "Hi"), ItemFinished(0, MessageItem("")), text(0, " there"), END)
    assert words(lost) == "Hi there"


def test_thinking_that_comes_after_its_item_closed_is_kept_unless_it_was_shown() -> None:
    closed = ItemFinished(0, ReasoningItem("r1", ["hm"]))
    assert words(take(closed, thought(0, "hm"), thought(0, "so"), END)) == "hmso"


@pytest.mark.parametrize(
    ("finished", "kept"),
    [(["a", "bc"], ["a", "bc"]), (["ab"], ["ab"]), (["b"], ["a", "b"]), ([], ["a", "b"])],
)
def test_of_thinking_the_fuller_text_stays(finished: list[str], kept: list[str]) -> None:
    [*_, last] = take(
        thought(0, "a"), thought(0, "b", 1), ItemFinished(0, ReasoningItem("r", finished))
    )
    assert isinstance(last, ItemFinished) and isinstance(last.item, ReasoningItem)
    assert last.item.summary == kept


def test_a_part_far_away_makes_no_room_for_those_between() -> None:
    assert take(thought(0, "a", 10**9))[1] == thought(0, "a", 0)


def test_what_was_open_when_an_answer_was_cut_is_incomplete() -> None:
    cut = ResponseFinished("gen-1", "a/one", None, "max_output_tokens")
    call = FunctionCallItem("f", "c", "n")
    events = take(ItemStarted(0, call), ArgumentsDelta(0, '{"a'), cut)
    assert events[2] == ItemFinished(0, FunctionCallItem("f", "c", "n", '{"a', "incomplete"))


def test_arguments_without_their_call_pass_by() -> None:
    assert take(ArgumentsDelta(0, "{}"), END) == [END]


@pytest.mark.parametrize(
    ("shown", "closing", "arguments"),
    [("", '{"a":1}', '{"a":1}'), ('{"a":1}', "", '{"a":1}'), ('{"a"', '{"a":1}', '{"a":1}')],
)
def test_a_call_closes_with_all_that_is_known_of_it(
    shown: str, closing: str, arguments: str
) -> None:
    events = take(
        ItemStarted(0, FunctionCallItem("f", "c", "n")),
        *([ArgumentsDelta(0, shown)] if shown else []),
        ItemFinished(0, FunctionCallItem("g", "", "", closing)),
    )
    assert events[-1] == ItemFinished(0, FunctionCallItem("f", "c", "n", arguments))


def test_a_message_keeps_its_citations_refusal_and_phase() -> None:
    page, other = Citation("https://a.example", "A"), Citation("https://b.example", "B")
    events = take(
        ItemStarted(0, MessageItem("m", phase="commentary")),
        text(0, "No."),
        CitationFound(0, page),
        ItemFinished(0, MessageItem("m", "No.", is_refusal=True, citations=[other, page])),
    )
    assert events[-1] == ItemFinished(
        0,
        MessageItem("m", "No.", is_refusal=True, citations=[page, other], phase="commentary"),
    )


@pytest.mark.parametrize("make", [ServerToolItem, ImageItem])
def test_an_item_without_an_id_gets_one(make: Any) -> None:
    empty = make("", "openrouter:x")
    opened, finished = take(ItemStarted(0, empty), ItemFinished(0, empty))
    assert isinstance(opened, ItemStarted) and isinstance(finished, ItemFinished)
    assert opened.item.id == finished.item.id != ""


def test_nothing_comes_after_the_end() -> None:
    collector = Collector()
    assert collector.take([END, text(0, "late"), FAILURE]) == [END]
    assert collector.ended
    assert collector.take([text(0, "later"), END]) == []


INDEX = st.integers(0, 2)
PART = st.integers(0, 2)
TEXT = st.text("ab", min_size=1, max_size=3)
TEXTS = st.lists(st.text("ab", max_size=3), max_size=3)
ITEM = (
    st.builds(MessageItem, st.sampled_from(["", "m"]), st.text("ab", max_size=4))
    | st.builds(ReasoningItem, st.sampled_from(["", "r"]), TEXTS, TEXTS)
    | st.builds(OtherItem, st.just("x"), st.just("web_search_call"))
)
EVENT = st.one_of(
    st.builds(TextDelta, INDEX, TEXT),
    st.builds(ReasoningDelta, INDEX, PART, TEXT, is_summary=st.booleans()),
    st.builds(ItemStarted, INDEX, ITEM),
    st.builds(ItemFinished, INDEX, ITEM),
    st.builds(ResponseStarted, st.text(max_size=2), st.just("a/one")),
)
STREAM = st.lists(EVENT, max_size=15).flatmap(
    lambda events: st.builds(
        lambda again, end, late: [*events, *deepcopy(again), end, *late],
        st.lists(st.sampled_from(events), max_size=5) if events else st.just([]),
        st.sampled_from([END, FAILURE]),
        st.lists(EVENT, max_size=3),
    )
)


@given(STREAM)
def test_any_stream_comes_out_in_order(stream: list[Event]) -> None:
    opened: dict[int, OutputItem] = {}
    closed: set[int] = set()
    shown: defaultdict[int, str] = defaultdict(str)
    collector = Collector()
    ordered = [event for one in stream for event in collector.take([one])]
    for event in ordered:
        match event:
            case ItemStarted(index, item):
                assert index not in opened, "an item opens once"
                opened[index] = item
            case TextDelta(index, piece):
                assert isinstance(opened[index], MessageItem)
                assert index not in closed, "an item's text comes before it closes"
                shown[index] += piece
            case ReasoningDelta(index, _, piece):
                assert isinstance(opened[index], ReasoningItem)
                assert index not in closed, "an item's text comes before it closes"
                shown[index] += piece
            case ItemFinished(index, item):
                assert index not in closed, "an item closes once"
                assert type(item) is type(opened[index])
                assert item.id == opened[index].id
                assert_all_shown(item, shown[index])
                closed.add(index)
            case _:
                pass
    assert closed == set(opened), "every item closes"
    ends = [event for event in ordered if isinstance(event, ResponseFinished | ResponseFailed)]
    assert ends == ordered[-1:], "the end comes once, and last"


def assert_all_shown(item: OutputItem, shown: str) -> None:
    if isinstance(item, MessageItem):
        # Where the API's own text says something else than its deltas did, there is no rest.
        assert item.text == shown or not item.text.startswith(shown)
    elif isinstance(item, ReasoningItem):
        assert bool("".join([*item.summary, *item.content])) == bool(shown)


@given(st.lists(STREAM, min_size=1, max_size=2))
def test_any_stream_can_be_rendered_for_every_reader(batches: list[list[Event]]) -> None:
    for renderer in (
        ResponseEvents(),
        CompletionChunks("m"),
        CompletionDict("m", with_output=True),
    ):
        collector = Collector()
        pieces: list[Any] = [
            piece
            for batch in batches
            for piece in renderer.render(collector.take(EventBatch(deepcopy(batch)).close()))
        ]
        for piece in pieces:
            encode_json(piece.decode() if isinstance(piece, bytes) else piece)
        added = [piece for piece in pieces if kind(piece) == "response.output_item.added"]
        done = [piece for piece in pieces if kind(piece) == "response.output_item.done"]
        places = list(range(len(added)))
        assert [piece["output_index"] for piece in added] == places
        # Reasoning may be stored once more, with the order of the parts around it.
        assert sorted({piece["output_index"] for piece in done}) == places


def kind(piece: object) -> object:
    return piece.get("type") if isinstance(piece, dict) else None
