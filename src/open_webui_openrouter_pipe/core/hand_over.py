"""What the companion filters have left for a request, in a key of `metadata` of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .json_values import JsonObject, as_object, objects_in, text_of

HAND_OVER_KEY = "openrouter_pipe"
"""In `metadata`: what a filter writes into Open WebUI's own keys is put back before the pipe."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """What people have switched on for a request, in OpenRouter's words."""

    search: JsonObject | None = None
    """The parameters of the tool `openrouter:web_search`; `None` where it is not wanted."""
    provider: JsonObject = field(default_factory=dict[str, Any])
    """The user's own preferences, as `provider` takes them."""
    uploads: tuple[JsonObject, ...] = ()
    """The files (`id`, `name`) that were taken out of Open WebUI's retrieval for the model."""
    kept_uploads: JsonObject = field(default_factory=dict[str, Any])
    """Why others stayed there, by the file's id."""


NOTHING_HANDED_OVER = HandOver()


def read_hand_over(metadata: Mapping[str, Any]) -> HandOver:
    """Read what the filters have left; an admin may have edited them."""
    handed = as_object(metadata.get(HAND_OVER_KEY))
    search, uploads = handed.get("search"), objects_in(handed.get("uploads"))
    return HandOver(
        search=None if search is None else as_object(search),
        provider=as_object(handed.get("provider")),
        uploads=tuple(file for file in uploads if text_of(file.get("id"))),
        kept_uploads=as_object(handed.get("kept_uploads")),
    )
