"""What a call was sent: read, repaired where it can only mean one thing, fitted to the tool."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.tools.arguments import fit_arguments, read_arguments

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text(), JSON_VALUES, max_size=3)


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("", [{}]),
        (" \n", [{}]),
        ("null", [{}]),
        ('{"a": 1}', [{"a": 1}]),
        ('  {"a": 1}\n', [{"a": 1}]),
        ('"{\\"a\\": 1}"', [{"a": 1}]),
        ('```json\n{"a": 1}\n```', [{"a": 1}]),
        ('```{"a": 1}```', [{"a": 1}]),
        ('{"a": [1, 2,], }', [{"a": [1, 2]}]),
        ('{"a": ",}",}', [{"a": ",}"}]),
        ('{"a": "one\ntwo"}', [{"a": "one\ntwo"}]),
        ("{'a': True, 'b': None, 'c': (1, 2)}", [{"a": True, "b": None, "c": [1, 2]}]),
        ("```python\n{'a': 'it\\'s'}\n```", [{"a": "it's"}]),
        ('{"a": 1}{"a": 2}', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}\n{"a": 2} ', [{"a": 1}, {"a": 2}]),
        ('{"a": 1}{"a": 1}', [{"a": 1}]),
    ],
)
def test_what_can_only_mean_one_thing_is_read(sent: str, read: list[Any]) -> None:
    assert read_arguments(sent) == read


@pytest.mark.parametrize(
    "sent",
    [
        '{"a": 1',
        '{"a": "1}',
        "[1, 2]",
        "7",
        '"text"',
        '{"a": 1} and {"b": 2}',
        '{"a": 1}[2]',
        "{'a': {1, 2}}",
        "{'a': b'bytes'}",
        "__import__('os').getcwd()",
        "{a: 1}",
        "[" * 100_000,
    ],
)
def test_what_could_mean_anything_is_not_guessed(sent: str) -> None:
    assert read_arguments(sent) is None


@given(st.lists(OBJECTS, min_size=1, max_size=3, unique_by=json.dumps))
def test_objects_in_a_row_come_back_as_they_were(objects: list[dict[str, Any]]) -> None:
    read = read_arguments(" ".join(map(json.dumps, objects))) or []
    assert all(entry in read for entry in objects)


@given(OBJECTS)
def test_a_dict_as_python_prints_it_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert read_arguments(repr(value)) == [value]


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    read = read_arguments(text)
    assert read is None or all(isinstance(entry, dict) for entry in read)


SCHEMA = {
    "type": "object",
    "properties": {
        "must": {"type": "string"},
        "may": {"type": "integer"},
        "null_too": {"type": ["string", "null"]},
        "choice": {"enum": ["a", "b"]},
        "anything": {},
        "union": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "by_name": {"$ref": "#/$defs/inner"},
        "list": {"type": "array", "items": {"$ref": "#/$defs/inner"}},
        "maybe": {"anyOf": [{"$ref": "#/$defs/inner"}, {"type": "null"}]},
    },
    "required": ["must"],
    "$defs": {"inner": {"type": "object", "properties": {"x": {"type": "number"}}}},
}


def test_null_stands_for_what_was_left_out_unless_the_tool_takes_it() -> None:
    nothing = dict.fromkeys(SCHEMA["properties"])
    assert fit_arguments(nothing, SCHEMA, keep_unknown=False) == {
        "must": None,
        "null_too": None,
        "anything": None,
        "union": None,
        "maybe": None,
    }
    inner = {"by_name": {"x": None}, "list": [{"x": None}, {"x": 1}], "maybe": {"x": None}}
    assert fit_arguments(inner, SCHEMA, keep_unknown=False) == {
        "by_name": {},
        "list": [{}, {"x": 1}],
        "maybe": {},
    }


def test_keys_the_tool_does_not_name_are_dropped_unless_its_server_judges_them() -> None:
    sent = {"must": "a", "other": 1}
    assert fit_arguments(sent, SCHEMA, keep_unknown=False) == {"must": "a"}
    assert fit_arguments(sent, SCHEMA, keep_unknown=True) == sent
    assert fit_arguments(sent, {}, keep_unknown=False) == {}
