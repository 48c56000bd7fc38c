"""How hard the model thinks: the chat, the user, the admin, and what the model takes."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.models.family import ModelFamily, ReasoningAbility
from open_webui_openrouter_pipe.requests.reasoning import (
    EFFORTS,
    heed_earlier_thinking,
    reasoning_fields,
)
from tests.requests.contexts import settings

Json = dict[str, Any]
ENCRYPTED = ["reasoning.encrypted_content"]


def thinker(efforts: tuple[str, ...] | None = None, *, mandatory: bool = False) -> ModelFamily:
    return ModelFamily("openai/one", "One", reasoning=ReasoningAbility(mandatory, efforts))


def fields(
    body: Json | None = None,
    family: ModelFamily | None = None,
    own: dict[str, str] | None = None,
    **valves: Any,
) -> Json:
    """The fields of a chat, for a model that takes every effort."""
    chosen = settings(own, **{"REASONING_SUMMARY_MODE": "disabled", **valves})
    return reasoning_fields(body or {}, family or thinker(), chosen, is_task=False)


def effort(*args: Any, **valves: Any) -> str | None:
    return fields(*args, **valves).get("reasoning", {}).get("effort")


def test_no_effort_goes_out_unless_somebody_chose_one() -> None:
    assert fields() == {"include": ENCRYPTED}
    assert reasoning_fields({}, thinker(), settings(), is_task=False) == {
        "reasoning": {"summary": "auto"},
        "include": ENCRYPTED,
    }


@pytest.mark.parametrize("model", ["anthropic/one", "~google/one"])
def test_only_a_vendor_that_hides_thinking_is_asked_to_sum_it_up(model: str) -> None:
    family = ModelFamily(model, "One", reasoning=ReasoningAbility())
    assert fields(None, family, REASONING_SUMMARY_MODE="auto") == {"include": ENCRYPTED}


def test_a_model_that_does_not_think_is_asked_nothing() -> None:
    plain = ModelFamily("a/one", "One")
    assert fields({"reasoning_effort": "high"}, plain, REASONING_EFFORT="high") == {}


def test_a_model_the_catalog_does_not_know_gets_what_was_asked_for() -> None:
    body = {"reasoning_effort": "extreme"}
    chosen = reasoning_fields(body, None, settings(), is_task=False)["reasoning"]
    assert chosen["effort"] == "extreme"


@pytest.mark.parametrize(
    ("body", "own", "admin", "chosen"),
    [
        ({}, None, "high", "high"),
        ({}, None, "auto", None),
        ({}, "low", "high", "low"),
        ({}, "inherit", "high", "high"),
        ({"reasoning_effort": "max"}, "low", "high", "max"),
        ({"reasoning": {"effort": "max"}}, "low", "high", "max"),
        ({"reasoning": {"effort": "max"}, "reasoning_effort": "minimal"}, "low", "high", "minimal"),
        ({"reasoning_effort": None}, "low", "high", "low"),
        ({"reasoning_effort": ""}, None, "high", "high"),
    ],
)
def test_the_chat_stands_above_the_user_and_the_user_above_the_admin(
    body: Json, own: str | None, admin: str, chosen: str | None
) -> None:
    personal = {"REASONING_EFFORT": own} if own else None
    assert effort(body, None, personal, REASONING_EFFORT=admin) == chosen


@pytest.mark.parametrize(
    ("own", "admin", "chosen"),
    [
        ("inherit", True, None),
        ("inherit", False, "none"),
        ("off", True, "none"),
        ("on", False, None),
    ],
)
def test_thinking_can_be_switched_off(own: str, admin: bool, chosen: str | None) -> None:
    personal = {"ENABLE_REASONING": own}
    assert effort({}, None, personal, ENABLE_REASONING=admin) == chosen


def test_what_the_chat_asks_for_overrules_the_switch() -> None:
    assert effort({"reasoning_effort": "high"}, ENABLE_REASONING=False) == "high"
    budget = fields({"reasoning": {"max_tokens": 900}}, ENABLE_REASONING=False)
    assert budget["reasoning"] == {"max_tokens": 900}


def test_effort_and_budget_never_go_out_together() -> None:
    both = {"reasoning": {"max_tokens": 900, "exclude": True}, "reasoning_effort": "low"}
    assert fields(both)["reasoning"] == {"exclude": True, "effort": "low"}
    budget = {"reasoning": {"max_tokens": 900}}
    assert fields(budget, REASONING_EFFORT="high")["reasoning"] == {"max_tokens": 900}


@pytest.mark.parametrize(
    ("asked", "efforts", "sent"),
    [
        ("medium", ("low", "high"), "low"),
        ("xhigh", ("low", "high"), "high"),
        ("minimal", ("low", "high"), "low"),
        ("max", ("minimal", "low", "medium"), "medium"),
        ("high", ("high", "of_the_future"), "high"),
        ("high", None, "high"),
        ("high", (), None),
        ("high", ("of_the_future",), None),
        ("extreme", ("low", "high"), None),
        ("extreme", None, "extreme"),
        ("none", ("low", "high"), "none"),
        ("none", (), "none"),
    ],
)
def test_the_nearest_effort_the_model_takes_goes_out(
    asked: str, efforts: tuple[str, ...] | None, sent: str | None
) -> None:
    assert effort({"reasoning_effort": asked}, thinker(efforts)) == sent


@pytest.mark.parametrize(
    ("efforts", "sent"),
    [(None, "minimal"), (("medium", "high"), "medium"), (("none", "low"), "low"), ((), None)],
)
def test_a_model_that_must_think_thinks_as_little_as_it_can(
    efforts: tuple[str, ...] | None, sent: str | None
) -> None:
    family = thinker(efforts, mandatory=True)
    assert effort({"reasoning_effort": "none"}, family) == sent
    assert effort({}, family, ENABLE_REASONING=False) == sent


@pytest.mark.parametrize("asked", EFFORTS)
def test_an_effort_the_model_takes_goes_out_as_it_is(asked: str) -> None:
    assert effort({"reasoning_effort": asked}) == asked


@pytest.mark.parametrize(
    ("own", "admin", "summary"),
    [
        ("inherit", "auto", "auto"),
        ("inherit", "disabled", None),
        ("detailed", "disabled", "detailed"),
        ("disabled", "auto", None),
    ],
)
def test_how_much_is_summed_up_is_chosen_too(own: str, admin: str, summary: str | None) -> None:
    personal = {"REASONING_SUMMARY_MODE": own}
    asked = fields({}, None, personal, REASONING_SUMMARY_MODE=admin)
    assert asked.get("reasoning", {}).get("summary") == summary


def test_the_chats_own_summary_wins_and_without_thinking_there_is_none() -> None:
    body = {"reasoning": {"summary": "concise"}}
    assert fields(body, REASONING_SUMMARY_MODE="auto")["reasoning"] == {"summary": "concise"}
    quiet = {"reasoning_effort": "none"}
    assert fields(quiet, REASONING_SUMMARY_MODE="auto")["reasoning"] == {"effort": "none"}


def task_fields(family: ModelFamily, **valves: Any) -> Json:
    return reasoning_fields({}, family, settings(**valves), is_task=True)


def test_a_chore_thinks_little_and_returns_nothing_of_it() -> None:
    assert task_fields(thinker()) == {"reasoning": {"effort": "low"}}
    assert task_fields(thinker(("high",))) == {"reasoning": {"effort": "high"}}
    assert task_fields(thinker(), TASK_MODEL_REASONING_EFFORT="auto") == {}
    assert task_fields(thinker(), REASONING_EFFORT="max", ENABLE_REASONING=False) == {
        "reasoning": {"effort": "low"}
    }


def test_the_hosts_own_body_is_left_as_it_is() -> None:
    body = {"reasoning": {"max_tokens": 9, "effort": "low"}, "reasoning_effort": "high"}
    before = {**body, "reasoning": {"max_tokens": 9, "effort": "low"}}
    fields(body)
    assert body == before


EARLIER = {"type": "reasoning", "id": "r", "encrypted_content": "e"}
ASKED = {"type": "message", "role": "user", "content": []}
AGAIN = [ASKED, EARLIER, ASKED]


@pytest.mark.parametrize(
    ("model", "conversation", "asked", "context"),
    [
        ("openai/gpt-5.6", AGAIN, {}, "all_turns"),
        ("openai/gpt-5.6-codex:nitro", AGAIN, {"effort": "low"}, "all_turns"),
        ("~openai/gpt-6", AGAIN, {}, "all_turns"),
        ("openai/gpt-5.10", AGAIN, {}, "all_turns"),
        ("openai/gpt-5.6", AGAIN, {"context": "auto"}, "auto"),
        ("openai/gpt-5.6", AGAIN, {"effort": "none"}, None),
        ("openai/gpt-5.6", [ASKED, EARLIER], {}, None),
        ("openai/gpt-5.6", [ASKED], {}, None),
        ("openai/gpt-5.5", AGAIN, {}, None),
        ("openai/gpt-5", AGAIN, {}, None),
        ("openai/gpt-4o", AGAIN, {}, None),
        ("openai/gpt-oss-120b", AGAIN, {}, None),
        ("openai/o3", AGAIN, {}, None),
        ("anthropic/claude-6", AGAIN, {}, None),
    ],
)
def test_a_model_that_can_heed_its_earlier_thinking_is_told_to(
    model: str, conversation: list[Json], asked: Json, context: str | None
) -> None:
    reasoning = heed_earlier_thinking(asked, model, conversation)
    assert reasoning.pop("context", None) == context
    assert reasoning == {key: asked[key] for key in asked if key != "context"}


def test_how_a_model_reasons_passes_as_the_chat_has_it() -> None:
    own = {"mode": "pro", "context": "current_turn", "enabled": True}
    assert fields({"reasoning": own})["reasoning"] == own
