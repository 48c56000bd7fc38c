"""What governs the tools of a request: which must be used, and how far OpenRouter's own may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.config import Settings
from ..core.ids import api_tool_name
from ..core.json_values import JsonObject, as_object, objects_in, text_of, whole_of


def tool_fields(
    body: Mapping[str, Any], definitions: Sequence[JsonObject], settings: Settings
) -> dict[str, Any]:
    """The request's `tools` and what governs their use; nothing where there are none."""
    if not definitions:
        return {}
    fields: dict[str, Any] = {"tools": list(definitions)}
    if choice := _tool_choice(body.get("tool_choice")):
        fields["tool_choice"] = choice
    if isinstance(body.get("parallel_tool_calls"), bool):
        fields["parallel_tool_calls"] = body["parallel_tool_calls"]
    if any(entry.get("type") != "function" for entry in definitions):
        fields |= _server_tool_limits(body, settings)
    return fields


def _tool_choice(choice: Any) -> str | JsonObject:
    """The choice in the Responses API's flat form."""
    if isinstance(choice, str):
        return choice
    named = as_object(choice)
    if named.get("type") != "function":
        return named
    name = text_of(as_object(named.get("function")).get("name")) or text_of(named.get("name"))
    return {"type": "function", "name": api_tool_name(name)} if name else {}


def _server_tool_limits(body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Where OpenRouter's tools stop: a chat may ask for less than the admin allows, not for more.

    `max_tool_calls` becomes a condition: beside others the API ignores it, and so does the chat
    endpoint.
    """
    conditions = objects_in(body.get("stop_server_tools_when"))
    if cost := settings.server_tools_max_cost:
        conditions.append({"type": "max_cost", "max_cost_in_dollars": cost})
    asked = whole_of(body.get("max_tool_calls")) or 0
    limits = [most for most in (asked, settings.server_tools_max_calls) if most > 0]
    if limits:
        conditions.append({"type": "step_count_is", "step_count": min(limits)})
    return {"stop_server_tools_when": conditions} if conditions else {}
