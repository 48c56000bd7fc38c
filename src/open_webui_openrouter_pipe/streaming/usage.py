"""What an answer took and cost, under the names its reader knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ..api.events import Usage

# What Open WebUI says when the API gives no reason for the end.
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


Figure = TypeVar("Figure", int, float)


def finish_reason(incomplete_reason: str) -> str:
    """Chat completions' word for why an answer ended."""
    return _FINISH_REASONS.get(incomplete_reason, "length" if incomplete_reason else "stop")


def usage_of_response(usage: Usage) -> dict[str, Any]:
    """The usage under the Responses API's names; what was not said is left out."""
    # Open WebUI measures the chat's length by these two, and sums the others over rounds.
    last = {
        "prompt_tokens": usage.last_input_tokens,
        "completion_tokens": usage.last_output_tokens,
    }
    return _name(usage, "input", "output") | _said(last)


def usage_of_completion(usage: Usage) -> dict[str, Any]:
    """The usage under chat completions' names; what was not said is left out."""
    return _name(usage, "prompt", "completion")


def sum_usage(rounds: Sequence[Usage | None]) -> Usage | None:
    """What several rounds took together; what one of them did not say is unknown of all."""
    if len(rounds) < 2 or not any(rounds):
        return rounds[0] if rounds else None
    said = [usage or Usage() for usage in rounds]
    return Usage(
        input_tokens=_sum_known([usage.input_tokens for usage in said]),
        output_tokens=_sum_known([usage.output_tokens for usage in said]),
        total_tokens=_sum_known([usage.total_tokens for usage in said]),
        # Of these, silence means none.
        cached_tokens=_sum_said([usage.cached_tokens for usage in said]),
        cache_write_tokens=_sum_said([usage.cache_write_tokens for usage in said]),
        reasoning_tokens=_sum_said([usage.reasoning_tokens for usage in said]),
        cost=_sum_known([usage.cost for usage in said]),
        is_byok=any(usage.is_byok for usage in said) or said[-1].is_byok,
        cost_details=_sum_details(said),
        last_input_tokens=said[-1].input_tokens,
        last_output_tokens=said[-1].output_tokens,
    )


def _sum_known(figures: list[Figure | None]) -> Figure | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known[1:], known[0]) if len(known) == len(figures) else None


def _sum_said(counts: list[int | None]) -> int | None:
    said = [count for count in counts if count is not None]
    return sum(said) if said else None


def _sum_details(rounds: list[Usage]) -> dict[str, float]:
    """The parts of the cost. Where one round had a key of one's own, upstream's price is spent
    on top of `cost` in that round alone; in the others it is contained."""
    some_byok = any(usage.is_byok for usage in rounds)
    total: dict[str, float] = {}
    for usage in rounds:
        for name, part in usage.cost_details.items():
            if usage.is_byok or not some_byok or not name.startswith("upstream_"):
                total[name] = total.get(name, 0) + part
    return total


def _name(usage: Usage, taken: str, given: str) -> dict[str, Any]:
    return _said(
        {
            f"{taken}_tokens": usage.input_tokens,
            f"{taken}_tokens_details": _said(
                {
                    "cached_tokens": usage.cached_tokens,
                    "cache_write_tokens": usage.cache_write_tokens,
                }
            ),
            f"{given}_tokens": usage.output_tokens,
            f"{given}_tokens_details": _said({"reasoning_tokens": usage.reasoning_tokens}),
            "total_tokens": usage.total_tokens,
            "cost": usage.cost,
            "is_byok": usage.is_byok,
            "cost_details": usage.cost_details,
        }
    )


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != {}}
