"""The breaker: too many failures within its window, and only those."""

from __future__ import annotations

from open_webui_openrouter_pipe.core.circuit_breaker import (
    BreakerLimit,
    FailureLog,
    note_failure,
    note_success,
    pause_left,
)

LIMIT = BreakerLimit(failures=2, window=60.0)


def test_it_opens_with_the_last_failure_too_many_and_closes_as_they_grow_old() -> None:
    log = FailureLog()
    assert pause_left(log, ("tool",), LIMIT, 0.0) == 0
    note_failure(log, ("tool",), 0.0)
    assert pause_left(log, ("tool",), LIMIT, 10.0) == 0
    note_failure(log, ("tool",), 10.0)
    assert pause_left(log, ("tool",), LIMIT, 15.0) == 45.0
    assert pause_left(log, ("other",), LIMIT, 15.0) == 0
    assert pause_left(log, ("tool",), LIMIT, 60.0) == 0
    note_failure(log, ("tool",), 60.0)
    assert pause_left(log, ("tool",), LIMIT, 61.0) == 9.0


def test_a_success_wipes_the_slate() -> None:
    log = FailureLog()
    note_failure(log, ("tool",), 0.0)
    note_success(log, ("tool",))
    note_success(log, ("tool",))
    note_failure(log, ("tool",), 1.0)
    assert pause_left(log, ("tool",), LIMIT, 1.0) == 0


def test_it_remembers_no_more_than_it_needs() -> None:
    log = FailureLog()
    for number in range(20_000):
        note_failure(log, (str(number),), 0.0)
        note_failure(log, ("busy",), 0.0)
    assert len(log.times) == 10_000
    assert len(log.times[("busy",)]) == 50
    assert pause_left(log, ("0",), BreakerLimit(1, 60.0), 0.0) == 0
    assert pause_left(log, ("19999",), BreakerLimit(1, 60.0), 0.0) == 60.0
