"""Provider Routing: what a user prefers, in the words of the API."""

from __future__ import annotations

from typing import Any

from open_webui_openrouter_pipe.core.process import shared_by_process
from tests.filters.filter_calls import handed_over, load_filter


def test_every_preference_has_its_place_in_the_request() -> None:
    chosen: dict[str, Any] = {
        "ORDER": "fireworks, together/fp8",
        "ONLY": ["x"],
        "IGNORE": "y",
        "SORT": "price",
        "ALLOW_FALLBACKS": False,
        "REQUIRE_PARAMETERS": True,
        "DATA_COLLECTION": "deny",
        "QUANTIZATIONS": ["fp8", "int3"],
        "MAX_PRICE_PROMPT": "1.5",
        "MAX_PRICE_COMPLETION": "2,5",
        "MAX_PRICE_IMAGE": "0.1",
        "MAX_PRICE_AUDIO": 4,
        "MAX_PRICE_REQUEST": "0.02",
        "PREFERRED_MIN_THROUGHPUT": 50,
        "PREFERRED_MAX_LATENCY": 3,
    }
    assert handed_over(load_filter("provider_routing"), **chosen).provider == {
        "order": ["fireworks", "together/fp8"],
        "only": ["x"],
        "ignore": ["y"],
        "sort": "price",
        "allow_fallbacks": False,
        "require_parameters": True,
        "data_collection": "deny",
        "quantizations": ["fp8"],
        "max_price": {
            "prompt": 1.5,
            "completion": 2.5,
            "image": 0.1,
            "audio": 4,
            "request": 0.02,
        },
        "preferred_min_throughput": 50,
        "preferred_max_latency": 3,
    }


def test_who_has_chosen_nothing_or_nonsense_prefers_nothing() -> None:
    loaded = load_filter("provider_routing")
    assert handed_over(loaded).provider == {}
    nonsense = {
        "ORDER": None,
        "SORT": "luck",
        "ALLOW_FALLBACKS": "perhaps",
        "DATA_COLLECTION": 1,
        "MAX_PRICE_PROMPT": "cheap",
        "MAX_PRICE_COMPLETION": float("nan"),
        "PREFERRED_MAX_LATENCY": -1,
        "QUANTIZATIONS": {},
    }
    assert handed_over(loaded, **nonsense).provider == {}


def test_the_form_offers_the_providers_that_its_own_pipe_has_learnt() -> None:
    valves = load_filter("provider_routing", "mine_provider_routing").UserValves
    learnt = shared_by_process("provider_names", dict[str, list[str]])
    learnt["other"] = ["elsewhere"]
    assert "input" not in valves.model_json_schema()["properties"]["ONLY"]  # names are typed
    learnt["mine"] = ["azure", "openai"]
    offered = {"type": "multiselect", "options": ["azure", "openai"]}
    assert valves.model_json_schema()["properties"]["ONLY"]["input"] == offered
