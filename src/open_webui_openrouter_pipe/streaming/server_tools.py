"""What OpenRouter did for the answer, as cards a person can open."""

from __future__ import annotations

from typing import Any, cast

from ..api.events import FunctionCallItem, ServerToolItem
from ..core.ids import SERVER_TOOL_CALL_PREFIX
from ..core.json_codec import encode_json
from ..core.json_values import as_object, objects_in, text_of
from ..core.redaction import without_files
from .output_items import function_call_item, function_call_output_item
from .renderer import HostEvent

_SEARCHES = frozenset({"web_search_call", "openrouter:web_search"})
_PAGE_ACTIONS = ("open_page", "find_in_page")
_RESULT_FIELDS = ("result", "content", "output", "outcome", "advice", "datetime", "stdout", "error")


def server_tool_cards(item: ServerToolItem) -> list[HostEvent]:
    """The items to store for it: Open WebUI draws searches itself, the rest looks like a tool."""
    if item.type in _SEARCHES:
        return [_search_card(item, _search_action(item))]
    if item.type == "openrouter:web_fetch":
        url = text_of(item.details.get("url"))
        return [_search_card(item, {"type": "open_page", "url": url})]
    call_id = SERVER_TOOL_CALL_PREFIX + item.id
    details = without_files(item.details)
    result = {key: details[key] for key in _RESULT_FIELDS if details.get(key)}
    arguments = {key: value for key, value in details.items() if key not in result}
    call = FunctionCallItem(
        id=item.id,
        call_id=call_id,
        name=item.type.removeprefix("openrouter:").removesuffix("_call"),
        arguments=encode_json(arguments).decode(),
    )
    text = "\n".join(_readable(value) for value in result.values()) or item.status
    return [function_call_item(call), function_call_output_item(call_id, text)]


def _search_card(item: ServerToolItem, action: HostEvent) -> HostEvent:
    return {"type": "web_search_call", "id": item.id, "status": item.status, "action": action}


def _search_action(item: ServerToolItem) -> HostEvent:
    action = as_object(item.details.get("action"))
    if action.get("type") in _PAGE_ACTIONS:
        told = {key: text_of(action.get(key)) for key in ("url", "pattern") if action.get(key)}
        return {"type": action["type"], **told}
    sources = [
        {"type": "url", "url": text_of(s.get("url"))} for s in objects_in(action.get("sources"))
    ]
    search = {"type": "search", "query": text_of(action.get("query")), "sources": sources}
    queries = action.get("queries")
    several = list(map(text_of, cast("list[Any]", queries))) if isinstance(queries, list) else []
    return search | {"queries": several} if several else search


def _readable(value: object) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()
