"""Reasoning of earlier answers goes back: `reasoning_details` become reasoning items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..api.events import ReasoningItem
from ..core.ids import LAYOUT_DETAIL, PARSED_DETAIL
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, text_of, whole_of

_NOT_THOUGHT = (LAYOUT_DETAIL, PARSED_DETAIL)

MADE_UP_ID = "rs_unnamed_"
"""Begins the id of an item that had none: the Responses API wants one, chat does not."""


def reasoning_items(details: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """The items of one answer, in the order in which the model thought.

    Only what the vendor encrypted or signed is of use to it; the rest stays out.
    """
    items: list[dict[str, Any]] = []
    thoughts = [detail for detail in details if detail.get("type") not in _NOT_THOUGHT]
    for _, group in groupby(thoughts, key=_item_of_detail):
        pieces = list(group)
        if any(map(_is_sealed, pieces)):
            items.append(_reasoning_item(pieces, len(items)))
    return items


def in_their_order(
    layout: Sequence[JsonObject],
    thoughts: Sequence[JsonObject],
    text: str,
    calls: Sequence[JsonObject],
) -> list[dict[str, Any]] | None:
    """The parts of an answer as they stood; `None` where the layout tells of another answer."""
    texts = _texts_of(layout, text)
    sealed = sum(whole_of(part.get("sealed")) or 0 for part in layout)
    if texts is None or (thoughts and sealed != sum(map(_seals, thoughts))):
        return None
    messages, waiting = iter(texts), list(thoughts)
    open_calls = {call["call_id"]: call for call in calls}
    items: list[dict[str, Any]] = []
    for part in layout:
        match part.get("kind"):
            case "message":
                phase = {"phase": part["phase"]} if text_of(part.get("phase")) else {}
                items.append({"role": "assistant", "content": next(messages), **phase})
            case "call" if call := open_calls.pop(text_of(part.get("call_id")), None):
                items.append(call)
            case "reasoning":
                items.extend(_next_thoughts(waiting, whole_of(part.get("sealed")) or 0))
            case _:
                pass
    return [*items, *open_calls.values()]


def _texts_of(layout: Sequence[JsonObject], text: str) -> list[str] | None:
    """The texts that Open WebUI joined with line breaks; `None` when they were edited since."""
    texts: list[str] = []
    start = 0
    for part in layout:
        if part.get("kind") == "message":
            end = start + (whole_of(part.get("length")) or 0)
            texts.append(text[start:end])
            if text[end : end + 1] not in ("", "\n"):
                return None
            start = end + 1
    return texts if start == len(text) + bool(texts) else None


def _next_thoughts(waiting: list[JsonObject], sealed: int) -> list[JsonObject]:
    """Take so many seals' worth of items from the beginning of the list."""
    taken: list[JsonObject] = []
    while waiting and sealed > 0:
        sealed -= _seals(waiting[0])
        taken.append(waiting.pop(0))
    return taken


def _seals(item: JsonObject) -> int:
    return bool(item.get("encrypted_content")) + bool(item.get("signature"))


def _is_sealed(detail: JsonObject) -> bool:
    return bool(text_of(detail.get("data")) or text_of(detail.get("signature")))


def _item_of_detail(detail: JsonObject) -> tuple[str, str]:
    """What tells two items apart: their id, or their place where they have none."""
    return text_of(detail.get("id")), "" if detail.get("id") else text_of(detail.get("index"))


def _reasoning_item(pieces: Sequence[JsonObject], position: int) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "reasoning",
        "id": text_of(pieces[0].get("id")) or f"{MADE_UP_ID}{position}",
        "summary": [],
    }
    for piece in pieces:
        if summary := text_of(piece.get("summary")):
            item["summary"].append({"type": "summary_text", "text": summary})
        if text := text_of(piece.get("text")):
            item.setdefault("content", []).append({"type": "reasoning_text", "text": text})
        if data := text_of(piece.get("data")):
            item["encrypted_content"] = data
        for key in ("signature", "format"):
            if value := text_of(piece.get(key)):
                item[key] = value
    return item


def unsigned_reasoning_item(item: ReasoningItem) -> list[dict[str, Any]]:
    """Thinking that the vendor neither encrypts nor signs, for the rounds of the same answer.

    A summary alone stays out: for its vendor it names an item that nobody has kept.
    """
    content = [{"type": "reasoning_text", "text": text} for text in item.content if text]
    if not content:
        return []
    return [{"type": "reasoning", "id": f"{MADE_UP_ID}0", "summary": [], "content": content}]


def call_arguments(text: str) -> str:
    """The arguments of a call, as they were where they are a JSON object, else an empty one.

    Providers refuse a conversation that holds any other; what was wrong with them stands in the
    call's output.
    """
    try:
        return text if isinstance(decode_json(text), dict) else "{}"
    except ValueError:
        return "{}"
