"""Only what the API knows goes out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from ..api.bodies import ResponsesBody

ALLOWED_FIELDS = frozenset(ResponsesBody.__annotations__)

# Fields that pass as they came, from a model's custom parameters; all others are built by a stage.
PASSED_FIELDS = (
    "models",
    "modalities",
    "image_config",
    "plugins",
    "truncation",
    "service_tier",
    "prompt_cache_key",
    "cache_control",
)


def passed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Open WebUI's body that already have the form the API takes."""
    return {name: body[name] for name in PASSED_FIELDS if body.get(name) is not None}


def keep_allowed(fields: Mapping[str, Any]) -> ResponsesBody:
    """Drop what the API does not know, and every null."""
    kept = {
        name: value
        for name, value in fields.items()
        if name in ALLOWED_FIELDS and value is not None
    }
    return cast("ResponsesBody", kept)
