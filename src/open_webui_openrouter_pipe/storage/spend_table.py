"""The spend ledger's table: one row for each request to OpenRouter; ids and numbers, no content."""

from __future__ import annotations

import secrets
import time
from typing import Any

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table

from ..api.events import Usage
from ..core.context import RequestContext
from .request_end import RequestEnd

SpendRow = dict[str, Any]

_WHO_AND_WHERE = ("function_id", "user_id", "chat_id", "message_id", "task", "model")
# Tokens are as OpenRouter counts them; 10¹² picodollars are one USD, and null is not known.
_WHAT_IT_TOOK = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "picodollars",
)
_LARGEST_FIGURE = 2**62

SPEND = Table(
    "openrouter_pipe_spend",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("created_at", BigInteger, nullable=False),  # seconds since 1970
    *(
        Column(name, String(255), nullable=False)
        for name in (*_WHO_AND_WHERE, "provider", "outcome")
    ),
    *(Column(name, BigInteger) for name in _WHAT_IT_TOOK),
    Index("openrouter_pipe_spend_by_user", "user_id", "created_at"),
    Index("openrouter_pipe_spend_by_time", "created_at"),
)


def spend_row(context: RequestContext, end: RequestEnd) -> SpendRow:
    """What the ledger keeps of a request."""
    usage = end.usage or Usage()
    return {
        "id": secrets.token_hex(16),
        "created_at": int(time.time()),
        **{name: _storable_text(getattr(context, name)) for name in _WHO_AND_WHERE},
        "provider": _storable_text(end.provider),
        "outcome": end.outcome,
        **{name: _storable_figure(getattr(usage, name)) for name in _WHAT_IT_TOOK},
    }


def _storable_text(text: str) -> str:
    """One text that the database refuses would keep all that come after it out."""
    return text.replace("\0", "")[:255].encode("utf-8", "replace").decode()


def _storable_figure(figure: int | None) -> int | None:
    return None if figure is None else max(0, min(figure, _LARGEST_FIGURE))
