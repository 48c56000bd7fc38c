"""OpenRouter Search: Open WebUI's search is off for the request, and OpenRouter is to search."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.hand_over import read_hand_over
from tests.filters.filter_calls import handed_over, load_filter, place_of


def test_it_takes_open_webuis_search_away_and_asks_for_openrouters() -> None:
    features = {"web_search": True, "image_generation": True}
    body: dict[str, Any] = {"features": features}
    asked = handed_over(load_filter("search_toggle"), body).search
    assert asked == {"engine": "auto", "max_results": 5}
    assert body["features"] == {"web_search": False, "image_generation": True}
    assert features["web_search"]  # side by side, another model's request has the same features


def test_a_user_chooses_within_what_the_admin_allows() -> None:
    admin = {"ENGINE": "exa", "MAX_RESULTS": 4, "EXCLUDED_DOMAINS": "a, b"}
    loaded = load_filter("search_toggle", **admin)
    inherited = {"engine": "exa", "max_results": 4, "excluded_domains": ["a", "b"]}
    assert handed_over(loaded).search == inherited
    assert handed_over(loaded, MAX_RESULTS="2").search == {**inherited, "max_results": 2}
    own = {"ENGINE": "native", "CONTEXT_SIZE": "high", "MAX_RESULTS": 9, "EXCLUDED_DOMAINS": "b,c"}
    assert handed_over(loaded, ALLOWED_DOMAINS="d", **own).search == {
        "engine": "native",
        "max_results": 4,
        "search_context_size": "high",
        "allowed_domains": ["d"],
        "excluded_domains": ["a", "b", "c"],
    }


def test_values_that_cannot_be_read_end_no_chat() -> None:
    broken = {"ENGINE": "best", "MAX_RESULTS": "many", "CONTEXT_SIZE": None, "ALLOWED_DOMAINS": 7}
    loaded = load_filter("search_toggle", **broken)
    assert handed_over(loaded, **broken).search == {"engine": "auto"}
    metadata: dict[str, Any] = {}
    loaded.inlet({}, metadata, __user__={"valves": object()}, **place_of(loaded))
    assert read_hand_over(metadata).search == {"engine": "auto"}


@pytest.mark.parametrize(
    ("model", "is_ours"),
    [
        ({"id": "openrouter.a.one"}, True),
        ({"id": "helper", "info": {"base_model_id": "openrouter.a.one"}}, True),
        ({"id": "llama3", "info": None}, False),
        ({"id": "openrouter_2.a.one"}, False),
    ],
)
def test_made_global_it_leaves_other_models_alone(model: Any, is_ours: bool) -> None:
    loaded, metadata = load_filter("search_toggle"), {}
    body = loaded.inlet({"features": {"web_search": True}}, metadata, **place_of(loaded, model))
    assert body["features"]["web_search"] is not is_ours
    assert (read_hand_over(metadata).search is not None) is is_ours
