"""Conversations that are too long: shortened in their middle, where the admin wants that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..api.http import COMPRESSION_PLUGIN
from ..core.config import Settings
from ..core.json_values import objects_in


def trimming_fields(body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The request's `plugins` with the one that trims; a chat's own word on it stays."""
    plugins = objects_in(body.get("plugins"))
    is_settled = any(plugin.get("id") == COMPRESSION_PLUGIN for plugin in plugins)
    if is_settled or not settings.auto_context_trimming:
        return {}
    return {"plugins": [*plugins, {"id": COMPRESSION_PLUGIN, "engine": "middle-out"}]}
