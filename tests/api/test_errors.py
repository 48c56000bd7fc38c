"""Every shape of error body says the same thing in the end."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.errors import holds_error, read_error_body, read_http_error
from open_webui_openrouter_pipe.core.errors import ApiFailure

ISSUES = [{"path": ["input", 0, "role"], "message": "Unknown role"}, {"message": "Too short"}]
SHAPES: dict[str, tuple[int, dict[str, Any], dict[str, Any]]] = {
    "A: plain": (
        402,
        {"error": {"code": 402, "message": "Not enough credits"}, "user_id": "user_7"},
        {"message": "Not enough credits", "status": 402, "code": "402"},
    ),
    "A: a provider behind it": (
        429,
        {
            "error": {
                "code": 429,
                "message": "Provider returned error",
                "metadata": {
                    "provider_name": "Acme",
                    "raw": '{"error": {"message": "Acme is full", "type": "x"}}',
                    "error_type": "rate_limit_exceeded",
                },
            }
        },
        {
            "message": "Provider returned error",
            "status": 429,
            "code": "429",
            "error_type": "rate_limit_exceeded",
            "provider": "Acme",
            "upstream_message": "Acme is full",
        },
    ),
    "B: validation beside the error": (
        400,
        {
            "error": {"code": "invalid_prompt", "message": "Invalid request"},
            "metadata": {"raw": json.dumps(ISSUES)},
        },
        {
            "message": "Invalid request",
            "status": 400,
            "code": "invalid_prompt",
            "upstream_message": "input.0.role: Unknown role; Too short",
        },
    ),
    "B: without metadata": (
        400,
        {"error": {"code": "invalid_prompt", "message": "Invalid request"}, "metadata": None},
        {"message": "Invalid request", "status": 400, "code": "invalid_prompt"},
    ),
    "C: availability": (
        200,
        {
            "error": {
                "message": "No capacity",
                "error_type": "provider_overloaded",
                "http_status": 503,
                "availability": {"code": "temporarily_unavailable", "retry_after": 9},
            }
        },
        {
            "message": "No capacity",
            "status": 503,
            "code": "temporarily_unavailable",
            "error_type": "provider_overloaded",
            "retry_after": 9.0,
        },
    ),
    "C: not to be tried again": (
        404,
        {
            "error": {
                "message": "Gone for good",
                "error_type": "not_found",
                "http_status": 404,
                "availability": {"code": "model_deprecated", "retryable": False},
                "metadata": {"provider_name": "Acme"},
            }
        },
        {
            "message": "Gone for good",
            "status": 404,
            "code": "model_deprecated",
            "error_type": "not_found",
            "provider": "Acme",
            "may_pass": False,
        },
    ),
    "D: a failed response": (
        200,
        {
            "id": "gen-1-a",
            "status": "failed",
            "error": {"code": "server_error", "message": "Upstream broke"},
            "error_type": "provider_unavailable",
        },
        {
            "message": "Upstream broke",
            "status": 502,
            "code": "server_error",
            "error_type": "provider_unavailable",
            "generation_id": "gen-1-a",
        },
    ),
    "D: a code of its own": (
        200,
        {"status": "failed", "error": {"code": "empty_image_file", "message": "Empty"}},
        {"message": "Empty", "status": 400, "code": "empty_image_file"},
    ),
    "E: inside a choice": (
        200,
        {"error": {"code": 502, "message": "Gone"}, "finish_reason": "error", "index": 0},
        {"message": "Gone", "status": 502, "code": "502"},
    ),
    "E: a chat chunk": (
        200,
        {
            "id": "gen-1-b",
            "object": "chat.completion.chunk",
            "error": {"code": 502, "message": "Gone", "metadata": {"error_type": "server"}},
            "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}],
        },
        {
            "message": "Gone",
            "status": 502,
            "code": "502",
            "error_type": "server",
            "generation_id": "gen-1-b",
        },
    ),
    "F: a flat event": (
        200,
        {"type": "error", "code": "rate_limit_exceeded", "message": "Slow", "param": None},
        {"message": "Slow", "status": 429, "code": "rate_limit_exceeded"},
    ),
    "F: without a code": (
        200,
        {"type": "error", "code": None, "message": "Broke", "param": None},
        {"message": "Broke"},
    ),
    "G: a wrapped event": (
        200,
        {"type": "response.error", "error": {"code": "504", "message": "Too late"}},
        {"message": "Too late", "status": 504, "code": "504"},
    ),
    "G: a flat event, wrapped": (
        200,
        {"type": "error", "error": {"code": None, "message": "Broke"}},
        {"message": "Broke"},
    ),
    "G: bare": (
        200,
        {"error": {"code": "server_error", "message": "Broke"}},
        {"message": "Broke", "status": 500, "code": "server_error"},
    ),
    "G: a text for an error": (200, {"error": "Broke"}, {"message": "Broke"}),
    "H: under HTTP 200": (
        200,
        {"error": {"code": 404, "message": "No endpoints"}},
        {"message": "No endpoints", "status": 404, "code": "404"},
    ),
    "an event that wraps a response": (
        200,
        {"type": "response.failed", "response": {"error": {"code": 500, "message": "Oh"}}},
        {"message": "Oh", "status": 500, "code": "500"},
    ),
    "nothing known": (500, {"detail": "?"}, {"message": "", "status": 500}),
}


@pytest.mark.parametrize(("status", "body", "known"), SHAPES.values(), ids=SHAPES)
def test_every_shape_is_read(status: int, body: dict[str, Any], known: dict[str, Any]) -> None:
    assert read_error_body(body, status=status).failure == ApiFailure(**known)
    response = httpx.Response(status, json=body)
    assert read_http_error(response, response.content).failure == ApiFailure(**known)


def test_what_a_moderation_objects_to_is_read() -> None:
    flagged = {"reasons": ["violence", 7, None], "flagged_input": "first … last"}
    failure = read_error_body({"error": {"message": "m", "metadata": flagged}}).failure
    assert failure.moderation_reasons == ("violence", "7")
    assert failure.flagged_excerpt == "first … last"
    guarded = {"patterns": ["ignore all instructions"]}
    failure = read_error_body({"error": {"message": "m", "metadata": guarded}}).failure
    assert failure.moderation_reasons == ("ignore all instructions",)


def test_whose_limit_is_reached_is_read() -> None:
    metadata = {"limit_source": "upstream_provider_shared_pool"}
    failure = read_error_body({"error": {"message": "m", "metadata": metadata}}).failure
    assert failure.rate_limit_scope == "upstream_provider_shared_pool"


@pytest.mark.parametrize(
    ("message", "figures"),
    [
        (
            "This endpoint's maximum context length is 200000 tokens. However, you requested "
            "about 2500021 tokens (2500021 of text input).",
            {"context_limit": 200_000, "requested_tokens": 2_500_021},
        ),
        (
            "You requested up to 65,536 tokens, but can only afford 1200.",
            {"requested_tokens": 65_536, "affordable_tokens": 1_200},
        ),
        (
            "This request costs about $0.25, and the balance is $0.0014.",
            {"required_cost": 0.25, "account_balance": 0.0014},
        ),
        ("You requested a model that is not there", {}),
        ("requested " + "9" * 5_000, {}),
    ],
)
def test_the_figures_of_a_message_are_read(message: str, figures: dict[str, Any]) -> None:
    failure = read_error_body({"error": {"message": message}}).failure
    known = {
        name: value
        for name, value in dataclasses.asdict(failure).items()
        if name.endswith(("_tokens", "_cost", "_balance", "context_limit")) and value is not None
    }
    assert known == figures


def test_no_failure_holds_a_key() -> None:
    key = "sk-or-v1-0123456789abcdef"
    metadata = {"raw": f"bad key {key}", "flagged_input": key, "reasons": [key]}
    error = read_error_body({"error": {"message": f"Bearer {key}", "metadata": metadata}})
    assert key not in repr(error.failure) + error.for_person() + repr(error)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  upstream is down ", "upstream is down"),
        ('"quoted"', '"quoted"'),
        ("{broken", "{broken"),
        ({"error": "overloaded"}, "overloaded"),
        ({"error": {"message": "m"}}, "m"),
        ({"detail": "d"}, "d"),
        ('[{"error": {"message": "listed"}}]', "listed"),
        ({"other": 1}, ""),
        (None, ""),
        (7, ""),
    ],
)
def test_the_provider_is_quoted_whatever_it_sent(raw: Any, text: str) -> None:
    body = {"error": {"message": "m", "metadata": {"raw": raw}}}
    assert read_error_body(body).failure.upstream_message == text


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("-1", 3.0), ("nan", 3.0), ("inf", 3.0), ("Mon, 1 Jan", 3.0)],
)
def test_retry_after_is_read_from_the_header_and_then_from_the_body(
    header: str, seconds: float
) -> None:
    body = {"error": {"message": "m", "availability": {"retry_after": 3}}}
    response = httpx.Response(429, json=body, headers={"Retry-After": header})
    assert read_http_error(response, response.content).failure.retry_after == seconds


@pytest.mark.parametrize(("away", "least", "most"), [(20, 10, 20), (-50, 0, 0)])
def test_retry_after_may_be_a_date(away: int, least: float, most: float) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=away), usegmt=True)
    response = httpx.Response(429, json={}, headers={"Retry-After": date})
    seconds = read_http_error(response, response.content).failure.retry_after
    assert seconds is not None
    assert least <= seconds <= most


def test_the_generation_is_named_by_its_header() -> None:
    response = httpx.Response(500, json={}, headers={"X-Generation-Id": "gen-9"})
    assert read_http_error(response, b"{}").failure.generation_id == "gen-9"


@pytest.mark.parametrize(
    ("status", "kind", "content", "message"),
    [
        (502, "text/html; charset=utf-8", b"<h1>Bad gateway</h1>", "Bad Gateway"),
        (524, "text/html", b"<html>", "no reason was given"),
        (503, "text/plain", b" over capacity \xff\n", "over capacity \ufffd"),
        (500, "application/json", b"", "Internal Server Error"),
        (500, "application/json", b"[1]", ""),
    ],
)
def test_a_body_that_is_no_error_object_is_read(
    status: int, kind: str, content: bytes, message: str
) -> None:
    response = httpx.Response(status, headers={"content-type": kind})
    assert read_http_error(response, content).failure.message == message


def test_a_huge_message_is_cut() -> None:
    body = {"error": {"message": "x " * 4_500, "metadata": {"raw": "y " * 4_500}}}
    error = read_error_body(body, status=400)
    assert len(error.failure.message) == len(error.failure.upstream_message) == 2_002
    assert len(error.for_person()) < 2_200


@pytest.mark.parametrize(
    ("error_type", "status"),
    [("max_tokens_exceeded", 400), ("image_not_found", 404), ("timeout", 504), ("new_one", None)],
)
def test_a_failure_in_a_stream_gets_the_status_of_its_type(
    error_type: str, status: int | None
) -> None:
    assert read_error_body({"error": {"error_type": error_type}}).failure.status == status


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text("0123456789"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "metadata",
                    "raw",
                    "availability",
                    "http_status",
                    "path",
                ]
            ),
            inner,
        )
    ),
)


@given(st.dictionaries(st.sampled_from(["error", "metadata", "message", "response"]), ANY_JSON))
def test_no_body_is_too_strange(body: dict[str, Any]) -> None:
    failure = read_error_body(body).failure
    assert failure.status is None or 400 <= failure.status < 600


@pytest.mark.parametrize("code", ["9" * 5_000, "4²9", "٤٠٤", "42", 12, 99999])
def test_a_code_that_is_no_status_gives_none(code: Any) -> None:
    status = read_error_body({"error": {"message": "m", "code": code}}).failure.status
    assert status in (None, 404)


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ({"error": {"message": "m"}}, True),
        ({"status": "failed", "error": None}, True),
        ({"status": "completed", "error": None}, False),
        ({}, False),
    ],
)
def test_an_error_is_seen_under_any_status(body: dict[str, Any], holds: bool) -> None:
    assert holds_error(body) is holds
