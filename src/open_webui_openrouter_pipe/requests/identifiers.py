"""Who and what a request belongs to: told to OpenRouter only where the admin wants it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.context import RequestContext
from ..core.json_values import as_object, text_of

# The API's limits; `user` is documented with 128 and with 256 characters.
_LONGEST_USER = 128
_LONGEST_SESSION = 256
_MOST_PAIRS = 16
_LONGEST_KEY = 64
_LONGEST_VALUE = 512


def identifier_fields(body: Mapping[str, Any], context: RequestContext) -> dict[str, Any]:
    """The request's `user`, `session_id`, `metadata` and `trace`.

    What a caller puts under the first three never goes out; `trace` is the admin's, by a custom
    parameter of the model.
    """
    settings = context.settings
    user_id = context.user_id if settings.send_end_user_id else ""
    session_id = context.session_id if settings.send_session_id else ""
    told = {
        "user_id": user_id,
        "session_id": session_id,
        "chat_id": context.chat_id if settings.send_chat_id else "",
        "message_id": context.message_id if settings.send_message_id else "",
    }
    fields: dict[str, Any] = {}
    if user_id and len(user_id) <= _LONGEST_USER:
        fields["user"] = user_id
    if session_id and len(session_id) <= _LONGEST_SESSION:
        fields["session_id"] = session_id
    if metadata := allowed_metadata(told):
        fields["metadata"] = metadata
    if trace := {**as_object(body.get("trace")), **as_object(body.get("openrouter_trace"))}:
        fields["trace"] = trace
    return fields


def allowed_metadata(pairs: Mapping[str, Any]) -> dict[str, str]:
    """The pairs the API takes, as many as it takes; a cut id would name something else."""
    told = {name: text_of(value) for name, value in pairs.items()}
    allowed = [
        (name, value)
        for name, value in told.items()
        if 0 < len(name) <= _LONGEST_KEY
        and not set("[]") & set(name)
        and 0 < len(value) <= _LONGEST_VALUE
    ]
    return dict(allowed[:_MOST_PAIRS])
