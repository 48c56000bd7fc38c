"""How hard the model thinks, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.config import Settings
from ..core.json_values import as_object, number_of, text_of
from ..models.family import ModelFamily, ReasoningAbility

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From least to most (schema `ReasoningEffort`)."""

_ENCRYPTED = "reasoning.encrypted_content"


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
    effort = effort or _chosen_effort(options, settings, is_task=is_task)
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
