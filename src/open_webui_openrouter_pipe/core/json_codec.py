"""JSON to and from bytes: orjson, with a way out for text it refuses."""

from __future__ import annotations

import json
from typing import Any

import orjson


def encode_json(value: Any) -> bytes:
    """Write compact UTF-8 JSON; halves of broken emoji (lone surrogates) become `?`."""
    try:
        return orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def decode_json(data: bytes | str) -> Any:
    """Read JSON; raises `ValueError` when it is none."""
    return orjson.loads(data)
