"""The filters as Open WebUI loads and calls them: from their text, with stored values."""

from __future__ import annotations

from typing import Any

from build.host import load_as_open_webui
from open_webui_openrouter_pipe.core.hand_over import HandOver, read_hand_over
from open_webui_openrouter_pipe.filters.sources import FILTER_SOURCES


def load_filter(name: str, filter_id: str = "openrouter", **valves: Any) -> Any:
    """The filter of a file, with the admin's values."""
    loaded = load_as_open_webui(FILTER_SOURCES[name], filter_id).Filter()
    if hasattr(loaded, "Valves"):
        loaded.valves = loaded.Valves(**valves)
    return loaded


def handed_over(loaded: Any, body: dict[str, Any] | None = None, **own: Any) -> HandOver:
    """What the pipe reads of a request that has gone through the filter."""
    metadata: dict[str, Any] = {}
    loaded.inlet(
        body=body if body is not None else {},
        __metadata__=metadata,
        __user__={"id": "u", "valves": loaded.UserValves(**own)},
        **place_of(loaded),
    )
    return read_hand_over(metadata)


def place_of(loaded: Any, model: Any = None) -> dict[str, Any]:
    """Where the filter stands, for one that asks."""
    if not hasattr(loaded, "Valves"):
        return {}
    return {"__id__": "openrouter_search", "__model__": model or {"id": "openrouter.a.one"}}
