"""Strict schemas: what OpenAI's models can be held to, letter by letter.

Every object is closed and asks for all of its properties; what was optional may be null instead
(https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas").
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from ..core.json_codec import decode_json, encode_json
from ..core.json_values import JsonObject, as_object

_MOST_LEVELS = 10
"""Deeper than this OpenAI takes no schema."""

_KEPT = frozenset(
    {
        "type",
        "title",
        "description",
        "enum",
        "items",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "pattern",
        "format",
    }
)
# Read elsewhere, or a refinement that the tool itself checks: leaving it out breaks nothing.
_LEFT_OUT = frozenset(
    {
        "$schema",
        "$id",
        "$anchor",
        "$comment",
        "$defs",
        "definitions",
        "$ref",
        "properties",
        "required",
        "additionalProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "const",
        "nullable",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "minLength",
        "maxLength",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "discriminator",
        "xml",
        "externalDocs",
        "contentEncoding",
        "contentMediaType",
    }
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_SHAPES = frozenset({"type", "properties", "items", "enum", "const"})
_UNIONS = ("anyOf", "oneOf")
_NULL: JsonObject = {"type": "null"}


class _NotStrictError(Exception):
    """The schema says something that the strict form cannot say."""


def strict_schema(schema: JsonObject) -> JsonObject | None:
    """The strict form of a tool's parameters; `None` where there is none."""
    try:
        text = _strict_text(encode_json(schema))
    except (TypeError, ValueError, RecursionError):
        return None
    return None if text is None else decode_json(text)


@lru_cache(maxsize=256)
def _strict_text(text: bytes) -> bytes | None:
    root = as_object(decode_json(text))
    try:
        return encode_json(_StrictWriter(root).write_root())
    except _NotStrictError:
        return None


class _StrictWriter:
    """Rewrites one schema, and of its definitions those that are used."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._definitions: JsonObject = {}

    def write_root(self) -> JsonObject:
        """A tool's parameters are one object; without properties it takes nothing."""
        if _types_of(self._root) not in ([], ["object"]) or any(
            name in self._root for name in (*_UNIONS, "allOf", "$ref", "enum", "const")
        ):
            raise _NotStrictError
        if not self._root.get("properties") and not _is_open(self._root):
            empty: JsonObject = {"type": "object", "properties": {}, "required": []}
            return {**empty, "additionalProperties": False}
        strict = self._write({**self._root, "type": "object"}, 1)
        return {**strict, "$defs": self._definitions} if self._definitions else strict

    def _write(self, value: Any, level: int) -> JsonObject:
        schema = _known(value)
        if level > _MOST_LEVELS:
            raise _NotStrictError
        if "allOf" in schema:
            schema = _without_all_of(schema)
        if "$ref" in schema:
            strict = self._reference(schema, level)
        elif any(name in schema for name in _UNIONS):
            strict = self._union(schema, level)
        else:
            strict = self._plain(schema, level)
        return _or_null(strict) if schema.get("nullable") is True else strict

    def _plain(self, schema: JsonObject, level: int) -> JsonObject:
        types = _types_of(schema)
        if not types:
            raise _NotStrictError
        strict = {name: schema[name] for name in _KEPT if name in schema and _is_sent(name, schema)}
        strict["type"] = types[0] if len(types) == 1 else types
        if "const" in schema:
            strict["enum"] = [schema["const"]]
        if "enum" in strict and not _are_plain(strict["enum"]):
            raise _NotStrictError
        if "array" in types:
            strict["items"] = self._write(schema.get("items"), level + 1)
        if "object" in types:
            strict |= self._object(schema, level)
        return strict

    def _object(self, schema: JsonObject, level: int) -> JsonObject:
        properties = as_object(schema.get("properties"))
        if not properties or _is_open(schema):
            raise _NotStrictError  # it takes any key
        required = _entries_of(schema.get("required"))
        return {
            "properties": {
                name: self._write(inner, level + 1)
                if name in required
                else _or_null(self._write(inner, level + 1))
                for name, inner in properties.items()
            },
            "required": list(properties),
            "additionalProperties": False,
        }

    def _union(self, schema: JsonObject, level: int) -> JsonObject:
        if _SHAPES & schema.keys() or all(name in schema for name in _UNIONS):
            raise _NotStrictError
        branches = _entries_of(schema.get("anyOf", schema.get("oneOf")))
        if not branches:
            raise _NotStrictError
        strict = _words_of_schema(schema)
        strict["anyOf"] = [self._write(branch, level) for branch in branches]
        return strict

    def _reference(self, schema: JsonObject, level: int) -> JsonObject:
        if (_SHAPES | set(_UNIONS)) & schema.keys():
            raise _NotStrictError
        name, definition = definition_of(schema["$ref"], self._root)
        if definition is None:
            raise _NotStrictError
        if name not in self._definitions:
            self._definitions[name] = {}  # a definition may lead back to itself
            self._definitions[name] = self._write(definition, level)
        words = _words_of_schema(schema)
        reference: JsonObject = {"$ref": f"#/$defs/{name}"}
        # Beside a reference nothing else may stand.
        return {**words, "anyOf": [reference]} if words else reference


