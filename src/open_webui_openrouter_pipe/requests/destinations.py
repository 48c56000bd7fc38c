"""Where a request may go: further models for when the first fails, and who may keep data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..core.catalog_valves import CatalogRules
from ..core.json_values import JsonObject, as_object, text_of
from ..core.valve_types import split_list
from ..models.family import from_host_id

MOST_MODELS = 3
"""OpenRouter refuses a request with more entries in `models`."""


def destination_fields(body: Mapping[str, Any], rules: CatalogRules) -> JsonObject:
    """`models`, with the custom parameter `model_fallback`, and `provider` with the ZDR rule."""
    fields: JsonObject = {}
    named = [*_entries(body.get("models")), *_entries(body.get("model_fallback"))]
    if named:
        fields["models"] = list(dict.fromkeys(map(from_host_id, named)))[:MOST_MODELS]
    if rules.zdr_enforced:
        fields["provider"] = {**as_object(body.get("provider")), "zdr": True}
    return fields


def _entries(value: Any) -> list[str]:
    entries = cast("list[Any]", value) if isinstance(value, list) else split_list(text_of(value))
    return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]
