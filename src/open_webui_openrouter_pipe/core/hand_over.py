"""What the companion filters have left for a request, in a key of `metadata` of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from .json_values import JsonObject, as_object, text_of, whole_of

HAND_OVER_KEY = "openrouter_pipe"
"""In `metadata`: what a filter writes into Open WebUI's own keys is put back before the pipe."""


@dataclass(frozen=True, slots=True)
class SearchWish:
    """How the web is to be searched; what is empty or zero is left to OpenRouter."""

    engine: str = ""
    max_results: int = 0
    context_size: str = ""
    allowed_domains: tuple[str, ...] = ()
    excluded_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HandOver:
    """What people have switched on for a request."""

    search: SearchWish | None = None
    """`None` where OpenRouter is not to search."""
    provider: JsonObject = field(default_factory=dict[str, Any])
    """The user's own preferences, as OpenRouter's `provider` takes them."""


NOTHING_HANDED_OVER = HandOver()


def read_hand_over(metadata: Mapping[str, Any]) -> HandOver:
    """Read what the filters have left; an admin may have edited them."""
    handed = as_object(metadata.get(HAND_OVER_KEY))
    if not handed:
        return NOTHING_HANDED_OVER
    search = handed.get("search")
    return HandOver(
        search=None if search is None else _read_search(as_object(search)),
        provider=as_object(handed.get("provider")),
    )


def _read_search(wish: JsonObject) -> SearchWish:
    return SearchWish(
        engine=text_of(wish.get("engine")),
        max_results=whole_of(wish.get("max_results")) or 0,
        context_size=text_of(wish.get("context_size")),
        allowed_domains=_domains_in(wish.get("allowed_domains")),
        excluded_domains=_domains_in(wish.get("excluded_domains")),
    )


def _domains_in(value: Any) -> tuple[str, ...]:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(filter(None, map(text_of, entries)))
