"""One row for each request to OpenRouter, however it ended: ids and numbers, no content."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from sqlalchemy import BigInteger, Column, Index, MetaData, String, Table

from ..api.events import Event, ResponseFailed, ResponseFinished, ResponseStarted, Usage
from ..core.context import RequestContext
from ..core.errors import (
    ConnectionFailedError,
    PipeError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)
from ..host.database import LONGEST_TEXT, storable_text

SpendRow = dict[str, Any]

_WHO_AND_WHERE = ("function_id", "user_id", "chat_id", "message_id", "task", "model")
# Tokens are as OpenRouter counts them; 10^12 picodollars are one USD, and null is not known.
WHAT_IT_TOOK = (
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
        Column(name, String(LONGEST_TEXT), nullable=False)
        for name in (*_WHO_AND_WHERE, "provider", "outcome")
    ),
    *(Column(name, BigInteger) for name in WHAT_IT_TOOK),
    Index("openrouter_pipe_spend_by_user", "user_id", "created_at"),
    Index("openrouter_pipe_spend_by_time", "created_at"),
)


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """What is known of a request when it is over."""

    outcome: str
    """`finished`, `failed`, `stopped` by the person, or `refused`: nothing done, nothing billed."""
    usage: Usage | None = None
    provider: str = ""
    key: str = ""
    """What is written down once at most, whoever notes it; empty for what only one can note."""
    generation_id: str = ""
    """OpenRouter's, of a request that was taken; it may know what is not known here."""


async def tell_end(
    answer: AsyncGenerator[list[Event]], note: Callable[[RequestEnd], None]
) -> AsyncGenerator[list[Event]]:
    """Pass a request's Events on; `note` learns how it ended, before anyone can ask again."""
    silent = ResponseStarted | ResponseFailed
    end, has_output, generation_id = RequestEnd("stopped"), False, ""
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                has_output = has_output or not all(isinstance(event, silent) for event in batch)
                if isinstance(batch[0], ResponseStarted):
                    generation_id = batch[0].response_id
                match batch[-1]:
                    case ResponseFinished(usage=usage, provider=provider):
                        end = RequestEnd("finished", usage, provider)
                    case ResponseFailed(_, usage) if has_output or usage:
                        end = RequestEnd("failed", usage)
                    case ResponseFailed(error):
                        end = _without_output(error)
                    case _:
                        pass
                yield batch
    except PipeError as error:
        end = _without_output(error)
        raise
    finally:
        note(replace(end, generation_id=generation_id))


def _without_output(error: PipeError) -> RequestEnd:
    """A refusal is not billed; a request that went out and was lost may be."""
    lost = isinstance(error, UpstreamTimeoutError | StreamInterruptedError)
    lost = lost or (isinstance(error, ConnectionFailedError) and error.request_was_sent)
    return RequestEnd("failed") if lost else RequestEnd("refused", Usage(cost=0.0))


def spend_row(context: RequestContext, end: RequestEnd) -> SpendRow:
    """What the ledger keeps of a request."""
    return {
        "id": sha256(end.key.encode()).hexdigest()[:32] if end.key else secrets.token_hex(16),
        "created_at": int(time.time()),
        **{name: storable_text(getattr(context, name)) for name in _WHO_AND_WHERE},
        "provider": storable_text(end.provider),
        "outcome": end.outcome,
        **figures_of(end.usage or Usage()),
    }


def figures_of(usage: Usage) -> SpendRow:
    """The columns that tell tokens and cost."""
    return {name: _storable_figure(getattr(usage, name)) for name in WHAT_IT_TOOK}


def _storable_figure(figure: int | None) -> int | None:
    return None if figure is None else max(0, min(figure, _LARGEST_FIGURE))
