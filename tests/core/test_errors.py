"""The words of a failure: who failed, how, and what to do next."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.errors import ApiFailure, OpenRouterAPIError, PipeError


def test_a_person_reads_the_cause_and_the_next_step() -> None:
    assert PipeError("It broke.", "Mend it.").for_person() == "It broke.\n\nMend it."
    assert PipeError("It broke.").for_person() == str(PipeError("It broke.")) == "It broke."


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({"message": "Bad model", "status": 400}, "OpenRouter (400): Bad model"),
        ({"message": "Bad model"}, "OpenRouter: Bad model"),
        ({"message": ""}, "OpenRouter: No reason was given."),
        (
            {"message": "Provider returned error", "provider": "Acme", "upstream_message": "Full"},
            "Acme: Full",
        ),
        (
            {"message": "Wrapped", "upstream_message": "Full", "status": 502},
            "OpenRouter (502): Full",
        ),
        ({"message": "Busy", "provider": "Acme"}, "OpenRouter: Busy"),
    ],
)
def test_the_cause_names_who_failed(known: dict[str, Any], cause: str) -> None:
    assert OpenRouterAPIError(ApiFailure(**known)).cause == cause


@pytest.mark.parametrize(
    ("status", "retry_after", "advice"),
    [
        (401, None, "API_KEY"),
        (402, None, "credits"),
        (413, None, "too large"),
        (429, None, "Wait a moment"),
        (429, 17.0, "in 17 seconds"),
        (301, None, "BASE_URL"),
        (422, None, "Change the request"),
        (503, None, "Try again in a moment"),
        (None, None, "Try again in a moment"),
    ],
)
def test_the_advice_fits_the_status(
    status: int | None, retry_after: float | None, advice: str
) -> None:
    failure = ApiFailure(message="m", status=status, retry_after=retry_after)
    assert advice in OpenRouterAPIError(failure).next_step


def test_a_chat_that_is_too_long_is_to_be_shortened() -> None:
    failure = ApiFailure(message="m", status=400, context_limit=8_000)
    assert "Shorten the chat" in OpenRouterAPIError(failure).next_step


def test_a_cause_never_prints_a_key() -> None:
    error = PipeError("The key sk-or-v1-0123456789abcdef is bad.")
    assert str(error) == error.cause == "The key [redacted] is bad."


def test_once_explained_an_error_is_told_in_those_words() -> None:
    error = PipeError("It broke.", "Mend it.")
    error.explanation = "Ask Ada."
    assert error.for_person() == "Ask Ada."
