"""Identifiers of our own making."""

from __future__ import annotations

import re
import secrets

SERVER_TOOL_CALL_PREFIX = "openrouter:"
"""Begins the call id of a card that shows what OpenRouter did: it is no call of a tool."""


_REFUSED_IN_TOOL_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_TOOL_NAME = 64


def api_tool_name(name: str) -> str:
    """A tool's name in the only form the API takes."""
    return _REFUSED_IN_TOOL_NAMES.sub("_", name)[:_LONGEST_TOOL_NAME]


def new_request_id() -> str:
    """Sixteen hex digits that name one call of the pipe in the log and in an error."""
    return secrets.token_hex(8)


def new_item_id(prefix: str) -> str:
    """An id for an output item that came without one: `msg_…`, `rs_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"
