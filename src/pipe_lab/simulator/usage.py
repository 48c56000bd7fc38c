"""Tokens and money: what an answer used, and what it cost to the last digit."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

Row = dict[str, Any]

PAGE_COST = Decimal("0.002")
"""For reading a PDF; every one has a page."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """How many tokens one call took."""

    input: int
    output: int
    reasoning: int = 0
    cached: int = 0
    cache_write: int = 0
    image: int = 0
    searches: int = 0
    documents: int = 0
    """PDFs that OpenRouter has read for the model."""


def count_tokens(text: str) -> int:
    """Estimate a text's tokens: four for every three words."""
    words = len(text.split())
    return -(-words * 4 // 3)


def prices_for(row: Row, tokens: Tokens) -> dict[str, Decimal]:
    """The row's prices in force for a prompt of this length, without unknown ones (`-1`)."""
    pricing = dict(row.get("pricing") or {})
    for override in pricing.pop("overrides", ()):
        threshold = override.get("min_prompt_tokens")
        if threshold is not None and tokens.input > threshold and "utc_start" not in override:
            pricing.update(override)
    prices = {key: Decimal(str(price)) for key, price in pricing.items() if key != "discount"}
    return {key: price for key, price in prices.items() if price >= 0}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a call cost, in its parts."""

    input: Decimal
    output: Decimal
    search: Decimal
    reading: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """All parts together."""
        return self.input + self.output + self.search + self.reading


def cost_of(row: Row, tokens: Tokens) -> Cost:
    """Multiply tokens by the row's prices; exact, because the prices are decimal text."""
    price = prices_for(row, tokens)
    prompt = price.get("prompt", Decimal(0))
    completion = price.get("completion", Decimal(0))
    fresh = tokens.input - tokens.cached - tokens.cache_write
    spent_in = (
        prompt * fresh
        + price.get("input_cache_read", prompt) * tokens.cached
        + price.get("input_cache_write", prompt) * tokens.cache_write
        + price.get("request", Decimal(0))
    )
    spent_out = (
        completion * (tokens.output - tokens.image)
        + price.get("image_output", completion) * tokens.image
    )
    search = price.get("web_search", Decimal("0.007")) * tokens.searches
    return Cost(spent_in, spent_out, search, PAGE_COST * tokens.documents)


def responses_usage(row: Row, tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a /responses answer."""
    cost = cost_of(row, tokens)
    details: dict[str, Any] = {"cached_tokens": tokens.cached}
    if tokens.cache_write:
        details["cache_write_tokens"] = tokens.cache_write
    usage: dict[str, Any] = {
        "input_tokens": tokens.input,
        "input_tokens_details": details,
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.input + tokens.output,
        "cost": float(cost.total),
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": float(cost.input + cost.output),
            "upstream_inference_input_cost": float(cost.input),
            "upstream_inference_output_cost": float(cost.output),
        },
    }
    return usage | _server_tool_use(tokens)


def chat_usage(row: Row, tokens: Tokens) -> dict[str, Any]:
    """The `usage` of a /chat/completions answer."""
    cost = cost_of(row, tokens)
    usage: dict[str, Any] = {
        "prompt_tokens": tokens.input,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.input + tokens.output,
        "cost": float(cost.total),
        "is_byok": False,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
            "video_tokens": 0,
        },
        "cost_details": {
            "upstream_inference_cost": float(cost.input + cost.output),
            "upstream_inference_prompt_cost": float(cost.input),
            "upstream_inference_completions_cost": float(cost.output),
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "image_tokens": tokens.image,
            "audio_tokens": 0,
        },
    }
    return usage | _server_tool_use(tokens)


def _server_tool_use(tokens: Tokens) -> dict[str, Any]:
    if not tokens.searches:
        return {}
    return {
        "server_tool_use_details": {
            "tool_calls_requested": tokens.searches,
            "tool_calls_executed": tokens.searches,
            "web_search_requests": tokens.searches,
        }
    }
