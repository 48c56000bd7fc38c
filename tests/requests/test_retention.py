"""What of earlier turns goes back: thinking, and the results of tools."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.ids import LAYOUT_DETAIL
from open_webui_openrouter_pipe.requests.retention import (
    LONGEST_OLD_OUTPUT,
    remember,
    shorten_old_result,
    turn_numbers,
)
from tests.requests.contexts import settings

Json = dict[str, Any]
LONG = "begin" + "x" * 5_000 + "end"
SEALED = {"type": "reasoning.encrypted", "data": "e"}
LAYOUT = {"type": LAYOUT_DETAIL, "parts": []}


def turn(number: int, output: Any = LONG) -> list[Json]:
    call = {"id": f"c{number}", "function": {"name": "look", "arguments": "{}"}}
    return [
        {"role": "user", "content": f"question {number}"},
        {"role": "assistant", "tool_calls": [call], "reasoning_details": [SEALED, LAYOUT]},
        {"role": "tool", "tool_call_id": f"c{number}", "content": output},
        {"role": "assistant", "content": f"answer {number}"},
    ]


def chat(turns: int) -> list[Json]:
    return [message for number in range(1, turns + 1) for message in turn(number)]


def whole_outputs(turns: int, **valves: Any) -> list[int]:
    kept = remember(chat(turns), settings(**valves))
    outputs = [message["content"] for message in kept if message["role"] == "tool"]
    return [number for number, output in enumerate(outputs, 1) if output == LONG]


def thinking(turns: int, retention: str) -> list[int]:
    kept = remember(chat(turns), settings(PERSIST_REASONING_TOKENS=retention))
    asked = [message for message in kept if message.get("tool_calls")]
    return [n for n, message in enumerate(asked, 1) if SEALED in message["reasoning_details"]]


@pytest.mark.parametrize(
    ("turns", "first_whole"), [(1, 1), (10, 1), (19, 1), (20, 11), (29, 11), (30, 21)]
)
def test_long_results_are_shortened_in_steps(turns: int, first_whole: int) -> None:
    assert whole_outputs(turns) == list(range(first_whole, turns + 1))


@pytest.mark.parametrize(("kept_turns", "first_whole"), [(0, 1), (1, 7), (3, 4)])
def test_the_admin_says_for_how_many_turns_they_stay(kept_turns: int, first_whole: int) -> None:
    kept = whole_outputs(7, TOOL_OUTPUT_RETENTION_TURNS=kept_turns)
    assert kept == list(range(first_whole, 8))


def test_the_beginning_of_the_prompt_changes_only_with_a_step() -> None:
    prefixes = [remember(chat(turns), settings()) for turns in range(20, 31)]
    for shorter, longer in pairwise(prefixes[:-1]):
        assert longer[: len(shorter)] == shorter
    assert prefixes[-1][: len(prefixes[-2])] != prefixes[-2]


def test_head_and_tail_stay_with_a_note_of_what_is_missing() -> None:
    short = shorten_old_result(LONG)
    assert short.startswith("beginx") and short.endswith("xend")
    assert "3,208 characters" in short
    assert len(short) < LONGEST_OLD_OUTPUT
    assert shorten_old_result("x" * LONGEST_OLD_OUTPUT) == "x" * LONGEST_OLD_OUTPUT


def test_a_result_in_parts_is_shortened_part_by_part() -> None:
    image = {"type": "input_image", "image_url": "data:,"}
    messages = [*turn(1, [{"type": "input_text", "text": LONG}, image]), *chat(1)]
    kept = remember(messages, settings(TOOL_OUTPUT_RETENTION_TURNS=1))
    assert kept[2]["content"] == [{"type": "input_text", "text": shorten_old_result(LONG)}, image]
    assert messages[2]["content"][0]["text"] == LONG


@pytest.mark.parametrize(
    ("retention", "kept"), [("conversation", [1, 2, 3]), ("next_reply", [2, 3]), ("disabled", [3])]
)
def test_thinking_goes_back_as_long_as_the_settings_say(retention: str, kept: list[int]) -> None:
    # That of the running turn always does: a model goes on from it after its tools.
    assert thinking(3, retention) == kept


def test_the_order_of_an_answer_stays_known_without_its_thinking() -> None:
    kept = remember(chat(2), settings(PERSIST_REASONING_TOKENS="disabled"))
    assert kept[1]["reasoning_details"] == [LAYOUT]


def test_the_pictures_of_a_tool_are_no_turn() -> None:
    shown = [{"type": "text", "text": "Here are the images from the tool results above. Please"}]
    roles = ["system", "user", "assistant", "tool", "user", "assistant", "user", "user"]
    chat = [{"role": role, "content": "hello"} for role in roles]
    assert turn_numbers(chat) == [0, 1, 1, 1, 2, 2, 3, 4]  # a question after an answer cut short
    chat[4]["content"] = shown
    assert turn_numbers(chat) == [0, 1, 1, 1, 1, 1, 2, 3]
    assert turn_numbers([]) == []
