"""What must not be read by anyone: keys, tokens and whole files inside a text or a body."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

REDACTED = "[redacted]"

_KEYS = re.compile(
    r"\bsk-(?:or|ant|proj|svcacct|admin)-[\w-]+|\bsk-[A-Za-z0-9_]{16,}|\bBearer\s+(?=\S*\d)[^\s\"',;]{8,}",
    re.IGNORECASE,
)
_PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)[^\s/?#@]+@")
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*,[^\s,\"'()<>\\]*")
# Base64 without an address around it: audio, encrypted reasoning, signatures.
_BLOB = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/=_-]{1000,}")
_SECRET_FIELDS = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "authorization",
        "cookie",
        "password",
        "secret",
        "x-api-key",
    }
)


def redact_text(text: str) -> str:
    """The text with its keys, tokens, passwords and embedded files blanked out."""
    text = _KEYS.sub(REDACTED, text)
    return _without_files_in(_PASSWORD_IN_ADDRESS.sub(f"{REDACTED}@", text))


def redact_body(value: Any) -> Any:
    """A copy of a JSON value, fit for a log."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {name: _redact_field(str(name), inner) for name, inner in fields.items()}
    if isinstance(value, list | tuple):
        return [redact_body(inner) for inner in cast("list[Any]", value)]
    return value


def without_files(value: Any) -> Any:
    """A copy of a JSON value, fit for a chat: each embedded file is told by its size."""
    if isinstance(value, str):
        return _without_files_in(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {name: without_files(inner) for name, inner in fields.items()}
    if isinstance(value, list | tuple):
        return [without_files(inner) for inner in cast("list[Any]", value)]
    return value


def _without_files_in(text: str) -> str:
    return _BLOB.sub(_name_blob, _DATA_URL.sub(_name_file, text))


def _redact_field(name: str, value: Any) -> Any:
    return REDACTED if name.lower() in _SECRET_FIELDS and value else redact_body(value)


def _name_file(match: re.Match[str]) -> str:
    kind = match[0].partition(",")[0]
    return f"{kind},[{len(match[0]) - len(kind) - 1} characters]"


def _name_blob(match: re.Match[str]) -> str:
    return f"[{len(match[0])} characters]"
