"""API clients: the bytes of a stream, and the object of a whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import (
    Event,
    FunctionCallItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
    ToolOutputItem,
    Usage,
)
from open_webui_openrouter_pipe.core.errors import BusyError
from open_webui_openrouter_pipe.streaming.completion_chunks import CompletionChunks
from open_webui_openrouter_pipe.streaming.completion_dict import CompletionDict

STARTED = ResponseStarted("gen-1", "a/one-2026")
USAGE = Usage(input_tokens=2, output_tokens=0, cost=0.5)
USAGE_SAID = {"prompt_tokens": 2, "completion_tokens": 0, "cost": 0.5}
THINKING: list[Event] = [
    ItemStarted(0, ReasoningItem("r1")),
    ReasoningDelta(0, 0, "One", is_summary=True),
    ReasoningDelta(0, 1, "Two", is_summary=True),
    ItemFinished(0, ReasoningItem("r1", ["One", "Two"])),
]
HELLO: list[Event] = [
    ItemStarted(1, MessageItem("m1")),
    TextDelta(1, "Hel"),
    TextDelta(1, "lo"),
    ItemFinished(1, MessageItem("m1", "Hello")),
]
ENDS = [("", "stop"), ("max_output_tokens", "length"), ("content_filter", "content_filter")]
FAILURE = BusyError("Too much.", "Come back.")
ERROR = {"message": "Too much.\n\nCome back.", "type": "BusyError"}


def end(reason: str = "", usage: Usage | None = USAGE) -> ResponseFinished:
    return ResponseFinished("gen-1", "a/one", usage, reason)


def chunks(*events: Event) -> list[dict[str, Any]]:
    """The objects of the stream; each piece is one whole server-sent event, [DONE] the last."""
    pieces = CompletionChunks("pipe.a.one").render(list(events))
    for piece in pieces:
        assert piece.startswith(b"data: ")
        assert piece.endswith(b"\n\n")
        assert piece.count(b"\n") == 2
    assert pieces.pop() == b"data: [DONE]\n\n"
    return [json.loads(piece.removeprefix(b"data: ")) for piece in pieces]


def whole(*events: Event, with_output: bool = False) -> dict[str, Any]:
    [answer] = CompletionDict("pipe.a.one", with_output=with_output).render(list(events))
    return answer


def test_every_chunk_names_the_answer_and_the_model_that_was_asked_for() -> None:
    for chunk in chunks(STARTED, *HELLO, end()):
        assert chunk["object"] == "chat.completion.chunk"
        assert chunk["id"] == "gen-1"
        assert chunk["model"] == "pipe.a.one"
        assert isinstance(chunk["created"], int)


def test_a_stream_is_deltas_a_finish_and_the_usage() -> None:
    *deltas, finish, usage = chunks(STARTED, *THINKING, *HELLO, end())
    assert [chunk["choices"][0]["delta"] for chunk in deltas] == [
        {"role": "assistant", "reasoning": "One"},
        {"reasoning": "\n\nTwo"},
        {"content": "Hel"},
        {"content": "lo"},
    ]
    assert finish["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert usage["choices"] == []
    assert usage["usage"] == USAGE_SAID


@pytest.mark.parametrize(("reason", "finish_reason"), ENDS)
def test_a_stream_says_why_it_ended(reason: str, finish_reason: str) -> None:
    [finish] = chunks(STARTED, end(reason, usage=None))
    assert finish["choices"][0]["finish_reason"] == finish_reason


def test_a_stream_that_failed_ends_with_the_error() -> None:
    _, usage, error = chunks(STARTED, TextDelta(0, "Hel"), ResponseFailed(FAILURE, USAGE))
    assert usage["usage"] == USAGE_SAID
    assert error == {"error": ERROR}


def test_text_with_line_ends_stays_one_event() -> None:
    [delta, _] = chunks(STARTED, TextDelta(0, "a\n\ndata: b\r\n"), end(usage=None))
    assert delta["choices"][0]["delta"]["content"] == "a\n\ndata: b\r\n"


def test_the_whole_answer_in_one_object() -> None:
    answer = whole(STARTED, *THINKING, *HELLO, end())
    created = answer.pop("created")
    assert isinstance(created, int)
    assert answer == {
        "id": "gen-1",
        "object": "chat.completion",
        "model": "pipe.a.one",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "reasoning": "One\n\nTwo"},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE_SAID,
    }


@pytest.mark.parametrize(("reason", "finish_reason"), ENDS)
def test_the_whole_answer_says_why_it_ended(reason: str, finish_reason: str) -> None:
    assert whole(STARTED, *HELLO, end(reason))["choices"][0]["finish_reason"] == finish_reason


def test_usage_nobody_told_is_absent() -> None:
    assert "usage" not in whole(STARTED, *HELLO, end(usage=None))


def test_in_a_chat_the_object_carries_the_items() -> None:
    sealed = ItemFinished(2, ReasoningItem("r2", details=[{"data": "xyz"}]))
    empty = ItemFinished(3, ReasoningItem("r3"))
    answer = whole(STARTED, *THINKING, *HELLO, sealed, empty, end(), with_output=True)
    assert [(item["type"], item["id"]) for item in answer["output"]] == [
        ("reasoning", "r1"),
        ("message", "m1"),
        ("reasoning", "r2"),
    ]
    assert answer["output"][2]["reasoning_details"] == [{"data": "xyz"}]
    assert answer["output"][1]["content"] == [
        {"type": "output_text", "text": "Hello", "annotations": []}
    ]


def test_a_failure_before_the_first_word_is_just_an_error() -> None:
    assert whole(ResponseFailed(FAILURE)) == {"error": ERROR}


def test_a_failure_after_some_text_keeps_the_text_and_the_cost() -> None:
    partial = ItemFinished(0, MessageItem("m1", "Hel", status="incomplete"))
    answer = whole(STARTED, partial, ResponseFailed(FAILURE, USAGE), with_output=True)
    assert answer["error"] == ERROR
    assert answer["usage"] == USAGE_SAID
    assert answer["choices"][0]["finish_reason"] == "error"
    assert answer["choices"][0]["message"]["content"] == "Hel"
    assert answer["output"][0]["status"] == "incomplete"


def test_in_a_chat_the_card_of_a_call_that_came_to_nothing_says_so() -> None:
    calls = [FunctionCallItem("fc", call_id, "add", "{}") for call_id in ("good", "bad")]
    outputs = [
        ToolOutputItem("out", "good", "2"),
        ToolOutputItem("out", "bad", "Error: no", status="failed"),
    ]
    events = [ItemFinished(place, item) for place, item in enumerate([*calls, *outputs])]
    answer = whole(STARTED, *events, end(), with_output=True)
    states = [(item["call_id"], item["status"]) for item in answer["output"]]
    assert states == [("good", "completed"), ("bad", "failed")] * 2
