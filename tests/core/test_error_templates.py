"""The text of an error: the right template, filled with what is known, and no key in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext
from open_webui_openrouter_pipe.core.error_templates import explain_failure
from open_webui_openrouter_pipe.core.errors import (
    ApiFailure,
    ApiKeyError,
    BusyError,
    ConnectionFailedError,
    EndpointConflictError,
    HostTooOldError,
    InternalError,
    ModelUnavailableError,
    OpenRouterAPIError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UnsupportedInputError,
    UpstreamTimeoutError,
)
from open_webui_openrouter_pipe.core.logging_system import LOG

TEMPLATES = [name for name in SystemValves.model_fields if name.endswith("_TEMPLATE")]


@pytest.fixture
def log() -> Iterator[list[str]]:
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Lines()
    LOG.addHandler(handler)
    yield lines
    LOG.removeHandler(handler)


def explain(error: PipeError, **valves: Any) -> str:
    context = RequestContext(
        request_id="0123456789abcdef",
        function_id="f",
        settings=take_snapshot(SystemValves(**{"API_KEY": "sk-or-v1-mine", **valves})),
        model="a/one",
        user_id="user-1",
        session_id="session-1",
    )
    return explain_failure(error, context)


def refused(**known: Any) -> OpenRouterAPIError:
    return OpenRouterAPIError(ApiFailure(**{"message": "No", **known}))


CAUSES: list[tuple[PipeError, str]] = [
    (refused(status=400), "OPENROUTER_ERROR"),
    (refused(status=403), "OPENROUTER_ERROR"),
    (refused(status=None), "OPENROUTER_ERROR"),
    (refused(status=401), "AUTHENTICATION_ERROR"),
    (ApiKeyError("No key"), "AUTHENTICATION_ERROR"),
    (refused(status=402), "INSUFFICIENT_CREDITS"),
    (refused(status=408), "SERVER_TIMEOUT"),
    (refused(status=504), "SERVER_TIMEOUT"),
    (refused(status=413), "PAYLOAD_TOO_LARGE"),
    (refused(status=429), "RATE_LIMIT"),
    (refused(status=500), "SERVICE_ERROR"),
    (refused(status=529), "SERVICE_ERROR"),
    (UpstreamTimeoutError("Silence"), "NETWORK_TIMEOUT"),
    (ConnectionFailedError("Nobody there"), "CONNECTION_ERROR"),
    (InternalError("Oh"), "INTERNAL_ERROR"),
    (ModelUnavailableError("Not here"), "MODEL_RESTRICTED"),
    (EndpointConflictError("Not there"), "ENDPOINT_OVERRIDE_CONFLICT"),
    (StreamInterruptedError("Half"), "STREAM_INTERRUPTED"),
]


@pytest.mark.parametrize(("error", "name"), CAUSES)
def test_each_cause_has_its_template(error: PipeError, name: str) -> None:
    own = {template: f"{template} for {{requested_model}}" for template in TEMPLATES}
    assert explain(error, **own) == f"{name}_TEMPLATE for a/one"


def test_every_template_has_a_cause() -> None:
    assert {f"{name}_TEMPLATE" for _, name in CAUSES} == set(TEMPLATES)


@pytest.mark.parametrize(
    "error",
    [
        *(error for error, _ in CAUSES),
        BusyError("Full"),
        HostTooOldError("Old"),
        SettingsError("Odd"),
        UnsupportedInputError("What"),
    ],
)
def test_the_built_in_text_tells_cause_next_step_contact_and_number(error: PipeError) -> None:
    error.next_step = "Do that."
    text = explain(error, SUPPORT_EMAIL="it@example.org", SUPPORT_URL="https://help.example")
    for words in (error.cause, "Do that.", "it@example.org", "https://help.example"):
        assert words in text
    assert text.endswith("Error ID: 0123456789abcdef.")
    assert "{" not in text and "}" not in text
    lean = explain(error)
    assert "Questions?" not in lean and "Help:" not in lean


FAILURE = {
    "message": "Provider returned error",
    "status": 429,
    "code": "slow",
    "error_type": "rate_limit_exceeded",
    "provider": "Acme",
    "upstream_message": "Acme is full",
    "retry_after": 7.5,
    "generation_id": "gen-1",
    "moderation_reasons": ("violence", "hate"),
    "flagged_excerpt": "the words",
    "rate_limit_scope": "free_models_per_min",
    "requested_tokens": 65_536,
    "affordable_tokens": 1_200,
    "context_limit": 200_000,
    "required_cost": 0.25,
    "account_balance": 0.0,
}


@pytest.mark.parametrize(
    ("placeholder", "value"),
    [
        ("error_id", "0123456789abcdef"),
        ("openrouter_code", "slow"),
        ("openrouter_message", "Provider returned error"),
        ("upstream_message", "Acme is full"),
        ("sanitized_detail", "Acme is full"),
        ("reason", "Acme is full"),
        ("provider", "Acme"),
        ("requested_model", "a/one"),
        ("status_code", "429"),
        ("retry_after_seconds", "7.5"),
        ("rate_limit_type", "free_models_per_min"),
        ("moderation_reasons", "violence, hate"),
        ("flagged_excerpt", "the words"),
        ("request_id", "gen-1"),
        ("requested_tokens", "65536"),
        ("affordable_tokens", "1200"),
        ("context_limit_tokens", "200000"),
        ("required_cost", "0.25"),
        ("account_balance", "0"),
        ("error_type", "rate_limit_exceeded"),
        ("session_id", "session-1"),
        ("user_id", "user-1"),
        ("cause", "Acme (429): Acme is full"),
    ],
)
def test_a_placeholder_holds_what_openrouter_said(placeholder: str, value: str) -> None:
    text = explain(refused(**FAILURE), RATE_LIMIT_TEMPLATE=f"<{{{placeholder}}}>")
    assert text == f"<{value}>"


def test_the_time_is_given_in_utc() -> None:
    text = explain(InternalError("Oh"), INTERNAL_ERROR_TEMPLATE="{timestamp}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)


def test_other_causes_fill_placeholders_of_their_own() -> None:
    conflict = EndpointConflictError("No", required="chat_completions", enforced="responses")
    both = "{required_endpoint} not {enforced_endpoint}"
    assert explain(conflict, ENDPOINT_OVERRIDE_CONFLICT_TEMPLATE=both) == (
        "chat_completions not responses"
    )
    restricted = "{model_id_filter}: {restriction_reasons}"
    assert (
        explain(
            ModelUnavailableError("No"), MODEL_ID="b/*, c", MODEL_RESTRICTED_TEMPLATE=restricted
        )
        == "b/*, c: No"
    )
    waited = {"HTTP_SOCK_READ_SECONDS": 40, "NETWORK_TIMEOUT_TEMPLATE": "After:\n{timeout_seconds}"}
    assert explain(UpstreamTimeoutError("No"), **waited) == "After:\n40"
    # With two limits it is not known which of them was met.
    assert explain(UpstreamTimeoutError("No"), HTTP_TOTAL_TIMEOUT_SECONDS=9, **waited) == "After:"
    assert explain(InternalError("No"), INTERNAL_ERROR_TEMPLATE="{error_type}") == "InternalError"


def test_a_broken_template_gives_way_to_the_built_in_text_and_is_logged_once(
    log: list[str],
) -> None:
    broken = {"INTERNAL_ERROR_TEMPLATE": "Unique {{#if error_id}}"}
    assert explain(InternalError("Oh"), **broken) == explain(InternalError("Oh"))
    explain(InternalError("Again"), **broken)
    [line] = log
    assert "INTERNAL_ERROR_TEMPLATE" in line and "line 1" in line


@pytest.mark.parametrize("template", ["{unheard_of}", "{{#if provider}}\nx\n{{/if}}", "  \n "])
def test_a_template_with_nothing_to_say_gives_way_too(template: str) -> None:
    error = InternalError("Oh")
    assert explain(error, INTERNAL_ERROR_TEMPLATE=template) == explain(error)


@pytest.mark.parametrize("key", ["sk-or-v1-mine", "a gateway's own key".replace(" ", "_")])
@pytest.mark.parametrize("template", ["", "{openrouter_message} {provider} {flagged_excerpt}"])
def test_no_text_holds_the_key(key: str, template: str) -> None:
    error = refused(
        message=f"The key {key} is bad",
        upstream_message=f"Bearer {key}",
        provider=key,
        flagged_excerpt=key,
        status=400,
    )
    text = explain(error, API_KEY=key, OPENROUTER_ERROR_TEMPLATE=template)
    assert key not in text and "[redacted]" in text


def test_no_text_holds_the_key_of_somebody_else() -> None:
    text = explain(refused(provider="sk-or-v1-another"), OPENROUTER_ERROR_TEMPLATE="<{provider}>")
    assert text == "<[redacted]>"


def test_a_key_that_cannot_be_read_does_not_hide_the_cause() -> None:
    error = ApiKeyError("The key cannot be decrypted.")
    assert "cannot be decrypted" in explain(error, API_KEY="encrypted:nonsense")


def test_an_excerpt_a_limit_and_a_balance_are_shown_where_known() -> None:
    assert "violence, hate" in explain(refused(**{**FAILURE, "status": 403}))
    assert "the words" in explain(refused(**{**FAILURE, "status": 403}))
    assert "free_models_per_min" in explain(refused(**FAILURE))
    poor = explain(refused(**{**FAILURE, "status": 402}))
    assert "$0.25" in poor and "$0." in poor
    assert "gen-1" in explain(refused(**{**FAILURE, "status": 502}))
