"""OpenRouter's plugins: what shortens chats that are too long, and what reads PDFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..api.http import COMPRESSION_PLUGIN
from ..core.config import Settings
from ..core.json_values import JsonObject, objects_in


def plugin_fields(
    body: Mapping[str, Any], conversation: Sequence[Mapping[str, Any]], settings: Settings
) -> dict[str, Any]:
    """The request's `plugins`: the chat's own, and what the admin wants besides."""
    own = objects_in(body.get("plugins"))
    wanted: list[JsonObject] = []
    if settings.auto_context_trimming:
        wanted.append({"id": COMPRESSION_PLUGIN, "engine": "middle-out"})
    if settings.attachments.pdf_engine and _holds_file(conversation):
        engine = {"engine": settings.attachments.pdf_engine}
        wanted.append({"id": "file-parser", "pdf": engine})
    # A chat's own word on a plugin stays.
    named = {plugin.get("id") for plugin in own}
    added = [plugin for plugin in wanted if plugin["id"] not in named]
    return {"plugins": [*own, *added]} if added else {}


def _holds_file(conversation: Sequence[Mapping[str, Any]]) -> bool:
    contents = (objects_in(item.get("content")) for item in conversation)
    return any(part.get("type") == "input_file" for parts in contents for part in parts)
