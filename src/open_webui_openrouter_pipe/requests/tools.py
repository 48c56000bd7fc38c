"""What governs the tools of a request: which must be used, and how far OpenRouter's own may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.config import Settings
from ..core.ids import api_tool_name
from ..core.json_values import JsonObject, as_object, number_of, objects_in, text_of


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
    """How far OpenRouter's tools may go: what the chat says, else what the admin has set."""
    if conditions := objects_in(body.get("stop_server_tools_when")):
        return {"stop_server_tools_when": conditions}
    asked = number_of(body.get("max_tool_calls"))
    most = round(asked) if asked is not None and asked >= 1 else settings.server_tools_max_calls
    if not settings.server_tools_max_cost:
        return {"max_tool_calls": most} if most else {}
    # The API ignores `max_tool_calls` beside conditions, so the count becomes one of them.
    conditions = [{"type": "max_cost", "max_cost_in_dollars": settings.server_tools_max_cost}]
    if most:
        conditions.append({"type": "step_count_is", "step_count": most})
    return {"stop_server_tools_when": conditions}
