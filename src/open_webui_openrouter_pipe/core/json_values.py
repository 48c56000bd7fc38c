"""Values out of loose JSON: each reader gives the type it names, or nothing, and never raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

JsonObject = dict[str, Any]


def as_object(value: Any) -> JsonObject:
    """The value if it is a JSON object, else an empty one."""
    if isinstance(value, dict):
        return cast("JsonObject", value)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def objects_in(value: Any) -> list[JsonObject]:
    """The JSON objects of a list; empty when it is none."""
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("JsonObject", entry) for entry in entries if isinstance(entry, dict)]


def text_of(value: Any) -> str:
    """Text of a string or a number; empty for everything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def number_of(value: Any) -> float | int | None:
    """A number; `None` for everything else, text and booleans included."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole_of(value: Any) -> int | None:
    """A whole number; `None` for everything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
