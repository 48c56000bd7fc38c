"""What of earlier turns goes back to the model: its thinking, and the results of its tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.config import Settings
from ..core.ids import LAYOUT_DETAIL, PARSED_DETAIL
from ..core.json_values import JsonObject, objects_in, text_of
from .old_texts import clean_answer

# A result up to this length (characters) is never shortened; of a longer one these ends stay.
LONGEST_OLD_OUTPUT = 2_000
_HEAD = 1_200
_TAIL = 600


def remember(messages: Sequence[JsonObject], settings: Settings) -> list[JsonObject]:
    """The messages with what the settings let the model keep; the host's own stay as they are."""
    turns = turn_numbers(messages)
    current = turns[-1] if turns else 0
    oldest_thinking = _first_turn_with_thinking(current, settings.reasoning_retention)
    oldest_whole = first_whole_turn(current, settings.tool_output_retention)
    kept: list[JsonObject] = []
    for message, turn in zip(messages, turns, strict=True):
        match message.get("role"):
            case "assistant":
                answer = clean_answer(message)
                kept.append(answer if turn >= oldest_thinking else _without_thinking(answer))
            case "tool" if turn < oldest_whole:
                kept.append(_shortened_output(message))
            case _:
                kept.append(message)
    return kept


def turn_numbers(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each message how many times a person had spoken; 0 before the first time.

    The pictures a tool brought come from Open WebUI as a message of the user: that is no turn.
    """
    numbers: list[int] = []
    before: Any = None
    for message in messages:
        role = message.get("role")
        spoke = role == "user" and not (before == "tool" and _shows_pictures(message))
        numbers.append((numbers[-1] if numbers else 0) + spoke)
        before = role
    return numbers


def _shows_pictures(message: Mapping[str, Any]) -> bool:
    """Whether Open WebUI has written it (`flush_tool_images` in its `utils/misc.py`)."""
    words = next(iter(objects_in(message.get("content"))), {})
    return text_of(words.get("text")).startswith("Here are the images from the tool results")


def first_whole_turn(current: int, kept_turns: int) -> int:
    """The oldest turn whose results stay whole.

    It moves in steps: a step changes the prompt's beginning, and the cache of it is lost.
    """
    return (current // kept_turns - 1) * kept_turns + 1 if kept_turns else 0


def _first_turn_with_thinking(current: int, retention: str) -> int:
    # Within a turn a model needs its thinking to go on from the results of its tools.
    return {"disabled": current, "next_reply": current - 1}.get(retention, 0)


def _without_thinking(message: JsonObject) -> JsonObject:
    if "reasoning_details" not in message:
        return message
    details = objects_in(message["reasoning_details"])
    kept = [each for each in details if each.get("type") in (LAYOUT_DETAIL, PARSED_DETAIL)]
    return {**message, "reasoning_details": kept}


def _shortened_output(message: JsonObject) -> JsonObject:
    content = message.get("content")
    if isinstance(content, list):
        parts = objects_in(content)
        return {**message, "content": [{**part, **_shortened_text(part)} for part in parts]}
    return {**message, "content": shorten_old_result(text_of(content))}


def _shortened_text(part: JsonObject) -> JsonObject:
    return {"text": shorten_old_result(text_of(part["text"]))} if "text" in part else {}


def shorten_old_result(output: str) -> str:
    """Head and tail of a long result, with a note between them."""
    if len(output) <= LONGEST_OLD_OUTPUT:
        return output
    left_out = len(output) - _HEAD - _TAIL
    note = f"[{left_out:,} characters of this older tool result are left out]"
    return f"{output[:_HEAD]}\n\n{note}\n\n{output[-_TAIL:]}"
