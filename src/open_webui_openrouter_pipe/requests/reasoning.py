"""How hard the model thinks, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.config import Settings
from ..core.json_values import as_object, number_of, text_of
from ..models.family import ModelFamily, ReasoningAbility

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From least to most (schema `ReasoningEffort`)."""

_ENCRYPTED = "reasoning.encrypted_content"
# The first GPT that can be told to heed the thinking of earlier turns (`reasoning.context`).
_FIRST_WITH_CONTEXT = (5, 6)
_GPT = re.compile(r"~?openai/gpt-(\d+)(?:\.(\d+))?(?![\d.])")


def reasoning_fields(
    body: Mapping[str, Any], family: ModelFamily | None, settings: Settings, *, is_task: bool
) -> dict[str, Any]:
    """The request's `reasoning` and `include`; nothing for a model that does not reason.

    An effort is sent only when the chat, the user or the admin chose one. For a model the catalog
    does not know, what was asked for goes out as it is.
    """
    if family is not None and family.reasoning is None:
        return {}
    options = dict(as_object(body.get("reasoning")))
    effort = text_of(body.get("reasoning_effort")) or text_of(options.pop("effort", None))
    chosen = _chosen_effort(options, settings, is_task=is_task)
    effort = _lesser_effort(effort, chosen) if is_task else effort or chosen
    effort = _accepted_effort(effort, family.reasoning if family else None)
    if effort:
        options.pop("max_tokens", None)  # the API refuses the two together
        options["effort"] = effort
    if settings.reasoning_summary and not is_task and effort != "none" and _sums_up(family):
        options.setdefault("summary", settings.reasoning_summary)
    fields: dict[str, Any] = {"reasoning": options} if options else {}
    return fields if is_task else {**fields, "include": [_ENCRYPTED]}


def _sums_up(family: ModelFamily | None) -> bool:
    """Whether the vendor hides the thinking and sums it up on request; others show it unasked."""
    return family is not None and family.id.lstrip("~").startswith("openai/")


def heed_earlier_thinking(
    reasoning: Mapping[str, Any], model: str, conversation: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The request's `reasoning`; it says so where thinking of earlier turns goes back.

    Without a word about it such a model drops what is older than the current turn.
    """
    version = _GPT.match(model)
    heeds = version is not None and (int(version[1]), int(version[2] or 0)) >= _FIRST_WITH_CONTEXT
    if heeds and reasoning.get("effort") != "none" and _replays_earlier_turns(conversation):
        return {"context": "all_turns", **reasoning}
    return dict(reasoning)


def _replays_earlier_turns(conversation: Sequence[Mapping[str, Any]]) -> bool:
    spoken = [place for place, item in enumerate(conversation) if item.get("role") == "user"]
    earlier = conversation[: spoken[-1]] if spoken else ()
    return any(item.get("encrypted_content") for item in earlier)


def _lesser_effort(asked: str, limit: str) -> str:
    """What a chore asks for, but never more than the settings grant chores."""
    if asked not in EFFORTS or limit not in EFFORTS:
        return limit or asked
    return min(asked, limit, key=EFFORTS.index)


def _chosen_effort(options: Mapping[str, Any], settings: Settings, *, is_task: bool) -> str:
    if is_task:
        return settings.task_reasoning_effort
    if number_of(options.get("max_tokens")):
        return ""  # the chat's own budget
    return settings.reasoning_effort if settings.enable_reasoning else "none"


def _accepted_effort(effort: str, ability: ReasoningAbility | None) -> str:
    """The nearest effort that the model takes; empty where it takes none."""
    if not effort or ability is None:
        return effort
    accepted = EFFORTS if ability.efforts is None else ability.efforts
    accepted = [name for name in accepted if name in EFFORTS]
    if ability.mandatory:
        accepted = [name for name in accepted if name != "none"]
    elif effort == "none":
        return effort
    if effort not in EFFORTS or not accepted:
        return effort if ability.efforts is None else ""
    wanted = EFFORTS.index(effort)
    return min(accepted, key=lambda name: (abs(EFFORTS.index(name) - wanted), EFFORTS.index(name)))
