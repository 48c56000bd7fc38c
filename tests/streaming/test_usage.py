"""What an answer took and cost, under its reader's names."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import Usage
from open_webui_openrouter_pipe.streaming.usage import (
    finish_reason,
    sum_usage,
    usage_of_completion,
    usage_of_response,
)

WHOLE = Usage(
    input_tokens=10,
    output_tokens=5,
    total_tokens=15,
    cached_tokens=4,
    cache_write_tokens=2,
    reasoning_tokens=3,
    cost=0.0125,
    is_byok=True,
    cost_details={"upstream_inference_cost": 0.01},
)


def test_a_chat_gets_the_names_of_responses() -> None:
    assert usage_of_response(WHOLE) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
        "cost": 0.0125,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.01},
    }


def test_an_api_client_gets_the_names_of_chat_completions() -> None:
    assert usage_of_completion(WHOLE) == {
        "prompt_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens": 5,
        "completion_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
        "cost": 0.0125,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.01},
    }


@pytest.mark.parametrize(
    ("usage", "said"),
    [
        (Usage(), {}),
        (Usage(input_tokens=0, cost=0), {"input_tokens": 0, "cost": 0}),
        (Usage(is_byok=False), {"is_byok": False}),
        (Usage(cached_tokens=0), {"input_tokens_details": {"cached_tokens": 0}}),
    ],
)
def test_what_was_not_said_is_absent_and_zero_is_zero(usage: Usage, said: dict[str, Any]) -> None:
    assert usage_of_response(usage) == said


@pytest.mark.parametrize(
    ("incomplete_reason", "expected"),
    [
        ("", "stop"),
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("incomplete", "length"),
    ],
)
def test_the_reason_for_the_end_in_the_words_of_chat_completions(
    incomplete_reason: str, expected: str
) -> None:
    assert finish_reason(incomplete_reason) == expected


def test_rounds_add_up_and_the_last_is_told_apart() -> None:
    first = Usage(10, 5, 15, cached_tokens=4, cost=0.25, cost_details={"server_tool_cost": 0.1})
    last = Usage(30, 7, 37, reasoning_tokens=3, cost=0.5, cost_details={"server_tool_cost": 0.2})
    assert usage_of_response(sum_usage([first, last]) or Usage()) == {
        "input_tokens": 40,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 12,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 52,
        "cost": 0.75,
        "cost_details": {"server_tool_cost": pytest.approx(0.3)},
        "prompt_tokens": 30,
        "completion_tokens": 7,
    }


def test_what_one_round_did_not_say_is_unknown_of_all() -> None:
    total = sum_usage([Usage(10, 5, 15, cost=0.25), None])
    assert total == Usage()
    assert sum_usage([None, None]) is None
    assert sum_usage([]) is None
    assert sum_usage([WHOLE]) is WHOLE


def test_a_key_of_ones_own_in_one_round_does_not_make_the_other_dearer() -> None:
    own = Usage(cost=0.01, is_byok=True, cost_details={"upstream_inference_cost": 0.2})
    ours = Usage(cost=0.3, is_byok=False, cost_details={"upstream_inference_cost": 0.3})
    for rounds in ([own, ours], [ours, own]):
        total = sum_usage(rounds)
        assert total is not None and total.charged == pytest.approx(0.51)
