"""Further models, for when the first one fails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..core.json_values import JsonObject, text_of
from ..core.valve_types import split_list
from ..models.family import from_host_id

MOST_MODELS = 3
"""OpenRouter refuses a request with more entries in `models`."""


def fallback_fields(body: Mapping[str, Any]) -> JsonObject:
    """`models`, with the custom parameter `model_fallback`."""
    named = [*_entries(body.get("models")), *_entries(body.get("model_fallback"))]
    return {"models": list(dict.fromkeys(map(from_host_id, named)))[:MOST_MODELS]} if named else {}


def _entries(value: Any) -> list[str]:
    entries = cast("list[Any]", value) if isinstance(value, list) else split_list(text_of(value))
    return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]
