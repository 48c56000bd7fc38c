"""Whether a failed request may be sent again, and when."""

from __future__ import annotations

from .errors import ConnectionFailedError, OpenRouterAPIError, PipeError

# Answers that say "not now": nothing was done, nothing is billed.
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504, 524, 529})
_ONCE_STATUSES = frozenset({500})
_MOST_RETRIES = 3
_FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


def retry_wait(error: PipeError, retries: int) -> float | None:
    """Seconds to wait before the next try, after so many retries; `None` to give up.

    Only for a request that was refused, or never arrived: one that went out and was not answered
    may have been carried out, and is never sent twice.
    """
    if not _may_pass(error, retries):
        return None
    told = error.failure.retry_after if isinstance(error, OpenRouterAPIError) else None
    wait = told if told is not None else _FIRST_WAIT_SECONDS * 2**retries
    return wait if wait <= LONGEST_WAIT_SECONDS else None


def _may_pass(error: PipeError, retries: int) -> bool:
    match error:
        case ConnectionFailedError():
            most = _MOST_RETRIES if error.name_was_found else 1
            return not error.request_was_sent and retries < most
        case OpenRouterAPIError() if error.failure.may_pass:
            status = error.failure.status
            return (status in _PASSING_STATUSES and retries < _MOST_RETRIES) or (
                status in _ONCE_STATUSES and not retries
            )
        case _:
            return False
