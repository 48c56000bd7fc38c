"""A chat in Open WebUI: the exact events its reducer gets."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    OtherItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
    Usage,
)
from open_webui_openrouter_pipe.core.errors import BusyError
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents

END = ResponseFinished("gen-1", "a/one", None)


def render(*events: Event, seconds_between: float = 0.0) -> list[dict[str, Any]]:
    """Render each event by itself, with so much time between one and the next."""
    clock = {"now": 50.0}
    renderer = ResponseEvents(clock=lambda: clock["now"])
    shown: list[dict[str, Any]] = []
    for event in events:
        shown += renderer.render([event])
        clock["now"] += seconds_between
    return shown


def added(place: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(place: int, item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def message(item_id: str, status: str, *texts: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {
        "type": "message",
        "id": item_id,
        "status": status,
        "role": "assistant",
        "content": content,
    }


def part_added(place: int) -> dict[str, Any]:
    return {
        "type": "response.content_part.added",
        "output_index": place,
        "content_index": 0,
        "part": {"type": "output_text", "text": "", "annotations": []},
    }


def text_delta(place: int, text: str) -> dict[str, Any]:
    return {
        "type": "response.output_text.delta",
        "output_index": place,
        "content_index": 0,
        "delta": text,
    }


COMPLETED = {"type": "response.completed", "response": {"id": "gen-1", "output": []}}


def test_a_text_answer() -> None:
    usage = Usage(input_tokens=2, output_tokens=3, cost=0.5)
    assert render(
        ResponseStarted("gen-1", "a/one"),
        ItemStarted(0, MessageItem("m1")),
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        ItemFinished(0, MessageItem("m1", "Hello")),
        ResponseFinished("gen-1", "a/one", usage),
    ) == [
        added(0, message("m1", "in_progress")),
        part_added(0),
        text_delta(0, "Hel"),
        text_delta(0, "lo"),
        done(0, message("m1", "completed", "Hello")),
        {
            "type": "response.completed",
            "response": {
                "id": "gen-1",
                "output": [],
                "usage": {"input_tokens": 2, "output_tokens": 3, "cost": 0.5},
            },
        },
    ]


def test_a_summary_of_the_thinking_opens_its_card_with_the_first_word() -> None:
    assert render(
        ItemStarted(0, ReasoningItem("r1")),
        ReasoningDelta(0, 0, "First", is_summary=True),
        ReasoningDelta(0, 0, " thought", is_summary=True),
        ReasoningDelta(0, 1, "Second", is_summary=True),
        ItemFinished(0, ReasoningItem("r1", ["First thought", "Second"])),
        seconds_between=1.0,
    ) == [
        added(0, {"type": "reasoning", "id": "r1", "status": "in_progress", "summary": []}),
        *summary_part(0, "First"),
        summary_delta(0, " thought"),
        *summary_part(1, "Second"),
        done(
            0,
            {
                "type": "reasoning",
                "id": "r1",
                "status": "completed",
                "summary": [
                    {"type": "summary_text", "text": "First thought"},
                    {"type": "summary_text", "text": "Second"},
                ],
                "duration": 4,
            },
        ),
    ]


def summary_part(part: int, text: str) -> list[dict[str, Any]]:
    opened = {
        "type": "response.reasoning_summary_part.added",
        "output_index": 0,
        "summary_index": part,
        "part": {"type": "summary_text", "text": ""},
    }
    return [opened, summary_delta(part, text)]


def summary_delta(part: int, text: str) -> dict[str, Any]:
    return {
        "type": "response.reasoning_summary_text.delta",
        "output_index": 0,
        "summary_index": part,
        "delta": text,
    }


def test_raw_thinking_goes_as_content() -> None:
    assert render(
        ItemStarted(0, ReasoningItem("r1")),
        ReasoningDelta(0, 0, "hm", is_summary=False),
        ItemFinished(0, ReasoningItem("r1", content=["hm"])),
    ) == [
        added(0, {"type": "reasoning", "id": "r1", "status": "in_progress", "summary": []}),
        {
            "type": "response.reasoning_text.delta",
            "output_index": 0,
            "content_index": 0,
            "delta": "hm",
        },
        done(
            0,
            {
                "type": "reasoning",
                "id": "r1",
                "status": "completed",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "hm"}],
                "duration": 0,
            },
        ),
    ]


@pytest.mark.parametrize("hidden", [ReasoningItem("r1"), OtherItem("w1", "of_the_future")])
def test_what_cannot_be_read_shows_no_card_and_takes_no_place(hidden: Any) -> None:
    assert render(
        ItemStarted(0, hidden),
        ItemFinished(0, hidden),
        ItemStarted(1, MessageItem("m1")),
        TextDelta(1, "Hi"),
        ItemFinished(1, MessageItem("m1", "Hi")),
        END,
    ) == [
        added(0, message("m1", "in_progress")),
        part_added(0),
        text_delta(0, "Hi"),
        done(0, message("m1", "completed", "Hi")),
        COMPLETED,
    ]


def test_overlapping_items_keep_their_places() -> None:
    shown = render(
        ItemStarted(0, ReasoningItem("r1")),
        ItemStarted(1, MessageItem("m1")),
        TextDelta(1, "Hi"),
        ReasoningDelta(0, 0, "hm", is_summary=False),
        ItemFinished(1, MessageItem("m1", "Hi")),
        ItemFinished(0, ReasoningItem("r1", content=["hm"])),
    )
    assert [
        (event["type"].removeprefix("response."), event["output_index"]) for event in shown
    ] == [
        ("output_item.added", 0),
        ("content_part.added", 0),
        ("output_text.delta", 0),
        ("output_item.added", 1),
        ("reasoning_text.delta", 1),
        ("output_item.done", 0),
        ("output_item.done", 1),
    ]


def test_the_phase_of_a_message_is_kept() -> None:
    shown = render(
        ItemStarted(0, MessageItem("m1", phase="commentary")),
        ItemFinished(0, MessageItem("m1", "Hi", phase="commentary")),
    )
    assert [event["item"]["phase"] for event in shown if "item" in event] == ["commentary"] * 2


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("max_output_tokens", "length limit"),
        ("content_filter", "content filter"),
        ("something_new", "incomplete"),
    ],
)
def test_an_answer_that_was_cut_says_so_and_keeps_its_usage(reason: str, words: str) -> None:
    notice, completed = render(ResponseFinished("gen-1", "a/one", Usage(cost=0.5), reason))
    assert notice["event"]["type"] == "status"
    assert notice["event"]["data"]["done"] is True
    assert words in notice["event"]["data"]["description"]
    assert completed == {
        "type": "response.completed",
        "response": {"id": "gen-1", "output": [], "usage": {"cost": 0.5}},
    }


def test_where_only_text_is_seen_a_failure_is_said_behind_what_had_come() -> None:
    error = BusyError("Too much to do.", "Try again.")
    renderer = ResponseEvents(speaks_errors=True)

    shown = renderer.render([ItemStarted(0, MessageItem("m1")), TextDelta(0, "Half an")])
    shown += renderer.render([ResponseFailed(error)])

    *_, spoken, failure = shown
    assert (spoken["type"], spoken["output_index"]) == ("response.output_item.added", 1)
    assert spoken["item"]["content"][0]["text"] == failure["error"]["message"]
    assert "Try again." in failure["error"]["message"]


def test_a_failure_is_an_error_with_cause_next_step_and_what_it_cost() -> None:
    error = BusyError("Too much.", "Come back.")
    assert render(ResponseFailed(error, Usage(cost=0.5))) == [
        {"error": {"message": "Too much.\n\nCome back."}, "usage": {"cost": 0.5}}
    ]
    assert render(ResponseFailed(error)) == [{"error": {"message": "Too much.\n\nCome back."}}]
