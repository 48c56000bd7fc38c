"""Conversations that are too long: shortened in their middle, where the admin wants that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.config import Settings
from ..core.json_values import objects_in

_COMPRESSION = "context-compression"


def trimming_fields(body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The request's `plugins` with the one that trims; a chat's own word on it stays."""
    plugins = objects_in(body.get("plugins"))
    if not settings.auto_context_trimming or any(p.get("id") == _COMPRESSION for p in plugins):
        return {}
    return {"plugins": [*plugins, {"id": _COMPRESSION, "engine": "middle-out"}]}
