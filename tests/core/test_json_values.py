"""Readers of loose JSON: the type they name, or nothing."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.json_values import (
    as_object,
    number_of,
    objects_in,
    text_of,
    whole_of,
)


@pytest.mark.parametrize(
    ("value", "text", "number", "whole"),
    [
        ("a", "a", None, None),
        ("5", "5", None, None),
        (5, "5", 5, 5),
        (0, "0", 0, 0),
        (0.5, "0.5", 0.5, None),
        (True, "", None, None),
        (None, "", None, None),
        ([1], "", None, None),
        ({"a": 1}, "", None, None),
    ],
)
def test_scalars(value: Any, text: str, number: float | None, whole: int | None) -> None:
    assert (text_of(value), number_of(value), whole_of(value)) == (text, number, whole)


def test_objects() -> None:
    assert as_object({"a": 1}) == as_object(MappingProxyType({"a": 1})) == {"a": 1}
    assert as_object([("a", 1)]) == as_object(None) == as_object("a") == {}
    assert objects_in([{"a": 1}, None, "b", {}]) == [{"a": 1}, {}]
    assert objects_in({"a": {}}) == objects_in(None) == []
