"""Every shape of error body OpenRouter sends becomes one `OpenRouterAPIError`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

import httpx

from ..core.errors import ApiFailure, OpenRouterAPIError
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from ..core.redaction import redact_text
from .error_figures import figures_in

# `error_type` and response-level codes that stand for an HTTP status (schema `ApiErrorType`).
_STATUS_BY_TYPE = {
    "authentication": 401,
    "payment_required": 402,
    "permission_denied": 403,
    "not_found": 404,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unprocessable": 422,
    "rate_limit_exceeded": 429,
    "server": 500,
    "server_error": 500,
    "unmapped": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout": 504,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "max_tokens_exceeded": 400,
    "token_limit_exceeded": 400,
    "string_too_long": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "unsupported_image_format": 400,
    "image_download_failed": 400,
    "image_not_found": 404,
    "content_policy_violation": 400,
    "refusal": 400,
    # Of a failed response, where `error_type` is missing (schema `ResponsesErrorField`).
    "bio_policy": 403,
    "data_residency_mismatch": 403,
    "vector_store_timeout": 504,
    "invalid_image_format": 400,
    "invalid_base64_image": 400,
    "invalid_image_url": 400,
    "image_parse_error": 400,
    "image_content_policy_violation": 400,
    "invalid_image_mode": 400,
    "image_file_too_large": 400,
    "unsupported_image_media_type": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "image_file_not_found": 404,
}
_LONGEST_MESSAGE = 2_000


def read_http_error(response: httpx.Response, content: bytes) -> OpenRouterAPIError:
    """Read an answer with an error status, or one that hides an error under HTTP 200."""
    try:
        body = as_object(decode_json(content))
    except ValueError:
        body = {"error": {"message": _gateway_text(response, content)}}
    return read_error_body(body, status=response.status_code, headers=response.headers)


def read_error_body(
    body: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> OpenRouterAPIError:
    """Read an error object: a whole body, a failed response object or an event of a stream."""
    headers = headers or {}
    error = _find_error(body)
    metadata = as_object(error.get("metadata")) | as_object(body.get("metadata"))
    availability = as_object(error.get("availability"))
    code = text_of(error.get("code")) or text_of(availability.get("code"))
    error_type = _first_text(
        error.get("error_type"), metadata.get("error_type"), body.get("error_type")
    )
    message = _fit_to_show(_first_text(error.get("message"), body.get("message")))
    return OpenRouterAPIError(
        ApiFailure(
            message=message,
            status=_find_status(status, error, code, error_type),
            code=code,
            error_type=error_type,
            provider=text_of(metadata.get("provider_name")),
            upstream_message=_fit_to_show(_upstream_message(metadata.get("raw"))),
            retry_after=_find_retry_after(headers, availability),
            may_pass=availability.get("retryable") is not False,
            generation_id=headers.get("x-generation-id", "") or text_of(body.get("id")),
            moderation_reasons=_texts_in(metadata.get("reasons") or metadata.get("patterns")),
            flagged_excerpt=_fit_to_show(text_of(metadata.get("flagged_input"))),
            rate_limit_scope=text_of(metadata.get("limit_source")),
            **figures_in(message),
        )
    )


def holds_error(body: JsonObject) -> bool:
    """Whether a JSON object reports a failure, whatever the HTTP status was."""
    return bool(body.get("error")) or body.get("status") == "failed"


def _find_error(body: JsonObject) -> JsonObject:
    nested = body.get("error")
    if isinstance(nested, str):
        return {"message": nested}
    if error := as_object(nested):
        return error
    if error := as_object(as_object(body.get("response")).get("error")):
        return error
    return body if body.get("message") else {}


def _find_status(status: int, error: JsonObject, code: str, error_type: str) -> int | None:
    if status >= 300:
        return status
    for candidate in (error.get("http_status"), code):
        number = text_of(candidate)
        if len(number) == 3 and number.isdecimal() and 400 <= int(number) < 600:
            return int(number)
    return _STATUS_BY_TYPE.get(error_type) or _STATUS_BY_TYPE.get(code)


def _find_retry_after(headers: Mapping[str, str], availability: JsonObject) -> float | None:
    for candidate in (headers.get("retry-after"), availability.get("retry_after")):
        seconds = _seconds_until(text_of(candidate))
        if seconds is not None and 0 <= seconds < float("inf"):
            return seconds
    return None


def _seconds_until(text: str) -> float | None:
    """A wait given in seconds, or as the date at which it is over (RFC 9110, `Retry-After`)."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _upstream_message(raw: Any) -> str:
    """What the provider said: often JSON inside a string, sometimes a list of validation issues."""
    if isinstance(raw, str):
        try:
            decoded = decode_json(raw)
        except ValueError:
            return raw.strip()
        return _upstream_message(decoded) if isinstance(decoded, dict | list) else raw.strip()
    if isinstance(raw, list):
        entries = objects_in(cast("list[Any]", raw))
        issues = (_issue(entry) or _upstream_message(entry) for entry in entries)
        return "; ".join(filter(None, issues))
    body = as_object(raw)
    nested = body.get("error")
    if isinstance(nested, str):
        return nested
    return _first_text(as_object(nested).get("message"), body.get("message"), body.get("detail"))


def _issue(entry: JsonObject) -> str:
    path = entry.get("path")
    steps = cast("list[Any]", path) if isinstance(path, list) else []
    place = ".".join(text_of(step) for step in steps)
    message = text_of(entry.get("message"))
    return f"{place}: {message}" if place and message else message


def _first_text(*candidates: Any) -> str:
    return next((text for text in map(text_of, candidates) if text), "")


def _gateway_text(response: httpx.Response, content: bytes) -> str:
    """A gateway's HTML page says less than its status line."""
    kind = response.headers.get("content-type", "")
    if "html" in kind or not content:
        return response.reason_phrase or "no reason was given"
    return content.decode("utf-8", "replace").strip()


def _texts_in(value: Any) -> tuple[str, ...]:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(filter(None, map(_fit_to_show, map(text_of, entries))))


def _fit_to_show(text: str) -> str:
    text = redact_text(text)
    return (
        text
        if len(text) <= _LONGEST_MESSAGE
        else text[:_LONGEST_MESSAGE] + " \N{HORIZONTAL ELLIPSIS}"
    )
