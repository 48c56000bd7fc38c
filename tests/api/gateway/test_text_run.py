"""A run of deltas is read by its bytes, and says what decoding each of them would say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    ArgumentsDelta,
    Event,
    ReasoningDelta,
    TextDelta,
)
from open_webui_openrouter_pipe.api.gateway.responses_reader import ResponsesReader

WORDS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1)


def delta(text: Any, kind: str = "output_text", number: int = 0, **fields: Any) -> bytes:
    """A delta in the order of fields in which OpenRouter sends them."""
    event = {
        "type": f"response.{kind}.delta",
        "output_index": 0,
        "item_id": "msg_1",
        **fields,
        "delta": text,
        "logprobs": [],
        "sequence_number": number,
    }
    return json.dumps(event, separators=(",", ":"), ensure_ascii=number % 2 == 0).encode()


def read(*payloads: bytes, size: int = 1 << 20) -> list[Event]:
    wire = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    reader = ResponsesReader()
    return [
        event
        for start in range(0, len(wire), size)
        for event in reader.feed(wire[start : start + size])
    ]


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@given(WORDS, st.integers(1, 80))
def test_no_word_changes_under_any_chunking(words: list[str], size: int) -> None:
    payloads = [delta(word, number=number) for number, word in enumerate(words)]
    assert text_of(read(*payloads, size=size)) == "".join(words)


@given(st.lists(st.tuples(st.sampled_from(["usual", "extra", "spaced"]), WORDS), min_size=1))
def test_other_forms_stand_among_the_usual_ones(
    runs: list[tuple[str, list[str]]],
) -> None:
    payloads: list[bytes] = []
    for form, words in runs:
        usual = [delta(word, number=number) for number, word in enumerate(words)]
        ends = {"extra": b',"obfuscation":"x"}', "spaced": b" }"}
        payloads += [payload[:-1] + ends.get(form, b"}") for payload in usual]
    assert text_of(read(*payloads)) == "".join(word for _, words in runs for word in words)


def test_an_emoji_cut_in_two_costs_no_word_and_no_chunking_changes_it() -> None:
    halves = [delta("x").replace(b'"x"', half) for half in (b'"a\\ud83d"', b'"\\ude00b"')]
    whole = delta("x").replace(b'"x"', b'"\\ud83d\\ude00"')
    for size in (1, 7, 1 << 20):
        assert text_of(read(delta("x"), *halves, whole, size=size)) == ("xa\ufffd\ufffdb\U0001f600")


@pytest.mark.parametrize(
    ("kind", "fields", "event"),
    [
        ("output_text", {"content_index": 0}, TextDelta(0, "one two three")),
        ("refusal", {"content_index": 0}, TextDelta(0, "one two three")),
        ("reasoning_text", {"content_index": 1}, ReasoningDelta(0, 1, "one two three", False)),
        (
            "reasoning_summary_text",
            {"summary_index": 2},
            ReasoningDelta(0, 2, "one two three", True),
        ),
        ("function_call_arguments", {}, ArgumentsDelta(0, "one two three")),
    ],
)
def test_every_kind_of_delta_makes_a_run(kind: str, fields: dict[str, Any], event: Event) -> None:
    pieces = [delta(word, kind, **fields) for word in ("one", " two", " three")]
    assert read(*pieces) == [event]


@pytest.mark.parametrize(
    ("other", "events"),
    [
        pytest.param(
            delta(" b").replace(b'"output_index":0', b'"output_index":1'),
            [TextDelta(0, "a"), TextDelta(1, " b"), TextDelta(0, " c")],
            id="of another item",
        ),
        pytest.param(
            delta(" b")[:-1] + b',"obfuscation":"xyz"}', [TextDelta(0, "a b c")], id="more fields"
        ),
        pytest.param(delta(7), [TextDelta(0, "a c")], id="no text"),
        pytest.param(delta(" b")[:-9], [TextDelta(0, "a c")], id="cut off"),
        pytest.param(
            delta(" b").replace(b" b", b"\\q"), [TextDelta(0, "a c")], id="an escape of no kind"
        ),
        pytest.param(
            delta(" b").replace(b" b", b"\xff"), [TextDelta(0, "a c")], id="bytes of no text"
        ),
        pytest.param(
            delta(" b").replace(b'"delta":" b"', b'"delta":" x","delta":" b"'),
            [TextDelta(0, "a b c")],
            id="said twice",
        ),
    ],
)
def test_what_has_another_form_is_decoded(other: bytes, events: list[Event]) -> None:
    assert read(delta("a"), other, delta(" c")) == events
