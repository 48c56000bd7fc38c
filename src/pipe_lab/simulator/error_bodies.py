"""OpenRouter's error bodies, one builder for each of the eight shapes."""

from __future__ import annotations

import time
from typing import Any

import orjson

from .identifiers import generation_id
from .replies import Event, Reply
from .responses_events import failed_response, opening_response

Json = dict[str, Any]


def error_plain(code: int, message: str, **metadata: Any) -> Json:
    """Shape A: an integer code, the metadata inside; both APIs, HTTP 400 and above."""
    error: Json = {"message": message, "code": code}
    return {"error": error | ({"metadata": metadata} if metadata else {})}


def error_validation(message: str, issues: list[Json] | None = None) -> Json:
    """Shape B: a word for a code, and the issues as JSON text beside the error."""
    raw = None if issues is None else {"raw": orjson.dumps(issues).decode()}
    return {"error": {"code": "invalid_prompt", "message": message}, "metadata": raw}


def error_availability(message: str, status: int, error_type: str, availability: Json) -> Json:
    """Shape C: no code at all, but what to do about it."""
    error = {"message": message, "error_type": error_type, "http_status": status}
    return {"error": {**error, "availability": availability}}


def error_failed_response(message: str, code: str, error_type: str, model: str = "") -> Json:
    """Shape D: a response object that failed."""
    return failed_response(
        opening_response(model), {"code": code, "message": message}, error_type, None
    )


def error_chat_choice(message: str, code: int, error_type: str, *, stream: bool = False) -> Json:
    """Shape E: a chat answer (or chunk) that breaks off inside its choice."""
    error = {"code": code, "message": message, "metadata": {"error_type": error_type}}
    if stream:
        choice: Json = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return {**_chat_head("chat.completion.chunk"), "error": error, "choices": [choice]}
    partial = {"role": "assistant", "content": "The beginning"}
    choice = {"index": 0, "message": partial, "finish_reason": "error", "error": error}
    return {**_chat_head("chat.completion"), "choices": [choice]}


def _chat_head(kind: str) -> Json:
    head = {"id": generation_id(), "object": kind, "created": int(time.time())}
    return {**head, "model": "openai/gpt-4o", "provider": "OpenAI"}


def error_event(message: str, code: str | None, number: int = 0) -> Json:
    """Shape F: the `error` event of a /responses stream, flat."""
    return {
        "type": "error",
        "code": code,
        "message": message,
        "param": None,
        "sequence_number": number,
    }


def error_event_wrapped(message: str, code: Any, kind: str | None = "response.error") -> Json:
    """Shape G: `response.error`, a wrapped `error`, or (kind None) a bare envelope in a stream."""
    error = {"error": {"code": code, "message": message}}
    return {"type": kind, **error} if kind else error


def error_in_success(message: str, code: int = 500) -> Reply:
    """Shape H: shape A under HTTP 200."""
    return Reply(body=error_plain(code, message))


def error_reply(status: int, message: str, *, retry_after: float | None = None) -> Reply:
    """A reply with shape A and its status, and `Retry-After` if the server knows when."""
    headers = {} if retry_after is None else {"Retry-After": f"{retry_after:g}"}
    return Reply(status=status, headers=headers, body=error_plain(status, message))


def broken_off(reply: Reply, after: int, *endings: Event) -> Reply:
    """A stream whose first `after` events are followed by other ones, such as an error event."""
    return Reply(events=[*(reply.events or [])[:after], *endings], done=reply.done)
