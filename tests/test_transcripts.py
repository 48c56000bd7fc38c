"""Whole streams, replayed: the right text, thinking, calls, pictures, sources, cost and ending."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.streams import Said, Shown, cut, read_plainly, show

OWN = Path(__file__).parent / "transcripts"
# More streams, where somebody has put them beside the project.
SHARED = Path(
    os.environ.get("PIPE_TRANSCRIPTS")
    or Path(__file__).resolve().parents[2] / "shared" / "openrouter" / "sse"
)
FILES = sorted([*OWN.glob("*.sse"), *SHARED.glob("*.sse")])
SIZES = [1, 7, 64, 10**9]


def is_chat(path: Path) -> bool:
    return "chat" in path.name.split("_")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_stream_says_the_same_to_every_reader(path: Path, size: int) -> None:
    body = path.read_bytes()
    said = read_plainly(body, is_chat=is_chat(path))
    shown = show(cut(body, size), is_chat=is_chat(path))
    assert shown.of_chat() == said
    thoughts = said.reasoning.replace("\n\n", "")  # the two stand in one string there
    plain = replace(said, reasoning=thoughts, calls=[], urls=[])
    assert shown.of_client() == plain
    assert shown.of_object() == plain


def replay(name: str) -> Shown:
    return show([(OWN / f"{name}.sse").read_bytes()], is_chat=is_chat(OWN / name))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "chat_everything",
            Said(
                "See the lighthouse. It is 31 m tall.",
                "Which lighthouse? The old one.",
                [
                    ("call_a", "measure", '{"what":"tower"}'),
                    ("call_b", "now", "{}"),
                ],
                ["data:image/png;base64,iVBORw0KGgo="],
                ["https://lights.example/old", "https://lights.example/map"],
                0.0021,
                "completed",
            ),
        ),
        (
            "chat_error_in_choice",
            Said("The tide comes", cost=0.0001),
        ),
        ("chat_cut_call", Said("", "", [("call_a", "measure", '{"wha')], cost=0.5, end="cut")),
        (
            "responses_everything",
            Said(
                "Low tide is at noon. Sources say so.",
                "Tides follow the moon. Check the table.",
                [("call_tide", "tide_table", '{"port":"Brest"}')],
                ["data:image/png;base64,iVBORw0KGgo="],
                ["https://tides.example/brest"],
                0.0125,
                "completed",
            ),
        ),
        (
            "responses_overlap_without_deltas",
            Said("The answer was whole.", "Half a thought, then the rest.", end="completed"),
        ),
        (
            "responses_cut_call",
            Said("", "", [("call_x", "tide", '{"port":"Br')], cost=0.25, end="cut"),
        ),
        ("responses_broken_off", Said("Half an ans")),
    ],
)
def test_our_own_streams_say_what_their_author_meant(name: str, said: Said) -> None:
    assert replay(name).of_chat() == said


def test_a_call_that_was_cut_off_has_an_output_so_that_nobody_runs_it() -> None:
    for name in ("chat_cut_call", "responses_cut_call"):
        call, output = replay(name).items()
        assert (call["type"], call["status"]) == ("function_call", "incomplete")
        assert (output["type"], output["call_id"]) == ("function_call_output", call["call_id"])


def test_thinking_keeps_what_must_go_back() -> None:
    [reasoning] = [i for i in replay("chat_everything").items() if i["type"] == "reasoning"]
    assert reasoning["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": "Which lighthouse? The old one.",
            "format": "anthropic-claude-v1",
            "index": 0,
            "signature": "c2lnbmVk",
        }
    ]
    [reasoning] = [i for i in replay("responses_everything").items() if i["type"] == "reasoning"]
    assert [detail["type"] for detail in reasoning["reasoning_details"]] == [
        "reasoning.summary",
        "reasoning.summary",
        "reasoning.encrypted",
    ]


def test_what_openrouter_did_is_shown_in_its_place() -> None:
    items = replay("responses_everything").items()
    assert [item["type"] for item in items] == [
        "reasoning",
        "web_search_call",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
    ]
    assert items[1]["action"]["query"] == "low tide Brest"
    assert items[4]["call_id"] == items[5]["call_id"] == "openrouter:st_1"
