"""The /responses stream becomes the same Events under any chunking; the unknown passes by."""

from __future__ import annotations

import itertools
import json
import logging
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
    PictureSketched,
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
from open_webui_openrouter_pipe.api.gateway.items import read_citation, read_item, read_usage
from open_webui_openrouter_pipe.api.gateway.responses_reader import (
    ResponsesReader,
    read_finished_answer,
)
from open_webui_openrouter_pipe.core.errors import StreamInterruptedError
from open_webui_openrouter_pipe.core.logging_system import LOG

Json = dict[str, Any]
COMPLETED = {"type": "response.completed", "response": {"id": "gen-1", "model": "a/b"}}


def wire(*events: Any) -> bytes:
    encoded = (e if isinstance(e, bytes) else b"data: " + json.dumps(e).encode() for e in events)
    return b"".join(event + b"\n\n" for event in encoded)


def read(*chunks: bytes) -> list[Event]:
    reader = ResponsesReader()
    events = [event for chunk in chunks for event in reader.feed(chunk)]
    return EventBatch([*events, *reader.end()]).close()


def described(events: list[Event]) -> list[str]:
    """Events as text, because two errors are never equal."""
    return [
        event.error.for_person() if isinstance(event, ResponseFailed) else repr(event)
        for event in events
    ]


def delta(kind: str, text: Any, **place: int) -> Json:
    return {"type": f"response.{kind}.delta", "item_id": "i", **place, "delta": text}


@pytest.mark.parametrize(
    ("sent", "event"),
    [
        (
            {"type": "response.created", "response": {"id": "gen-1", "model": "a/b"}},
            ResponseStarted("gen-1", "a/b"),
        ),
        (
            {
                "type": "response.output_item.added",
                "output_index": 2,
                "item": {"id": "m", "type": "message", "status": "in_progress", "content": []},
            },
            ItemStarted(2, MessageItem("m", status="in_progress")),
        ),
        (delta("output_text", "Hi", output_index=1, content_index=0), TextDelta(1, "Hi")),
        (delta("output_text", "Hi"), TextDelta(0, "Hi")),
        (delta("refusal", "No", output_index=1), TextDelta(1, "No")),
        (
            delta("reasoning_summary_text", "So", output_index=1, summary_index=3),
            ReasoningDelta(1, 3, "So", is_summary=True),
        ),
        (
            delta("reasoning_text", "Hm", output_index=1, content_index=2),
            ReasoningDelta(1, 2, "Hm", is_summary=False),
        ),
        (
            {
                "type": "response.output_item.done",
                "output_index": 1,
                "item": {"id": "f", "type": "function_call", "name": "n"},
            },
            ItemFinished(1, FunctionCallItem("f", "", "n")),
        ),
        (
            delta("function_call_arguments", '{"a"', output_index=1),
            ArgumentsDelta(1, '{"a"'),
        ),
        (
            {
                "type": "response.output_text.annotation.added",
                "output_index": 1,
                "annotation": {"type": "url_citation", "url": "https://a.example", "title": "A"},
            },
            CitationFound(1, Citation("https://a.example", "A")),
        ),
        (
            {"type": "response.output_item.done", "item": {"id": "m", "type": "message"}},
            ItemFinished(0, MessageItem("m")),
        ),
        (COMPLETED, ResponseFinished("gen-1", "a/b", None)),
        (
            {
                "type": "response.incomplete",
                "response": {
                    "status": "incomplete",
                    "incomplete_details": {"reason": "max_output_tokens"},
                },
            },
            ResponseFinished("", "", None, "max_output_tokens"),
        ),
        (
            {"type": "response.incomplete", "response": {"status": "incomplete"}},
            ResponseFinished("", "", None, "incomplete"),
        ),
    ],
)
def test_each_event_is_read(sent: Json, event: Event) -> None:
    assert ResponsesReader().feed(wire(sent)) == [event]


