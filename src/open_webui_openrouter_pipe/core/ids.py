"""Identifiers of our own making."""

from __future__ import annotations

import secrets

SERVER_TOOL_CALL_PREFIX = "openrouter:"
"""Begins the call id of a card that shows what OpenRouter did: it is no call of a tool."""

LAYOUT_DETAIL = "openrouter_pipe.layout"
"""The type of the detail that tells how the parts of an answer stood: it never goes out."""


def new_request_id() -> str:
    """Sixteen hex digits that name one call of the pipe in the log and in an error."""
    return secrets.token_hex(8)


def new_item_id(prefix: str) -> str:
    """An id for an output item that came without one: `msg_…`, `rs_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"
