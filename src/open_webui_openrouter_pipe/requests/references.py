"""Thinking that the chat only refers to: which, and how it comes back to its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.ids import STORED_DETAIL
from ..core.json_values import JsonObject, objects_in, text_of


def references_in(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of what is kept elsewhere, oldest first."""
    details = (
        detail for message in messages for detail in objects_in(message.get("reasoning_details"))
    )
    return [text_of(detail.get("id")) for detail in details if _refers(detail)]


def with_kept_details(messages: Sequence[JsonObject], kept: Mapping[str, Any]) -> list[JsonObject]:
    """The messages with the details themselves; a reference that leads nowhere is left out."""
    return [
        {**message, "reasoning_details": _details_for(message["reasoning_details"], kept)}
        if "reasoning_details" in message
        else message
        for message in messages
    ]


def _details_for(details: Any, kept: Mapping[str, Any]) -> list[JsonObject]:
    resolved: list[JsonObject] = []
    for detail in objects_in(details):
        if _refers(detail):
            resolved.extend(objects_in(kept.get(text_of(detail.get("id")))))
        else:
            resolved.append(detail)
    return resolved


def _refers(detail: JsonObject) -> bool:
    return detail.get("type") == STORED_DETAIL
