"""Prompt caches: kept warm by one provider a chat, asked for where a vendor wants that."""

from __future__ import annotations

import hmac
import os
from hashlib import sha256
from typing import Any

from ..core.context import RequestContext


def caching_fields(context: RequestContext) -> dict[str, Any]:
    """The request's `cache_control` and `session_id`."""
    settings = context.settings
    fields: dict[str, Any] = {}
    if settings.anthropic_cache_ttl and context.model.lstrip("~").startswith("anthropic/"):
        # On /responses only the automatic breakpoint of the top level is understood.
        fields["cache_control"] = {"type": "ephemeral", "ttl": settings.anthropic_cache_ttl}
    if session_id := _session_id(context.chat_id):
        fields["session_id"] = session_id
    return fields


def _session_id(chat_id: str) -> str:
    """A name for the chat that keeps its provider, and tells OpenRouter nothing about the chat."""
    secret = os.environ.get("WEBUI_SECRET_KEY", "")
    if not secret or not chat_id:
        return ""
    return hmac.new(
        secret.encode("utf-8", "surrogateescape"), f"openrouter:{chat_id}".encode(), sha256
    ).hexdigest()
