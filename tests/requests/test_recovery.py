"""A refused request is changed so that it may pass: each repair once."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.errors import ApiFailure, OpenRouterAPIError
from open_webui_openrouter_pipe.requests.recovery import repair_request

Json = dict[str, Any]
REQUEST: Json = {
    "model": "a/one",
    "input": [
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "e"},
        {"role": "assistant", "content": "Hi"},
    ],
    "temperature": 1,
    "top_k": 4,
    "reasoning": {"effort": "none", "summary": "auto"},
}


def repair(message: str, request: Json | None = None, **failure: Any) -> Any:
    error = OpenRouterAPIError(ApiFailure(message=message, status=400, **failure))
    return repair_request(request or REQUEST, error, set())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "failure"),
    [
        ("x", {"code": "invalid_encrypted_content"}),
        ("x", {"upstream_message": '{"code":"invalid_encrypted_content"}'}),
        ("The encrypted content gAAA could not be verified.", {}),
        ("Item with id 'rs_1' not found.", {}),
    ],
)
def test_thinking_that_cannot_be_read_is_left_out(message: str, failure: Json) -> None:
    assert repair(message, **failure) == {**REQUEST, "input": REQUEST["input"][1:]}


def test_a_model_that_takes_no_tools_is_offered_none() -> None:
    tools = {"tools": [{"type": "function", "name": "f"}], "tool_choice": "auto"}
    message = "No endpoints found that support tool use. To learn more, visit: https://x.example"
    assert repair(message, {**REQUEST, **tools}) == REQUEST


@pytest.mark.parametrize(
    ("reasoning", "repaired"),
    [
        ({"effort": "none"}, {"effort": "low"}),
        ({"effort": "none", "summary": "auto"}, {"effort": "low", "summary": "auto"}),
        ({"enabled": False}, {}),
    ],
)
def test_a_model_that_must_think_may(reasoning: Json, repaired: Json) -> None:
    message = "Reasoning is mandatory for this endpoint and cannot be disabled."
    request = {**REQUEST, "reasoning": reasoning}
    assert repair(message, request)["reasoning"] == repaired


@pytest.mark.parametrize(
    ("message", "effort"),
    [
        ('reasoning.effort: Invalid option: expected one of "low"|"high"', "high"),
        ("Unsupported value: 'xhigh' for effort. Supported values are: low, medium.", "medium"),
        ("Effort is not supported", None),
    ],
)
def test_an_effort_that_is_refused_becomes_the_nearest_named(
    message: str, effort: str | None
) -> None:
    repaired = repair(message, {**REQUEST, "reasoning": {"effort": "xhigh", "summary": "auto"}})
    assert repaired["reasoning"].get("effort") == effort
    assert repaired["reasoning"]["summary"] == "auto"


def test_of_effort_and_budget_the_effort_stays() -> None:
    message = 'Only one of "reasoning.effort" and "reasoning.max_tokens" can be specified'
    request = {**REQUEST, "reasoning": {"effort": "low", "max_tokens": 9}}
    assert repair(message, request)["reasoning"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ("Unknown parameter: 'temperature'", {"temperature"}),
        ("Unsupported parameter: `top_k` is not supported with this model.", {"top_k"}),
        ('Parameters "temperature" and "top_k" not allowed', {"temperature", "top_k"}),
        ("Unrecognized argument 'reasoning.summary'", {"reasoning"}),
    ],
)
def test_a_parameter_that_is_refused_is_left_out(message: str, gone: set[str]) -> None:
    kept = {name: value for name, value in REQUEST.items() if name not in gone}
    assert repair(message) == kept


@pytest.mark.parametrize(
    "message",
    [
        "The model is too busy",
        "Unknown parameter: 'input'",
        "Unsupported parameter: 'model'",
        "Unrecognized argument 'provider.only'",
        "Unknown parameter: 'stop_server_tools_when'",
        "Unknown parameter: 'of_the_future'",
        "Reasoning is mandatory",
    ],
)
def test_what_cannot_be_repaired_is_not_sent_again(message: str) -> None:
    bounds = {"provider": {"only": ["azure"]}, "stop_server_tools_when": [{"type": "max_cost"}]}
    assert repair(message, {**REQUEST, "reasoning": {"effort": "high"}, **bounds}) is None


def test_each_repair_is_made_once_and_the_request_itself_never_changes() -> None:
    before = repr(REQUEST)
    tried: set[str] = set()
    error = OpenRouterAPIError(
        ApiFailure(message="Unknown parameter: 'top_k'; invalid_encrypted_content", status=400)
    )
    request: Any = REQUEST
    for _ in range(2):
        request = repair_request(request, error, tried)
        assert request is not None
    assert repair_request(request, error, tried) is None
    assert "top_k" not in request
    assert request["input"] == REQUEST["input"][1:]
    assert repr(REQUEST) == before
