"""Plausible arguments for a tool, made from its JSON schema and the words of the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Schema = dict[str, Any]

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_PLACE = re.compile(r"\b(?:in|for|at|of)\s+([A-Z][\w-]*)")
_QUOTED = re.compile(r"[\"“'`]([^\"”'`]+)[\"”'`]")
_BY_NAME = {
    "city": "Paris",
    "location": "Paris",
    "place": "Paris",
    "url": "https://example.com/",
    "date": "2026-11-23",
    "timezone": "Europe/Paris",
    "language": "en",
    "email": "person@example.com",
}


@dataclass(frozen=True, slots=True)
class _Source:
    prompt: str
    numbers: Iterator[str]
    definitions: Schema


def arguments_for(parameters: Schema, prompt: str) -> Any:
    """A value that fits the schema; numbers, places and quoted words come from the prompt."""
    definitions = parameters.get("$defs") or parameters.get("definitions") or {}
    numbers = iter(_NUMBER.findall(prompt))
    return _value(parameters or {"type": "object"}, "", _Source(prompt, numbers, definitions))


def _value(schema: Schema, name: str, source: _Source) -> Any:
    schema = _resolved(schema, source)
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    if schema.get("enum"):
        said = (choice for choice in schema["enum"] if str(choice) in source.prompt)
        return next(said, schema["enum"][0])
    match schema.get("type", "object" if "properties" in schema else "string"):
        case "object":
            return _object(schema, source)
        case "array":
            count = max(1, schema.get("minItems", 1))
            return [_value(schema.get("items") or {}, name, source) for _ in range(count)]
        case "integer":
            return int(float(next(source.numbers, schema.get("minimum", 3))))
        case "number":
            return float(next(source.numbers, schema.get("minimum", 3)))
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(name, source.prompt)


def _resolved(schema: Schema, source: _Source) -> Schema:
    if "$ref" in schema:
        return source.definitions.get(str(schema["$ref"]).rpartition("/")[2]) or {}
    for key in ("anyOf", "oneOf", "allOf"):
        choices = [choice for choice in schema.get(key) or () if choice.get("type") != "null"]
        if choices:
            return _resolved(choices[0], source)
    if isinstance(schema.get("type"), list):
        kinds = [kind for kind in schema["type"] if kind != "null"]
        return {**schema, "type": kinds[0] if kinds else "null"}
    return schema


def _object(schema: Schema, source: _Source) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    names = schema.get("required") or list(properties)
    return {name: _value(properties.get(name) or {}, name, source) for name in names}


def _text(name: str, prompt: str) -> str:
    lowered = name.lower()
    if quoted := _QUOTED.search(prompt):
        return quoted[1]
    if lowered in ("city", "location", "place") and (place := _PLACE.search(prompt)):
        return place[1]
    return _BY_NAME.get(lowered) or prompt.strip()[:120] or "example"
