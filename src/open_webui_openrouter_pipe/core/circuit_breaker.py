"""The breaker: what failed again and again is left alone until its failures are old."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field

BreakerKey = tuple[str, ...]

# A failure that long ago, in a process that long-lived, decides nothing any more.
_MOST_KEYS = 10_000
_MOST_FAILURES = 50


@dataclass(slots=True)
class FailureLog:
    """When what has failed lately, for every copy of the pipe in one process.

    A copy may be older than the code that reads this, so it holds nothing but plain state.
    """

    times: OrderedDict[BreakerKey, deque[float]] = field(
        default_factory=OrderedDict[BreakerKey, deque[float]]
    )
    """Seconds of one clock, oldest first; what failed last stands last."""


@dataclass(frozen=True, slots=True)
class BreakerLimit:
    """So many failures within so many seconds are too many."""

    failures: int
    window: float


def pause_left(log: FailureLog, key: BreakerKey, limit: BreakerLimit, now: float) -> float:
    """Seconds until it may be tried again; 0 when it may be tried now."""
    failed_at = log.times.get(key, ())
    recent = [time for time in failed_at if now - time < limit.window]
    if len(recent) < limit.failures:
        return 0.0
    return recent[-limit.failures] + limit.window - now


def note_failure(log: FailureLog, key: BreakerKey, now: float) -> None:
    """Remember a failure; the longest forgotten key makes room."""
    log.times.setdefault(key, deque(maxlen=_MOST_FAILURES)).append(now)
    log.times.move_to_end(key)
    while len(log.times) > _MOST_KEYS:
        log.times.popitem(last=False)


def note_success(log: FailureLog, key: BreakerKey) -> None:
    """It works: whatever failed before does not count."""
    log.times.pop(key, None)
