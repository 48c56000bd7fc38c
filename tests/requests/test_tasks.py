"""Open WebUI's chores: cheap, plain, and without a trace in the chat they serve."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.models.family import ModelFamily, ReasoningAbility
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from tests.requests.contexts import context

CHORES = (
    "title_generation",
    "follow_up_generation",
    "tags_generation",
    "emoji_generation",
    "query_generation",
    "image_prompt_generation",
    "autocomplete_generation",
    "function_calling",
    "context_compaction",
    "memory_review",
)
MODEL = "anthropic/one"
THINKER = ModelFamily(MODEL, "One", reasoning=ReasoningAbility())
TOOLS = [{"type": "function", "name": "x", "parameters": {}}]
BODY = {
    "messages": [{"role": "user", "content": "Name it."}],
    "tools": [{"type": "function", "function": {"name": "x", "parameters": {}}}],
    "plugins": [{"id": "web"}],
    "modalities": ["image", "text"],
    "image_config": {"aspect_ratio": "1:1"},
    "cache_control": {"type": "ephemeral"},
    "prompt_cache_key": "k",
    "service_tier": "priority",
    "text": {"verbosity": "high"},
    "reasoning_effort": "high",
    "temperature": 0.1,
}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")


def build(task: str, **extra: Any) -> Any:
    asked = context(MODEL, task=task, chat_id="chat-1")
    return build_responses_body({**BODY, **extra}, asked, THINKER, TOOLS)


@pytest.mark.parametrize("task", CHORES)
def test_a_chore_is_a_plain_question(task: str) -> None:
    request = build(task)
    assert request.pop("input")[0]["role"] == "user"
    assert request == {"model": MODEL, "temperature": 0.1, "reasoning": {"effort": "low"}}


def test_where_a_chore_may_go_is_still_the_admins_choice() -> None:
    routing = {"provider": {"data_collection": "deny"}, "models": ["a/two"]}
    request = build("title_generation", **routing)
    assert {name: request[name] for name in routing} == routing


def test_an_answer_made_of_several_is_an_answer() -> None:
    request = build("moa_response_generation")
    assert request["reasoning"]["effort"] == "high"
    assert request["session_id"] and request["cache_control"] and request["plugins"]


@pytest.mark.parametrize(
    ("asked", "limit", "sent"),
    [
        ("minimal", "low", "minimal"),
        ("high", "low", "low"),
        (None, "low", "low"),
        ("high", "auto", "high"),
        ("extreme", "low", "low"),
        ("none", "low", "none"),
    ],
)
def test_a_chore_never_thinks_harder_than_chores_may(
    asked: str | None, limit: str, sent: str
) -> None:
    asking = context(MODEL, task="title_generation", TASK_MODEL_REASONING_EFFORT=limit)
    body = {**BODY, "reasoning_effort": asked}
    assert build_responses_body(body, asking, THINKER)["reasoning"] == {"effort": sent}


@pytest.mark.parametrize(("asked", "sent"), [(4, 16), (1_000, 1_000)])
def test_a_limit_too_small_for_some_vendors_is_raised(asked: int, sent: int) -> None:
    assert build("emoji_generation", max_tokens=asked)["max_output_tokens"] == sent
