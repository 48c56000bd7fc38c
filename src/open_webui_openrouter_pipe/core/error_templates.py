"""What a person reads when a turn fails: the template for the cause, filled with what is known."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from .config import Settings
from .context import RequestContext
from .errors import (
    ApiFailure,
    ApiKeyError,
    ConnectionFailedError,
    EndpointConflictError,
    InternalError,
    ModelUnavailableError,
    OpenRouterAPIError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)
from .logging_system import LOG
from .redaction import REDACTED, redact_text
from .template_language import BrokenTemplateError, render_template
from .template_valves import ErrorTemplates

# A shorter one is no key, and would be found in any sentence.
_SHORTEST_KEY = 6


def _built_in(headline: str = "", *details: str) -> str:
    """Cause, details, next step, where to ask. Open WebUI joins the lines: each is a sentence."""
    opening = [headline] if headline else []
    closing = [
        "",
        "{next_step}",
        "",
        "Questions? Write to {support_email}.",
        "Help: {support_url}",
        "Error ID: {error_id}.",
    ]
    return "\n".join([*opening, "{cause}", *details, *closing])


_PLAIN = _built_in()
_BUILT_IN = ErrorTemplates(
    openrouter_error=_built_in(
        "",
        "Objection: {moderation_reasons}.",
        "It concerns: \u201c{flagged_excerpt}\u201d.",
        "OpenRouter's number for the request: {request_id}.",
    ),
    authentication_error=_built_in(
        "{{#if openrouter_message}}\nOpenRouter does not accept this server's key.\n{{/if}}"
    ),
    insufficient_credits=_built_in(
        "The OpenRouter account cannot pay for this answer.",
        "Needed: ${required_cost}.",
        "Left: ${account_balance}.",
    ),
    rate_limit=_built_in("Too many requests for the moment.", "Limit: {rate_limit_type}."),
    server_timeout=_built_in("The model took too long."),
    payload_too_large=_built_in("This chat is too large to be sent."),
    network_timeout=_built_in("", "The wait was limited to {timeout_seconds} seconds."),
    connection_error=_built_in(),
    service_error=_built_in(
        "The fault is on the other side, not in your message.",
        "OpenRouter's number for the request: {request_id}.",
    ),
    internal_error=_built_in(),
    model_restricted=_built_in(),
    endpoint_override_conflict=_built_in(),
    stream_interrupted=_built_in(),
)

_BY_STATUS = {
    401: "authentication_error",
    402: "insufficient_credits",
    408: "server_timeout",
    413: "payload_too_large",
    429: "rate_limit",
    504: "server_timeout",
    524: "server_timeout",
}
_BY_CAUSE: tuple[tuple[type[PipeError], str], ...] = (
    (ApiKeyError, "authentication_error"),
    (ModelUnavailableError, "model_restricted"),
    (EndpointConflictError, "endpoint_override_conflict"),
    (ConnectionFailedError, "connection_error"),
    (UpstreamTimeoutError, "network_timeout"),
    (StreamInterruptedError, "stream_interrupted"),
    (InternalError, "internal_error"),
)


def explain_failure(error: PipeError, context: RequestContext) -> str:
    """The text of the message's error, in the admin's words where there are any."""
    name, values = _choose_template(error), _known_values(error, context)
    text = _in_own_words(name, context, values) if name else ""
    if not text:
        text = render_template(getattr(_BUILT_IN, name) if name else _PLAIN, values)
    return without_key(text, context.settings)


def without_key(text: str, settings: Settings) -> str:
    """Whatever a server sent back: the key that the request was made with is not in it."""
    text = redact_text(text)
    try:
        key = settings.api_key.reveal()
    except SettingsError:
        return text
    return text.replace(key, REDACTED) if len(key) >= _SHORTEST_KEY else text


def _choose_template(error: PipeError) -> str:
    if isinstance(error, OpenRouterAPIError):
        status = error.failure.status or 0
        return _BY_STATUS.get(status, "service_error" if status >= 500 else "openrouter_error")
    return next((name for cause, name in _BY_CAUSE if isinstance(error, cause)), "")


def _in_own_words(name: str, context: RequestContext, values: dict[str, str]) -> str:
    template: str = getattr(context.settings.error_templates, name)
    try:
        return render_template(template, values)
    except BrokenTemplateError as broken:
        _report_broken(name, template, str(broken))
        return ""


@lru_cache(maxsize=64)
def _report_broken(name: str, template: str, problem: str) -> None:
    """The cache makes it once for each text."""
    LOG.warning(
        "%s_TEMPLATE cannot be read (%s); the built-in text is used instead of these %d characters",
        name.upper(),
        problem,
        len(template),
    )


def _known_values(error: PipeError, context: RequestContext) -> dict[str, str]:
    values = {
        "cause": error.cause,
        "next_step": error.next_step,
        "reason": error.cause,
        "error_id": context.request_id,
        "error_type": type(error).__name__,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "requested_model": context.model,
        "model_identifier": context.model,
        "normalized_model_id": context.model,
        "api_model_id": context.model,
        "session_id": context.session_id,
        "user_id": context.user_id,
        "support_email": context.settings.error_templates.support_email,
        "support_url": context.settings.error_templates.support_url,
    }
    match error:
        case OpenRouterAPIError():
            values |= _values_of_failure(error.failure)
        case EndpointConflictError():
            values["required_endpoint"] = error.required_endpoint
            values["enforced_endpoint"] = error.enforced_endpoint
        case ModelUnavailableError():
            values["restriction_reasons"] = error.cause
            values["model_id_filter"] = ", ".join(context.settings.catalog.model_ids)
        case UpstreamTimeoutError() if context.settings.total_timeout is None:
            values["timeout_seconds"] = _number(context.settings.silence_timeout)
        case _:
            pass
    return values


def _values_of_failure(failure: ApiFailure) -> dict[str, str]:
    values = {
        "openrouter_code": failure.code or _number(failure.status),
        "openrouter_message": failure.message,
        "upstream_message": failure.upstream_message,
        "sanitized_detail": failure.upstream_message or failure.message,
        "reason": failure.upstream_message or failure.message,
        "provider": failure.provider,
        "status_code": _number(failure.status),
        "retry_after_seconds": _number(failure.retry_after),
        "rate_limit_type": failure.rate_limit_scope,
        "moderation_reasons": ", ".join(failure.moderation_reasons),
        "flagged_excerpt": failure.flagged_excerpt,
        "request_id": failure.generation_id,
        "request_id_reference": failure.generation_id,
        "requested_tokens": _number(failure.requested_tokens),
        "affordable_tokens": _number(failure.affordable_tokens),
        "context_limit_tokens": _number(failure.context_limit),
        "include_model_limits": _number(failure.context_limit),
        "required_cost": _number(failure.required_cost),
        "account_balance": _number(failure.account_balance),
    }
    # OpenRouter's own name of the cause says more than ours.
    return values | {"error_type": failure.error_type} if failure.error_type else values


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"
