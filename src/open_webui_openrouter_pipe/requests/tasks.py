"""Open WebUI's own chores: a plain question, a plain and cheap answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.json_values import JsonObject, whole_of
from .next_round import TOOL_FIELDS

ANSWER_OF_MANY = "moa_response_generation"
"""Joins the answers of several models: it is read as an answer, so it is asked for as one."""

# What a chat may want and a chore does not; where a request may go (`provider`, `models`) stays.
_NOT_FOR_CHORES = (
    "plugins",
    "modalities",
    "image_config",
    "text",
    "service_tier",
    "cache_control",
    "prompt_cache_key",
    "session_id",
)
# OpenAI's models refuse a smaller limit, and Open WebUI asks for an emoji with four tokens.
_LEAST_OUTPUT_TOKENS = 16


def is_chore(task: str) -> bool:
    """Whether this is a chore of Open WebUI, not an answer for a person."""
    return bool(task) and task != ANSWER_OF_MANY


def as_chore(fields: Mapping[str, Any]) -> JsonObject:
    """The request without tools, plugins, pictures and caches.

    A cache would be written for a text that never comes again, and a session would move the chat
    to the provider that happened to serve its title.
    """
    left_out = TOOL_FIELDS.union(_NOT_FOR_CHORES)
    kept = {name: value for name, value in fields.items() if name not in left_out}
    limit = whole_of(kept.get("max_output_tokens"))
    if limit is not None:
        kept["max_output_tokens"] = max(limit, _LEAST_OUTPUT_TOKENS)
    return kept
