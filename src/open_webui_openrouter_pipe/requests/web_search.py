"""The search that a person has switched on in the chat: as a tool, or for the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..api.bodies import CompletionsBody
from ..core.context import RequestContext
from ..core.json_values import JsonObject, objects_in, text_of
from ..host.columns import is_switched_on
from ..models.companions import SEARCH_OPT_OUTS
from ..models.family import ModelFamily, takes_tools

_TOOL = "openrouter:web_search"
_PLUGIN = "web"
# What the plugin takes of the tool's parameters, under its own names.
_IN_PLUGIN = {
    "engine": "engine",
    "max_results": "max_results",
    "max_uses": "max_uses",
    "user_location": "user_location",
    "allowed_domains": "include_domains",
    "excluded_domains": "exclude_domains",
}


@dataclass(frozen=True, slots=True)
class WebSearch:
    """What a request needs for it: one of the two, or nothing."""

    tools: tuple[JsonObject, ...] = ()
    plugins: tuple[JsonObject, ...] = ()


def plan_search(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    definitions: Sequence[JsonObject],
) -> WebSearch:
    """The search as the model can use it; nothing where the request may not, or does already.

    A model that takes tools decides for itself whether and what to search and read, and learns
    what day it is; for any other OpenRouter searches once, before it answers.
    """
    wish = context.hand_over.search
    if wish is None or any(is_switched_on(body.get(name)) for name in SEARCH_OPT_OUTS):
        return WebSearch()
    if _searches_already(body, context.model, definitions):
        return WebSearch()
    if takes_tools(family):
        search = {"type": _TOOL, "parameters": wish}
        return WebSearch(tools=(search, _page_reader(wish), {"type": "openrouter:datetime"}))
    return WebSearch(plugins=(_search_plugin(wish),))


def _page_reader(wish: JsonObject) -> JsonObject:
    """What opens the pages found, within the same sites; this engine costs nothing."""
    sites = {"allowed_domains": "allowed_domains", "excluded_domains": "blocked_domains"}
    within = {sites[name]: wish[name] for name in sites if name in wish}
    return {"type": "openrouter:web_fetch", "parameters": {"engine": "openrouter", **within}}


def _searches_already(body: CompletionsBody, model: str, definitions: Sequence[JsonObject]) -> bool:
    return (
        "online" in model.split(":")[1:]
        or any(plugin.get("id") == _PLUGIN for plugin in objects_in(body.get("plugins")))
        or any("web_search" in text_of(entry.get("type")) for entry in definitions)
    )


def _search_plugin(wish: JsonObject) -> JsonObject:
    """The plugin; to leave the engine open it must not be named."""
    told = {name: value for name, value in wish.items() if value != "auto"}
    return {"id": _PLUGIN, **{_IN_PLUGIN[name]: told[name] for name in told if name in _IN_PLUGIN}}
