"""Identifiers of our own making."""

from __future__ import annotations

import hashlib
import re
import secrets

SERVER_TOOL_CALL_PREFIX = "openrouter:"
"""Begins the call id of a card that shows what OpenRouter did: it is no call of a tool."""

LAYOUT_DETAIL = "openrouter_pipe.layout"
"""The type of the detail that tells how the parts of an answer stood: it never goes out."""

STORED_DETAIL = "openrouter_pipe.stored"
"""The type of the detail that stands for thinking kept elsewhere: it never goes out."""

PARSED_DETAIL = "openrouter_pipe.parsed"
"""The type of the detail that holds what OpenRouter has read out of documents."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_API_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REFUSED_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def new_request_id() -> str:
    """Sixteen hex digits that name one call of the pipe in the log and in an error."""
    return secrets.token_hex(8)


def new_item_id(prefix: str) -> str:
    """An id for an output item that came without one: `msg_...`, `rs_...`."""
    return f"{prefix}_{secrets.token_hex(12)}"


def new_ulid(now: float) -> str:
    """An id that sorts by its time (seconds since 1970): 48 bits of milliseconds, 80 of chance."""
    number = int(now * 1_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def api_tool_name(name: str) -> str:
    """The name itself where the API takes it, else one it takes that stands for no other."""
    if _API_TOOL_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_REFUSED_IN_NAMES.sub('_', name)[:55]}_{digest}"
