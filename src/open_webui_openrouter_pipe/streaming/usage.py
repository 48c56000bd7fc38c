"""What an answer took and cost, under the names its reader knows."""

from __future__ import annotations

from typing import Any

from ..api.events import Usage

# What Open WebUI says when the API gives no reason for the end.
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def finish_reason(incomplete_reason: str) -> str:
    """Chat completions' word for why an answer ended."""
    return _FINISH_REASONS.get(incomplete_reason, "length" if incomplete_reason else "stop")


def usage_of_response(usage: Usage) -> dict[str, Any]:
    """The usage under the Responses API's names; what was not said is left out."""
    return _name(usage, "input", "output")


def usage_of_completion(usage: Usage) -> dict[str, Any]:
    """The usage under chat completions' names; what was not said is left out."""
    return _name(usage, "prompt", "completion")


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