def definition_of(reference: Any, root: JsonObject) -> tuple[str, Any]:
    """The name and schema behind `#/$defs/name`; no schema for any other reference."""
    for place in ("$defs", "definitions"):
        prefix = f"#/{place}/"
        if isinstance(reference, str) and reference.startswith(prefix):
            name = reference.removeprefix(prefix)
            return name, as_object(root.get(place)).get(name)
    return "", None


def accepts_null(value: Any, root: JsonObject, level: int = 0) -> bool:
    """Whether null is a value of the schema, as far as can be seen; unsure means yes."""
    schema = as_object(value)
    if schema.get("nullable") is True or level > _MOST_LEVELS:
        return True
    if "$ref" in schema:
        definition = definition_of(schema["$ref"], root)[1]
        return definition is None or accepts_null(definition, root, level + 1)
    if not all(accepts_null(part, root, level + 1) for part in _entries_of(schema.get("allOf"))):
        return False
    branches = [branch for name in _UNIONS for branch in _entries_of(schema.get(name))]
    if branches:
        return any(accepts_null(branch, root, level + 1) for branch in branches)
    if "const" in schema:
        return schema["const"] is None
    if "enum" in schema:
        return None in _entries_of(schema["enum"])
    types = _types_of(schema)
    return not types or "null" in types


def _known(value: Any) -> JsonObject:
    schema = as_object(value)
    if not schema or any(
        name not in _KEPT and name not in _LEFT_OUT and not name.startswith("x-") for name in schema
    ):
        raise _NotStrictError
    return schema


def _without_all_of(schema: JsonObject) -> JsonObject:
    """`allOf` around one schema is only a way to put words beside a reference."""
    parts = _entries_of(schema["allOf"])
    others = {name: value for name, value in schema.items() if name != "allOf"}
    if len(parts) != 1 or (_SHAPES | {"$ref", *_UNIONS}) & others.keys():
        raise _NotStrictError
    return {**_known(parts[0]), **_words_of_schema(others)}


def _types_of(schema: JsonObject) -> list[str]:
    """The named types, or those that the rest of the schema implies."""
    named = schema.get("type")
    if isinstance(named, str):
        named = [named]
    if isinstance(named, list):
        types = list(dict.fromkeys(str(entry) for entry in _entries_of(cast("Any", named))))
        return types if set(types) <= _TYPES else []
    if "properties" in schema:
        return ["object"]
    if "items" in schema:
        return ["array"]
    values = [schema["const"]] if "const" in schema else _entries_of(schema.get("enum"))
    return list(dict.fromkeys(_type_of_value(value) for value in values))


def _type_of_value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case _:
            raise _NotStrictError


def _is_sent(name: str, schema: JsonObject) -> bool:
    value = schema[name]
    if name == "format":
        return value in _FORMATS
    if name == "pattern":
        return isinstance(value, str) and "(?" not in value  # no looking around
    return not (name.startswith("exclusive") and isinstance(value, bool))


def _is_open(schema: JsonObject) -> bool:
    return schema.get("additionalProperties", False) is not False


def _entries_of(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _are_plain(values: Any) -> bool:
    entries = _entries_of(values)
    return bool(entries) and not any(isinstance(entry, dict | list) for entry in entries)


def _words_of_schema(schema: JsonObject) -> JsonObject:
    return {name: schema[name] for name in ("title", "description") if name in schema}


def _or_null(strict: JsonObject) -> JsonObject:
    """The same schema, which null satisfies too."""
    if "$ref" in strict:
        return {"anyOf": [strict, _NULL]}
    if "anyOf" in strict:
        branches = cast("list[JsonObject]", strict["anyOf"])
        return strict if _NULL in branches else {**strict, "anyOf": [*branches, _NULL]}
    types = cast("list[str] | str", strict["type"])
    types = [types] if isinstance(types, str) else types
    widened = dict(strict) if "null" in types else {**strict, "type": [*types, "null"]}
    if None not in strict.get("enum", [None]):
        widened["enum"] = [*strict["enum"], None]
    return widened
