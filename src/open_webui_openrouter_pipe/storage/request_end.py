"""How a request to OpenRouter ended: told once for each, answered or not."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from ..api.events import Event, ResponseFailed, ResponseFinished, ResponseStarted, Usage
from ..core.errors import (
    ConnectionFailedError,
    PipeError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """What is known of a request when it is over."""

    outcome: str
    """`finished`, `failed`, `stopped` by the person, or `refused`: nothing done, nothing billed."""
    usage: Usage | None = None
    provider: str = ""


async def tell_end(
    answer: AsyncGenerator[list[Event]], note: Callable[[RequestEnd], None]
) -> AsyncGenerator[list[Event]]:
    """Pass a request's Events on; `note` learns how it ended, before anyone can ask again."""
    silent = ResponseStarted | ResponseFailed
    end, has_output = RequestEnd("stopped"), False
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                has_output = has_output or not all(isinstance(event, silent) for event in batch)
                match batch[-1]:
                    case ResponseFinished(usage=usage, provider=provider):
                        end = RequestEnd("finished", usage, provider)
                    case ResponseFailed(error, usage):
                        is_failure = has_output or usage
                        end = RequestEnd("failed", usage) if is_failure else _refused(error)
                    case _:
                        pass
                yield batch
    except PipeError as error:
        end = _refused(error)
        raise
    finally:
        note(end)


def _refused(error: PipeError) -> RequestEnd:
    """The end of a request that gave nothing: it may be billed where it was sent and lost."""
    match error:
        case UpstreamTimeoutError() | StreamInterruptedError():
            return RequestEnd("failed")
        case ConnectionFailedError() if error.request_was_sent:
            return RequestEnd("failed")
        case _:
            return RequestEnd("refused", Usage(cost=0.0))
