"""Whether a failed request goes out again, and when."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.errors import (
    ApiFailure,
    BusyError,
    ConnectionFailedError,
    InternalError,
    OpenRouterAPIError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)
from open_webui_openrouter_pipe.core.retry import LONGEST_WAIT_SECONDS, retry_wait


def refusal(status: int | None, retry_after: float | None = None) -> OpenRouterAPIError:
    return OpenRouterAPIError(ApiFailure(message="x", status=status, retry_after=retry_after))


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 524, 529])
def test_what_passes_is_tried_again_three_times_each_wait_twice_the_last(status: int) -> None:
    assert [retry_wait(refusal(status), number) for number in range(4)] == [1, 2, 4, None]


def test_a_server_error_is_tried_again_once() -> None:
    assert [retry_wait(refusal(500), number) for number in range(2)] == [1, None]


@pytest.mark.parametrize("status", [None, 301, 400, 401, 402, 403, 404, 412, 413, 422, 501])
def test_what_stays_refused_is_not_tried_again(status: int | None) -> None:
    assert retry_wait(refusal(status), 0) is None


@pytest.mark.parametrize(
    ("told", "wait"),
    [
        (0, 0),
        (0.5, 0.5),
        (LONGEST_WAIT_SECONDS, LONGEST_WAIT_SECONDS),
        (LONGEST_WAIT_SECONDS + 1, None),
    ],
)
def test_the_time_that_was_told_is_kept_or_it_is_too_long(told: float, wait: Any) -> None:
    assert retry_wait(refusal(429, told), 2) == wait


def test_what_openrouter_says_will_not_pass_is_not_tried_again() -> None:
    failure = ApiFailure(message="x", status=503, may_pass=False)
    assert retry_wait(OpenRouterAPIError(failure), 0) is None


def test_only_a_request_that_never_arrived_is_sent_again() -> None:
    lost = ConnectionFailedError("x", request_was_sent=False)
    assert [retry_wait(lost, number) for number in range(4)] == [1, 2, 4, None]
    assert retry_wait(ConnectionFailedError("x"), 0) is None


def test_a_name_that_leads_nowhere_is_tried_again_once() -> None:
    lost = ConnectionFailedError("x", request_was_sent=False, name_was_found=False)
    assert [retry_wait(lost, number) for number in range(2)] == [1, None]


@pytest.mark.parametrize(
    "kind",
    [
        UpstreamTimeoutError,
        StreamInterruptedError,
        SettingsError,
        BusyError,
        InternalError,
    ],
)
def test_a_request_that_may_have_been_carried_out_is_not_sent_again(kind: type[PipeError]) -> None:
    assert retry_wait(kind("x"), 0) is None
