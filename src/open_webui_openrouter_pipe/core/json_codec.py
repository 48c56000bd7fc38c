"""JSON to and from bytes: orjson, with a way out for text it refuses."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

# JavaScript writes one half of an emoji when a stream cuts it in two; orjson takes pairs only.
_SURROGATE_ESCAPES = re.compile(
    rb"\\(?:u[dD][89aAbB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL
)


def encode_json(value: Any) -> bytes:
    """Write compact UTF-8 JSON; halves of broken emoji (lone surrogates) become `?`."""
    try:
        return orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def decode_json(data: bytes | str) -> Any:
    """Read JSON; halves of broken emoji become U+FFFD; raises `ValueError` when it is none."""
    try:
        return orjson.loads(data)
    except ValueError:
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        repaired = _SURROGATE_ESCAPES.sub(_without_half, raw)
        if repaired == raw:
            raise
        return orjson.loads(repaired)


def _without_half(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]
