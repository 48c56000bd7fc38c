"""Prompt caches: kept warm by one provider a chat, asked for where a vendor wants that."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from ..core.context import RequestContext
from ..core.json_values import JsonObject


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


def mark_breakpoints(
    messages: Sequence[JsonObject], tools: Sequence[JsonObject], cache_control: JsonObject
) -> None:
    """Mark where a chat request's cache may end early: after tools, system prompt and question.

    The automatic breakpoint of the top level is the fourth, and vendors take no more. It alone
    would lose everything when a question is edited or the answer made anew.
    """
    marked = [tool for tool in tools if tool["type"] == "function"][-1:]
    for role in ("system", "user"):
        of_role = [message for message in messages if message["role"] == role]
        marked += [part for message in of_role[-1:] for part in _last_text(message)]
    for block in marked:
        block.setdefault("cache_control", cache_control)


def _last_text(message: JsonObject) -> list[JsonObject]:
    """The last text of a message as a part, for only a part can carry a mark."""
    content = message["content"]
    if isinstance(content, str):
        content = message["content"] = [{"type": "text", "text": content}] if content else []
    return [part for part in content if part["type"] == "text"][-1:]


def _session_id(chat_id: str) -> str:
    """A name for the chat that keeps its provider, and tells OpenRouter nothing about the chat."""
    secret = os.environ.get("WEBUI_SECRET_KEY", "")
    if not secret or not chat_id:
        return ""
    return hmac.new(
        secret.encode("utf-8", "surrogateescape"), f"openrouter:{chat_id}".encode(), sha256
    ).hexdigest()
