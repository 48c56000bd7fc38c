"""The arguments of a call: read, repaired where they can only mean one thing, fitted."""

from __future__ import annotations

import ast
import json
import re
from typing import Any, cast

from ..core.json_values import JsonObject, as_object
from .schema import accepts_null, definition_of

_FENCE = re.compile(r"\A\s*```[\w-]*\s*\n?(.*?)\n?\s*```\s*\Z", re.DOTALL)
# A string, which stays as it is, or a comma before the end of an object or list.
_STRING_OR_LAST_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
_MOST_LEVELS_READ = 50


def read_arguments(text: str) -> list[JsonObject] | None:
    """The objects a call was sent: one, or several that stand in a row; `None` when unreadable.

    The same object twice counts once: a tool must not act twice on a slip of the stream.
    """
    if not text.strip():
        return [{}]
    fenced = _FENCE.match(text)
    inner = fenced[1] if fenced else text
    for candidate in (inner, _without_last_commas(inner)):
        objects = _objects_in_a_row(candidate)
        if objects is not None:
            return objects
    literal = _python_literal(inner)
    return None if literal is None else [literal]


def fit_arguments(arguments: JsonObject, schema: JsonObject, *, keep_unknown: bool) -> JsonObject:
    """What the tool takes of it: no key it does not name, no null it does not accept.

    In a strict schema null stands for an argument that is left out.
    """
    known = as_object(schema.get("properties"))
    fitting = {name: value for name, value in arguments.items() if keep_unknown or name in known}
    return cast("JsonObject", _without_nulls(fitting, schema, schema, 0))


def _objects_in_a_row(text: str) -> list[JsonObject] | None:
    decoder = json.JSONDecoder(strict=False)  # models leave line breaks in strings as they are
    objects: list[JsonObject] = []
    position = 0
    while (position := _skip_space(text, position)) < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return None
        found = _as_arguments(value)
        if found is None:
            return None
        if found not in objects:
            objects.append(found)
    return objects or None


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _as_arguments(value: Any) -> JsonObject | None:
    """An object; null, which some models send for none; or an object written as a JSON string."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value, strict=False)
        except (ValueError, RecursionError):
            return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _without_last_commas(text: str) -> str:
    return _STRING_OR_LAST_COMMA.sub(lambda found: found[0].removeprefix(","), text)


def _python_literal(text: str) -> JsonObject | None:
    """A dict as Python prints it, which some models send; sets, bytes and the like are none."""
    try:
        value = json.loads(json.dumps(ast.literal_eval(text.strip()), allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _without_nulls(value: Any, schema: JsonObject, root: JsonObject, level: int) -> Any:
    schema = _resolved(schema, root)
    if level > _MOST_LEVELS_READ:
        return value
    if isinstance(value, list):
        items = as_object(schema.get("items"))
        entries = cast("list[Any]", value)
        return [_without_nulls(entry, items, root, level + 1) for entry in entries]
    if not isinstance(value, dict):
        return value
    properties = as_object(schema.get("properties"))
    required: Any = schema.get("required")
    return {
        name: _without_nulls(inner, as_object(properties.get(name)), root, level + 1)
        for name, inner in cast("JsonObject", value).items()
        if inner is not None
        or (isinstance(required, list) and name in required)
        or accepts_null(properties.get(name), root)
    }


def _resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """The schema behind a reference, or behind the one branch that is more than null."""
    if "$ref" in schema:
        return as_object(definition_of(schema["$ref"], root)[1])
    for union in ("anyOf", "oneOf", "allOf"):
        branches: Any = schema.get(union)
        if isinstance(branches, list):
            typed = [as_object(branch) for branch in cast("list[Any]", branches)]
            shaped = [branch for branch in typed if branch.get("type") != "null"]
            return _resolved(shaped[0], root) if len(shaped) == 1 else {}
    return schema