@pytest.mark.parametrize(
    "sent",
    [
        b": OPENROUTER PROCESSING",
        b"data: [DONE]",
        b"data: [1]",
        b"data: null",
        {"type": "response.in_progress", "response": {}},
        {"type": "response.content_part.added", "part": {}},
        {"type": "response.of_the_future", "delta": "?"},
        {"type": "response.fusion_call.panel.failed", "error": {"message": "one of many"}},
        {"type": 7},
        {},
        delta("output_text", ""),
        delta("output_text", None),
        delta("output_text", {"text": "?"}),
        delta("reasoning_text", None),
        delta("reasoning_summary_text", 5),
        delta("function_call_arguments", ""),
        {"type": "response.output_text.annotation.added", "annotation": {"type": "file_path"}},
        {"type": "response.output_item.added", "output_index": 0},
        {"type": "response.output_item.done", "output_index": 0, "item": "message"},
        {"type": "response.output_item.done", "output_index": "0", "item": {"type": "message"}},
        {"type": "response.output_item.added", "output_index": None, "item": {"type": "message"}},
    ],
)
def test_what_says_nothing_or_is_unknown_passes_by(sent: Any) -> None:
    assert read(wire(sent, COMPLETED)) == [ResponseFinished("gen-1", "a/b", None)]


def test_items_that_came_only_with_the_end_are_read() -> None:
    message = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "HELLO"}]}
    ended = {"id": "gen-1", "model": "a/b", "status": "completed", "output": [message]}
    events = read(wire({"type": "response.completed", "response": ended}))
    assert events == [
        ItemFinished(0, MessageItem("m", "HELLO")),
        ResponseFinished("gen-1", "a/b", None),
    ]


def test_an_end_that_reports_a_failure_is_none() -> None:
    ended = {"status": "failed", "error": {"code": "server_error", "message": "Broke"}}
    (event,) = read(wire({"type": "response.completed", "response": ended}))
    assert isinstance(event, ResponseFailed)
    assert "Broke" in event.error.cause


@pytest.mark.parametrize("index", [-1, "2", None, 1.5])
def test_an_index_that_is_none_counts_as_the_first(index: Any) -> None:
    delta = {"type": "response.output_text.delta", "output_index": index, "delta": "a"}
    assert read(wire(delta, COMPLETED))[0] == TextDelta(0, "a")


def test_an_event_that_is_no_json_is_logged_by_its_size_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LOG, "propagate", True)
    with caplog.at_level(logging.WARNING, LOG.name):
        assert len(read(wire(b'data: {"secret words', COMPLETED))) == 1
    assert "14 bytes" in caplog.text
    assert "secret" not in caplog.text


def test_a_picture_is_seen_while_it_is_drawn() -> None:
    sketch = {"type": "response.image_generation_call.partial_image", "output_index": 3}
    assert read(wire(sketch | {"partial_image_b64": "AAAA"}))[0] == PictureSketched(
        3, "data:image/png;base64,AAAA"
    )


def test_half_an_emoji_costs_neither_text_nor_event() -> None:
    sent = [delta("output_text", "a\ud83d"), delta("output_text", "\ude00b")]
    assert ResponsesReader().feed(wire(*sent)) == [TextDelta(0, "a\ufffd\ufffdb")]


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (
            {
                "type": "response.failed",
                "response": {
                    "status": "failed",
                    "error": {"code": "server_error", "message": "Broke"},
                    "error_type": "provider_unavailable",
                    "usage": {"input_tokens": 4},
                },
            },
            "OpenRouter (502): Broke",
        ),
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "Broke", "param": None},
            "OpenRouter (429): Broke",
        ),
        ({"type": "error", "error": {"code": 500, "message": "Broke"}}, "OpenRouter (500): Broke"),
        (
            {"type": "response.error", "error": {"code": "502", "message": "Broke"}},
            "OpenRouter (502): Broke",
        ),
        ({"error": {"code": 504, "message": "Broke"}}, "OpenRouter (504): Broke"),
        ({"error": "Broke"}, "OpenRouter: Broke"),
    ],
    ids=["D", "F", "G error", "G response.error", "bare", "bare text"],
)
def test_each_failure_in_a_stream_ends_the_answer(sent: Json, cause: str) -> None:
    text = delta("output_text", "Hi")
    first, last = read(wire(text, sent, text, COMPLETED))
    assert first == TextDelta(0, "Hi")
    assert isinstance(last, ResponseFailed)
    assert last.error.cause == cause
    assert last.usage == (Usage(input_tokens=4) if "response" in sent else None)


