"""Reasoning of earlier answers goes back: `reasoning_details` become reasoning items."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from ..api.events import ReasoningItem
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, text_of

MADE_UP_ID = "rs_unnamed_"
"""Begins the id of an item that had none: the Responses API wants one, chat does not."""


def reasoning_items(details: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """The items of one answer, in the order in which the model thought.

    Only what the vendor encrypted or signed is of use to it; the rest stays out.
    """
    items: list[dict[str, Any]] = []
    for _, group in groupby(details, key=_item_of_detail):
        pieces = list(group)
        if any(piece.get("data") or piece.get("signature") for piece in pieces):
            items.append(_reasoning_item(pieces, len(items)))
    return items


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
