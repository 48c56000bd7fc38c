"""What a model's tokens cost, as its catalog row says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from ..core.json_values import JsonObject, as_object, objects_in, text_of, whole_of

# Prices per token (USD); all others are per request, picture or search.
_TOKEN_PRICES = (
    "prompt",
    "completion",
    "internal_reasoning",
    "image_token",
    "image_output",
    "audio",
    "audio_output",
)
_NO_PRICES = frozenset({"discount", "overrides"})


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Other prices, for long prompts or for some hours of the day."""

    prices: Mapping[str, float]
    min_prompt_tokens: int | None = None
    """It holds for prompts of more tokens than this."""
    utc_start: str = ""
    """`HHMM`; the window may pass midnight. Empty for the whole day."""
    utc_end: str = ""

    def holds(self, prompt_tokens: int, utc_time: str) -> bool:
        """Whether it holds for such a prompt at this time (`HHMM`, UTC)."""
        if self.min_prompt_tokens is not None and prompt_tokens <= self.min_prompt_tokens:
            return False
        if not self.utc_start or not self.utc_end:
            return True
        if self.utc_start <= self.utc_end:
            return self.utc_start <= utc_time < self.utc_end
        return utc_time >= self.utc_start or utc_time < self.utc_end


@dataclass(frozen=True, slots=True)
class Pricing:
    """USD per token, request or piece, under OpenRouter's names; what is unknown is missing."""

    prices: Mapping[str, float]
    overrides: tuple[PriceOverride, ...] = ()
    is_known: bool = True
    """A router's price is not: it depends on where the request goes."""

    def at(self, prompt_tokens: int, utc_time: str) -> Mapping[str, float]:
        """The prices for such a prompt at this time: of the overrides the last one wins."""
        prices = dict(self.prices)
        for override in self.overrides:
            if override.holds(prompt_tokens, utc_time):
                prices.update(override.prices)
        return prices

    @property
    def is_free(self) -> bool:
        """Whether nothing about it costs anything, at any time."""
        return self.is_known and not any(any(prices.values()) for prices in self._all())

    @property
    def per_million(self) -> float | None:
        """What a million of its dearest tokens costs at most; `None` for an unknown price."""
        if not self.is_known:
            return None
        return 1e6 * max(prices.get(name, 0.0) for prices in self._all() for name in _TOKEN_PRICES)

    def _all(self) -> tuple[Mapping[str, float], ...]:
        return (self.prices, *(override.prices for override in self.overrides))


def read_pricing(value: Any) -> Pricing:
    """Read `pricing`; a price that is missing, negative or no number is unknown."""
    row = as_object(value)
    prices = _prices_in(row)
    return Pricing(
        prices=prices,
        overrides=tuple(map(_read_override, objects_in(row.get("overrides")))),
        is_known="prompt" in prices and "completion" in prices,
    )


def _read_override(row: JsonObject) -> PriceOverride:
    return PriceOverride(
        prices=_prices_in(row),
        min_prompt_tokens=whole_of(row.get("min_prompt_tokens")),
        utc_start=_time_of_day(row.get("utc_start")),
        utc_end=_time_of_day(row.get("utc_end")),
    )


def _time_of_day(value: Any) -> str:
    text = text_of(value).replace(":", "")
    return text.zfill(4) if text else ""


def _prices_in(row: JsonObject) -> dict[str, float]:
    conditions = ("min_prompt_tokens", "utc_start", "utc_end")
    prices: dict[str, float] = {}
    for name, value in row.items():
        if name in _NO_PRICES or name in conditions:
            continue
        try:
            price = float(text_of(value))
        except (ValueError, OverflowError):
            continue
        if isfinite(price) and price >= 0:
            prices[name] = price
    return prices
