"""The line under an answer says what is known, and only that."""

from __future__ import annotations

import pytest

from open_webui_openrouter_pipe.api.events import Usage
from open_webui_openrouter_pipe.streaming.status import describe_usage, status_event


@pytest.mark.parametrize(
    ("usage", "seconds", "line"),
    [
        (None, 1.26, "1.3 s"),
        (Usage(), 2.0, "2.0 s · cost unknown"),
        (
            Usage(input_tokens=0, output_tokens=0, cost=0),
            0.5,
            "0.5 s · 0 tokens in, 0 out · $0.00",
        ),
        (
            Usage(1204, 350, cached_tokens=900, reasoning_tokens=200, cost=0.00125),
            7.0,
            "7.0 s · 1,204 tokens in (900 cached), 350 out (200 reasoning) · 50 tokens/s · $0.0013",
        ),
        (Usage(input_tokens=5, cost=1.5), 1.0, "1.0 s · $1.50"),
        (Usage(5, 7, cost=0.000021), 0.01, "0.0 s · 5 tokens in, 7 out · $0.000021"),
        (
            Usage(5, 7, is_byok=True, cost=0.001, cost_details={"upstream_inference_cost": 0.02}),
            1.0,
            "1.0 s · 5 tokens in, 7 out · 7 tokens/s · $0.0210",
        ),
    ],
)
def test_the_line_names_time_tokens_speed_and_cost(
    usage: Usage | None, seconds: float, line: str
) -> None:
    assert describe_usage(usage, seconds) == line


@pytest.mark.parametrize(
    ("usage", "spent"),
    [
        (Usage(), None),
        (Usage(is_byok=True, cost_details={"upstream_inference_cost": 0.5}), None),
        (Usage(cost=0.25, cost_details={"upstream_inference_cost": 0.2}), 0.25),
        (Usage(cost=0.25, is_byok=False, cost_details={"upstream_inference_cost": 0.2}), 0.25),
        (Usage(cost=0.25, is_byok=True, cost_details={"upstream_inference_cost": 0.5}), 0.75),
        (Usage(cost=0.0, is_byok=True), 0.0),
    ],
)
def test_with_a_key_of_ones_own_the_provider_charges_too(usage: Usage, spent: float | None) -> None:
    assert usage.charged == spent


@pytest.mark.parametrize("done", [True, False])
def test_a_status_is_an_event_of_the_message(done: bool) -> None:
    assert status_event("Hm", done=done) == {
        "event": {"type": "status", "data": {"description": "Hm", "done": done}}
    }