@pytest.mark.parametrize("body", [b"", wire(delta("output_text", "Hi")), b"data: [DONE]\n\n"])
def test_a_stream_without_its_end_is_interrupted(body: bytes) -> None:
    last = read(body)[-1]
    assert isinstance(last, ResponseFailed)
    assert isinstance(last.error, StreamInterruptedError)


@pytest.mark.parametrize("index", [-3, True, "1", 1.5, None, {}])
def test_text_at_a_place_that_is_none_is_kept(index: Any) -> None:
    assert ResponsesReader().feed(wire(delta("output_text", "Hi", output_index=index))) == [
        TextDelta(0, "Hi")
    ]


def test_an_end_without_its_blank_line_counts() -> None:
    assert read(wire(COMPLETED).rstrip()) == [ResponseFinished("gen-1", "a/b", None)]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {
                "id": "m",
                "type": "message",
                "phase": "commentary",
                "content": [
                    {"type": "output_text", "text": "a"},
                    {"type": "refusal", "refusal": "b"},
                    None,
                ],
            },
            MessageItem("m", "ab", is_refusal=True, phase="commentary"),
        ),
        (
            {
                "id": "m",
                "type": "message",
                "content": [
                    {
                        "type": "output_text",
                        "text": 7,
                        "annotations": [
                            {"type": "url_citation", "url": "https://a.example", "content": "x"},
                            {"type": "file_citation", "file_id": "f"},
                        ],
                    }
                ],
            },
            MessageItem("m", citations=[Citation("https://a.example", excerpt="x")]),
        ),
        (
            {
                "id": "r",
                "type": "reasoning",
                "summary": [{"type": "summary_text", "text": "s"}],
                "content": [{"type": "reasoning_text", "text": "c"}],
                "encrypted_content": "e",
                "signature": "g",
                "format": "f",
                "status": "incomplete",
            },
            ReasoningItem(
                "r",
                ["s"],
                ["c"],
                [
                    {"type": "reasoning.summary", "summary": "s", "id": "r", "format": "f"},
                    {
                        "type": "reasoning.text",
                        "text": "c",
                        "signature": "g",
                        "id": "r",
                        "format": "f",
                    },
                    {"type": "reasoning.encrypted", "data": "e", "id": "r", "format": "f"},
                ],
                "incomplete",
            ),
        ),
        (
            {"id": "r", "type": "reasoning", "content": [{"text": "only for the eyes"}]},
            ReasoningItem("r", content=["only for the eyes"]),
        ),
        (
            {"type": "reasoning", "summary": None, "content": None, "encrypted_content": None},
            ReasoningItem(""),
        ),
        (
            {
                "id": "f",
                "type": "function_call",
                "call_id": "c",
                "name": "add",
                "arguments": '{"a":1}',
                "status": "incomplete",
            },
            FunctionCallItem("f", "c", "add", '{"a":1}', "incomplete"),
        ),
        (
            {"id": "w", "type": "openrouter:datetime", "status": "x", "datetime": "noon"},
            ServerToolItem("w", "openrouter:datetime", {"datetime": "noon"}, "x"),
        ),
        (
            {"id": "w", "type": "web_search_call", "action": {"query": "q"}},
            ServerToolItem("w", "web_search_call", {"action": {"query": "q"}}),
        ),
        (
            {"id": "i", "type": "image_generation_call", "result": "data:image/webp;base64,AA"},
            ImageItem("i", "data:image/webp;base64,AA"),
        ),
        (
            {"id": "i", "type": "image_generation_call", "result": "AAAA"},
            ImageItem("i", "data:image/png;base64,AAAA"),
        ),
        (
            {"id": "i", "type": "openrouter:image_generation", "imageB64": "AAAA"},
            ImageItem("i", "data:image/png;base64,AAAA"),
        ),
        (
            {"type": "openrouter:image_generation", "imageUrl": "https://a.example/i.png"},
            ImageItem("", "https://a.example/i.png"),
        ),
        (
            {"id": "i", "type": "image_generation_call", "result": None, "status": "in_progress"},
            ImageItem("i", status="in_progress"),
        ),
        ({"id": "o", "type": "of_the_future"}, OtherItem("o", "of_the_future")),
        ({}, OtherItem("", "")),
    ],
)
def test_items_are_read(item: Json, expected: Any) -> None:
    assert read_item(item) == expected


