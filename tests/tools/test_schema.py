"""Strict schemas: valid, closed, and asking for nothing that the tool would refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from open_webui_openrouter_pipe.tools.arguments import fit_arguments
from open_webui_openrouter_pipe.tools.schema import strict_schema

NAMES = st.sampled_from(["a", "b", "c", "long name"])
WORDS = st.fixed_dictionaries({}, optional={"description": st.text(max_size=5)})


def described(schemas: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda schema, words: schema | words, schemas, WORDS)


PLAIN = described(
    st.sampled_from(
        [
            {"type": "string"},
            {"type": "integer", "minimum": 1, "default": 3},
            {"type": ["string", "null"]},
            {"type": "string", "enum": ["x", "y"]},
            {"enum": ["x", 1, None]},
            {"const": "x"},
            {"type": "boolean", "nullable": True},
            {"$ref": "#/$defs/node"},
            {"allOf": [{"$ref": "#/$defs/node"}]},
        ]
    )
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def build(properties: dict[str, Any], required: list[str], words: Any) -> dict[str, Any]:
        needed = [name for name in required if name in properties]
        return {"type": "object", "properties": properties, "required": needed} | words

    return st.builds(
        build,
        st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        st.lists(NAMES, unique=True),
        st.fixed_dictionaries({}, optional={"additionalProperties": st.just(False)}),
    )


SCHEMAS = st.recursive(
    PLAIN,
    lambda inner: (
        objects(inner)
        | st.builds(lambda items: {"type": "array", "items": items}, inner)
        | st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3))
    ),
    max_leaves=6,
)
NODE = {
    "type": "object",
    "properties": {"value": {"type": "number"}, "next": {"$ref": "#/$defs/node"}},
}
PARAMETERS = objects(SCHEMAS).map(lambda schema: {**schema, "$defs": {"node": NODE}})


def check_closed(schema: Any) -> None:
    """Every object is closed and asks for all of its properties; nothing unsupported is left."""
    if isinstance(schema, list):
        for entry in schema:
            check_closed(entry)
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
    if "$ref" in schema:
        assert set(schema) == {"$ref"}
    assert not {"default", "oneOf", "allOf", "const", "nullable"} & schema.keys()
    for name, inner in schema.items():
        if name in ("properties", "$defs"):
            for entry in inner.values():
                assert entry.keys() & {"type", "anyOf", "$ref"}
                check_closed(entry)
        elif name in ("items", "anyOf"):
            check_closed(inner)


def instances(schema: dict[str, Any], root: dict[str, Any], depth: int = 0) -> Any:
    """What a model held to the strict schema may send."""
    if "$ref" in schema:
        return instances(root["$defs"]["node"], root, depth + 1)
    if "anyOf" in schema:
        branches = schema["anyOf"][-1:] if depth > 3 else schema["anyOf"]  # null ends a recursion
        return st.one_of([instances(branch, root, depth + 1) for branch in branches])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return st.one_of([_of_type(name, schema, root, depth) for name in types])


def _of_type(name: str, schema: dict[str, Any], root: dict[str, Any], depth: int) -> Any:
    match name:
        case "object":
            properties = schema["properties"].items()
            return st.fixed_dictionaries(
                {key: instances(inner, root, depth + 1) for key, inner in properties}
            )
        case "array":
            return st.lists(instances(schema["items"], root, depth + 1), max_size=2)
        case "integer" | "number":
            return st.integers(min_value=schema.get("minimum", -9))
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case _:
            return st.text(max_size=3)


@given(PARAMETERS)
def test_a_valid_schema_stays_valid_and_becomes_strict(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    before = copy.deepcopy(schema)
    strict = strict_schema(schema)
    assert schema == before
    assert strict is not None
    Draft202012Validator.check_schema(strict)
    check_closed(strict)
    assert strict_schema(schema) == strict


@given(st.data(), objects(PLAIN | objects(PLAIN)))
def test_what_a_model_held_to_it_sends_is_what_the_tool_takes(
    data: st.DataObject, schema: dict[str, Any]
) -> None:
    schema = {**schema, "$defs": {"node": NODE}}
    strict = strict_schema(schema)
    assert strict is not None
    sent = data.draw(instances(strict, strict))
    Draft202012Validator(strict).validate(sent)
    for fitted in (fit_arguments(sent, schema, keep_unknown=keep) for keep in (True, False)):
        judged = (
            schema if "nullable" not in str(schema) else {}
        )  # OpenAPI's word, not JSON Schema's
        Draft202012Validator(judged).validate(fitted)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "type",
                "properties",
                "items",
                "enum",
                "anyOf",
                "$ref",
                "required",
                "allOf",
                "additionalProperties",
                "$defs",
            ]
        ),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.sampled_from(["object", "array", "string"]),
            lambda inner: (
                st.lists(inner, max_size=2)
                | st.dictionaries(st.sampled_from(["type", "a", "items"]), inner, max_size=2)
            ),
            max_leaves=5,
        ),
    )
)
def test_no_schema_however_broken_breaks_the_writer(schema: dict[str, Any]) -> None:
    strict = strict_schema(schema)
    if strict is not None:
        Draft202012Validator.check_schema(strict)
        check_closed(strict)


def parameters(inner: Any, **others: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": inner}, "required": ["a"], **others}


@pytest.mark.parametrize(
    "schema",
    [
        parameters({}),
        parameters(True),
        parameters({"type": "object"}),
        parameters({"type": "object", "additionalProperties": {"type": "string"}}),
        parameters({"type": "string"}, additionalProperties=True),
        parameters({"type": "array"}),
        parameters({"type": "array", "items": {}}),
        parameters({"type": "array", "prefixItems": [{"type": "string"}]}),
        parameters({"not": {"type": "string"}}),
        parameters({"$ref": "https://example.org/schema"}),
        parameters({"$ref": "#/$defs/missing"}),
        parameters({"allOf": [{"type": "string"}, {"minLength": 3}]}),
        parameters({"enum": [{"b": 1}]}),
        parameters({"type": "thing"}),
        parameters({"const": object()}),
        parameters({"anyOf": []}),
        parameters({"anyOf": [{"type": "string"}], "oneOf": [{"type": "string"}]}),
        parameters({"type": "object", "properties": {"b": {}}, "anyOf": [{"required": ["b"]}]}),
        parameters({"$ref": "#/$defs/n", "type": "string"}, **{"$defs": {"n": {"type": "string"}}}),
        {"anyOf": [{"type": "object", "properties": {}}]},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": True},
    ],
)
def test_what_cannot_be_said_strictly_has_no_strict_form(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None


def test_deeper_than_openai_reads_there_is_no_strict_form() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(10):
        schema = parameters(schema)
    assert strict_schema(schema) is None


@pytest.mark.parametrize(
    ("inner", "strict"),
    [
        ({"type": "string", "minLength": 2}, {"type": ["string", "null"]}),
        ({"type": "string", "format": "uri"}, {"type": ["string", "null"]}),
        (
            {"type": "string", "format": "date", "pattern": "^2"},
            {"type": ["string", "null"], "format": "date", "pattern": "^2"},
        ),
        ({"type": "string", "pattern": "(?=a)b"}, {"type": ["string", "null"]}),
        ({"enum": ["x"]}, {"enum": ["x", None], "type": ["string", "null"]}),
        ({"type": ["string", "string"]}, {"type": ["string", "null"]}),
        ({"const": 2}, {"enum": [2, None], "type": ["integer", "null"]}),
        (
            {"oneOf": [{"type": "string"}, {"type": "integer"}], "description": "d"},
            {
                "anyOf": [{"type": "string"}, {"type": "integer"}, {"type": "null"}],
                "description": "d",
            },
        ),
        (
            {"$ref": "#/definitions/n", "description": "d"},
            {"anyOf": [{"$ref": "#/$defs/n"}, {"type": "null"}], "description": "d"},
        ),
        (
            {"items": {"properties": {"x": {"type": "null"}}}},
            {
                "type": ["array", "null"],
                "items": {
                    "type": "object",
                    "properties": {"x": {"type": "null"}},
                    "required": ["x"],
                    "additionalProperties": False,
                },
            },
        ),
    ],
)
def test_an_optional_argument_may_be_null(inner: dict[str, Any], strict: dict[str, Any]) -> None:
    schema = {"properties": {"a": inner}, "definitions": {"n": {"type": "string"}}}
    written = strict_schema(schema)
    assert written is not None
    assert written["properties"]["a"] == strict
    assert written["required"] == ["a"]


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_tool_without_arguments_takes_none(schema: dict[str, Any]) -> None:
    closed = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    assert strict_schema(schema) == closed
