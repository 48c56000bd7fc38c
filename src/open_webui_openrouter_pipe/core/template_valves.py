"""The valves with which an admin words the errors, and the value object they become."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from pydantic import BaseModel, Field

from .valve_types import Text


def _template(title: str, occasion: str) -> Any:
    """A text of many lines: without an input type the form shows one that grows."""
    description = f"Shown when {occasion}. Empty means the built-in text; see docs/errors.md."
    return Field(default="", title=f"Text: {title}", description=description)


class ErrorTemplateValves(BaseModel):
    """What people read when something fails."""

    SUPPORT_EMAIL: Text = Field(
        default="",
        title="Support address",
        description="An e-mail address named under each error; empty names none.",
    )
    SUPPORT_URL: Text = Field(
        default="",
        title="Support page",
        description="A page named under each error; empty names none.",
    )
    OPENROUTER_ERROR_TEMPLATE: Text = _template(
        "request refused", "OpenRouter or a provider refuses a request and no other text fits"
    )
    AUTHENTICATION_ERROR_TEMPLATE: Text = _template(
        "key refused", "the API key is missing, unreadable or not accepted"
    )
    INSUFFICIENT_CREDITS_TEMPLATE: Text = _template(
        "no credits", "the OpenRouter account cannot pay for the answer"
    )
    RATE_LIMIT_TEMPLATE: Text = _template("too many requests", "a rate limit is reached")
    SERVER_TIMEOUT_TEMPLATE: Text = _template(
        "provider too slow", "OpenRouter or the provider reports a timeout"
    )
    PAYLOAD_TOO_LARGE_TEMPLATE: Text = _template(
        "request too large", "the chat with its attachments is larger than OpenRouter takes"
    )
    NETWORK_TIMEOUT_TEMPLATE: Text = _template(
        "no answer in time", "OpenRouter is silent for longer than the timeouts allow"
    )
    CONNECTION_ERROR_TEMPLATE: Text = _template("no connection", "OpenRouter cannot be reached")
    SERVICE_ERROR_TEMPLATE: Text = _template(
        "service failure", "OpenRouter or the provider has a fault of its own"
    )
    INTERNAL_ERROR_TEMPLATE: Text = _template(
        "internal fault", "something goes wrong inside this function"
    )
    MODEL_RESTRICTED_TEMPLATE: Text = _template(
        "model not offered", "the chosen model is not among those offered"
    )
    ENDPOINT_OVERRIDE_CONFLICT_TEMPLATE: Text = _template(
        "endpoint conflict", "a request needs an endpoint that the settings forbid"
    )
    STREAM_INTERRUPTED_TEMPLATE: Text = _template(
        "answer broken off", "an answer stops before its end"
    )


@dataclass(frozen=True, slots=True)
class ErrorTemplates:
    """One text per kind of failure; in the settings, an empty one means the built-in text."""

    openrouter_error: str
    authentication_error: str
    insufficient_credits: str
    rate_limit: str
    server_timeout: str
    payload_too_large: str
    network_timeout: str
    connection_error: str
    service_error: str
    internal_error: str
    model_restricted: str
    endpoint_override_conflict: str
    stream_interrupted: str
    support_email: str = ""
    support_url: str = ""


def read_error_templates(valves: ErrorTemplateValves) -> ErrorTemplates:
    """The texts as the admin has written them."""
    texts = {
        field.name: str(getattr(valves, f"{field.name.upper()}_TEMPLATE"))
        for field in fields(ErrorTemplates)
        if not field.name.startswith("support_")
    }
    return ErrorTemplates(
        **texts, support_email=valves.SUPPORT_EMAIL, support_url=valves.SUPPORT_URL
    )
