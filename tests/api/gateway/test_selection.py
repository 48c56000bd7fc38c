"""Which endpoint answers, and when the other one is tried."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.gateway.selection import (
    EndpointName,
    may_fall_back,
    select_endpoint,
)
from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import (
    ApiFailure,
    ConnectionFailedError,
    EndpointConflictError,
    OpenRouterAPIError,
)

RESPONSES, CHAT = EndpointName.RESPONSES, EndpointName.CHAT_COMPLETIONS


def settings(**valves: Any) -> Settings:
    return take_snapshot(SystemValves(**valves))


@pytest.mark.parametrize(
    ("valves", "endpoint"),
    [
        ({}, RESPONSES),
        ({"DEFAULT_LLM_ENDPOINT": "chat_completions"}, CHAT),
        ({"DEFAULT_LLM_ENDPOINT": "CHAT_Completions"}, CHAT),
        ({"DEFAULT_LLM_ENDPOINT": "of the future"}, RESPONSES),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "openai/*"}, CHAT),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "mistralai/*, openai/gpt-4o"}, CHAT),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "openai.gpt-4o"}, CHAT),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "openai.*\n"}, CHAT),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "openai/gpt-4"}, RESPONSES),
        ({"FORCE_CHAT_COMPLETIONS_MODELS": "*", "FORCE_RESPONSES_MODELS": "openai/*"}, RESPONSES),
        ({"DEFAULT_LLM_ENDPOINT": "chat_completions", "FORCE_RESPONSES_MODELS": "*"}, RESPONSES),
    ],
)
def test_the_admins_rules_choose(valves: dict[str, Any], endpoint: EndpointName) -> None:
    assert select_endpoint("openai/gpt-4o", settings(**valves), []) is endpoint


def test_a_request_that_only_chat_can_carry_goes_there() -> None:
    assert select_endpoint("a/one", settings(), ["seed"]) is CHAT


def test_a_rule_against_what_the_request_needs_is_told() -> None:
    with pytest.raises(EndpointConflictError) as caught:
        select_endpoint("a/one", settings(FORCE_RESPONSES_MODELS="a/*"), ["seed", "stop"])
    assert "a/one" in caught.value.cause
    assert "seed, stop" in caught.value.cause
    assert "FORCE_RESPONSES_MODELS" in caught.value.next_step


def refusal(status: int, message: str = "", **fields: Any) -> OpenRouterAPIError:
    return OpenRouterAPIError(ApiFailure(message=message, status=status, **fields))


@pytest.mark.parametrize(
    ("error", "may"),
    [
        (refusal(405), True),
        (refusal(501), True),
        (refusal(400, "Use the other one", code="wrong_endpoint"), True),
        (refusal(400, "Invalid Responses API request"), True),
        (refusal(404, "The Responses API is not supported for this model"), True),
        (refusal(404, "the responses endpoint is unavailable"), True),
        (refusal(422, "x", upstream_message="model not supported by the Responses API"), True),
        (refusal(404, "No endpoints found"), False),
        (refusal(400, "context too long"), False),
        (refusal(429, "Invalid Responses API request"), False),
        (refusal(500, "The Responses API is not supported"), False),
        (ConnectionFailedError("Invalid Responses API request"), False),
    ],
)
def test_only_a_wrong_endpoint_is_a_reason_to_change_it(error: Any, may: bool) -> None:
    assert may_fall_back("a/one", settings(), error) is may
    assert not may_fall_back("a/one", settings(FORCE_RESPONSES_MODELS="a/*"), error)
