"""JSON both ways, with text that no UTF-8 can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.json_codec import decode_json, encode_json

ANY_TEXT = st.text(st.characters(exclude_categories=()))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(JSON | st.text())
def test_what_is_written_is_read_again(value: Any) -> None:
    assert json.loads(encode_json(value)) == value


@given(ANY_TEXT, ANY_TEXT)
def test_lone_surrogates_are_written_as_question_marks(key: str, text: str) -> None:
    def clean(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    assert decode_json(encode_json({key: [text]})) == {clean(key): [clean(text)]}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (r'"cut \ud83d"', "cut \ufffd"),
        (r'"\ude00 rest"', "\ufffd rest"),
        (r'"\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'"\uD83D\n\uDE00"', "\ufffd\n\ufffd"),
        (r'"\\ud83d \ud83d \"\\"', '\\ud83d \ufffd "\\'),
    ],
)
def test_half_an_emoji_costs_one_character_and_not_the_event(raw: str, text: str) -> None:
    assert decode_json(raw) == decode_json(raw.encode()) == text


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", "\ud800", b'{"a": NaN}', b"[" * 5_000])
def test_what_is_no_json_is_a_value_error(raw: bytes | str) -> None:
    with pytest.raises(ValueError):
        decode_json(raw)
