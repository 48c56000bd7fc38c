"""Fallback models and zero data retention, as the request says them."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.requests.fallbacks import fallback_fields
from open_webui_openrouter_pipe.requests.routing import provider_fields
from tests.requests.contexts import context


@pytest.mark.parametrize(
    ("body", "models"),
    [
        ({"model_fallback": "a/one, b.two"}, ["a/one", "b/two"]),
        ({"models": ["c/x"], "model_fallback": "a/one, c/x"}, ["c/x", "a/one"]),
        ({"model_fallback": "a/1,a/2,a/3,a/4"}, ["a/1", "a/2", "a/3"]),
        ({"models": ["a/1", None, ""], "model_fallback": ["b/2"]}, ["a/1", "b/2"]),
    ],
)
def test_fallback_models_are_at_most_three_without_repetition(
    body: dict[str, Any], models: list[str]
) -> None:
    assert fallback_fields(body) == {"models": models}


def test_zero_data_retention_is_added_to_the_providers_wishes() -> None:
    body = {"provider": {"order": ["x"], "zdr": False}}
    enforced = provider_fields(body, context(ZDR_ENFORCE=True))
    assert enforced == {"provider": {"order": ["x"], "zdr": True}}
    only_listed = provider_fields(body, context(ZDR_MODELS_ONLY=True))
    assert only_listed == {"provider": {"order": ["x"], "zdr": False}}
    assert provider_fields({}, context(ZDR_ENFORCE=True)) == {"provider": {"zdr": True}}