@pytest.mark.parametrize(
    ("annotation", "citation"),
    [
        ({"type": "url_citation", "url": "u", "title": "t"}, Citation("u", "t")),
        (
            {"type": "url_citation", "url_citation": {"url": "u", "content": "c"}},
            Citation("u", excerpt="c"),
        ),
        ({"type": "url_citation", "title": "nowhere"}, None),
        ({"type": "url_citation", "url_citation": []}, None),
        ({"type": "file", "file": {"hash": "x"}}, None),
        ({}, None),
    ],
)
def test_a_citation_is_read_flat_or_nested(annotation: Json, citation: Citation | None) -> None:
    assert read_citation(annotation) == citation


def test_usage_of_either_endpoint_is_read() -> None:
    assert read_usage(
        {
            "prompt_tokens": 9,
            "prompt_tokens_details": {"cached_tokens": 3},
            "completion_tokens": 4,
            "completion_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": True,
        }
    ) == Usage(9, 4, cached_tokens=3, reasoning_tokens=1)


@pytest.mark.parametrize("value", [None, {}, [], "many"])
def test_no_usage_is_none(value: Any) -> None:
    assert read_usage(value) is None


def test_in_usage_absent_is_not_zero() -> None:
    assert read_usage({"input_tokens": 0, "cost": 0}) == Usage(input_tokens=0, cost=0)
    assert read_usage(
        {
            "input_tokens": 9,
            "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 1},
            "total_tokens": 13,
            "cost": 0.125,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": 0.1, "other": None},
        }
    ) == Usage(9, 4, 13, 3, 2, 1, 0.125, False, {"upstream_inference_cost": 0.1})
    assert read_usage({"cost": None, "is_byok": "no", "cost_details": None, "x": 1}) == Usage()


def test_a_whole_answer_gives_its_items_and_its_end() -> None:
    body = {
        "id": "gen-1",
        "model": "a/b",
        "status": "incomplete",
        "output": [{"id": "m", "type": "message", "content": [{"text": "Hi"}]}],
        "usage": {"cost": 1},
    }
    assert read_finished_answer(body) == [
        ResponseStarted("gen-1", "a/b"),
        ItemFinished(0, MessageItem("m", "Hi")),
        ResponseFinished("gen-1", "a/b", Usage(cost=1), "incomplete"),
    ]


EVENTS = st.lists(
    st.builds(delta, st.sampled_from(["output_text", "refusal", "reasoning_text", "x"]), st.text())
    | st.sampled_from(
        [
            b": ",
            b"data: {broken",
            {"type": "response.created", "response": {"id": "gen-1", "model": "ü"}},
            {"type": "error", "code": None, "message": "Broke"},
            COMPLETED,
        ]
    ),
    max_size=8,
)


@given(EVENTS, st.sampled_from([b"\n", b"\r\n"]), st.lists(st.integers(0, 5_000), max_size=9))
def test_any_stream_under_any_chunking_gives_the_same_events(
    events: list[Any], line_end: bytes, places: list[int]
) -> None:
    body = wire(*events).replace(b"\n", line_end)
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    cut = [body[start:end] for start, end in itertools.pairwise(bounds)]
    whole = described(read(body))
    assert described(read(*cut)) == whole
    assert described(read(*(body[at : at + 1] for at in range(len(body))))) == whole
