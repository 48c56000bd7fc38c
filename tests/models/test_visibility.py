"""Which models are offered, and which may be used: by the same rules."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.catalog_valves import CatalogRules
from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ModelUnavailableError
from open_webui_openrouter_pipe.core.personal_valves import PersonalValves
from open_webui_openrouter_pipe.models.family import read_family
from open_webui_openrouter_pipe.models.known import KnownModels, know_models
from open_webui_openrouter_pipe.models.visibility import offered_families, require_allowed

TODAY = date(2026, 11, 24)
FREE = {"prompt": "0", "completion": "0"}
TOOLS = {"supported_parameters": ["tools"]}


def row(model_id: str, price: str = "0.000001", **fields: Any) -> dict[str, Any]:
    return {"id": model_id, "pricing": {"prompt": price, "completion": price}, **fields}


ROWS = [
    row("a/one", "0.000005", created=3, **TOOLS),
    row("a/one:free", pricing=FREE, created=3),
    row("a/one-1.5", created=9, name="Zeta"),
    row("b/two", "-1", **TOOLS),
    row("b/two:batch", pricing=FREE),
    row("c/old", expiration_date="2026-11-23"),
    row("c/last", expiration_date="2026-11-24"),
    row("c/voice", architecture={"output_modalities": ["speech"]}),
    row("~a/latest", alias_target={"slug": "a/one", "name": "One"}, name="Latest"),
]
ALL = ["a/one", "a/one:free", "a/one-1.5", "b/two", "c/last", "~a/latest"]


def known(zdr_ids: frozenset[str] | None = None) -> KnownModels:
    return know_models((family for entry in ROWS if (family := read_family(entry))), zdr_ids)


def rules(own: dict[str, Any] | None = None, **valves: Any) -> CatalogRules:
    personal = PersonalValves.model_validate(own or {})
    return take_snapshot(SystemValves.model_validate(valves), personal).catalog


def offered(models: KnownModels | None = None, **valves: Any) -> list[str]:
    families = offered_families(models or known(), rules(**valves), TODAY)
    return [family.id for family in families]


@pytest.mark.parametrize(
    ("valves", "ids"),
    [
        ({}, ALL),
        ({"MODEL_ID": "auto"}, ALL),
        ({"MODEL_ID": ""}, ALL),
        ({"MODEL_ID": "a/one"}, ["a/one"]),
        ({"MODEL_ID": "a.one-1.5, b/two"}, ["a/one-1.5", "b/two"]),
        ({"MODEL_ID": "a/one:free\nb.two"}, ["a/one:free", "b/two"]),
        ({"MODEL_ID": "a/one*"}, ["a/one", "a/one:free", "a/one-1.5"]),
        ({"MODEL_ID": "a.*-1.?"}, ["a/one-1.5"]),
        ({"MODEL_ID": "b/two:batch"}, []),
        ({"MODEL_ID": "*:batch"}, []),
        ({"MODEL_ID": "x/*"}, []),
        ({"MODEL_VENDORS": ["a"]}, ["a/one", "a/one:free", "a/one-1.5", "~a/latest"]),
        ({"MODEL_VENDORS": "B, [c]*"}, ["b/two", "c/last"]),
        ({"FREE_MODEL_FILTER": "only"}, ["a/one:free"]),
        ({"FREE_MODEL_FILTER": "exclude"}, [one for one in ALL if one != "a/one:free"]),
        ({"TOOL_CALLING_FILTER": "only"}, ["a/one", "b/two"]),
        ({"TOOL_CALLING_FILTER": "exclude", "MODEL_VENDORS": "b"}, []),
        (
            {"MAX_PRICE_PER_MILLION_USD": "1"},
            ["a/one:free", "a/one-1.5", "c/last", "~a/latest"],
        ),
        ({"MAX_PRICE_PER_MILLION_USD": 5, "MODEL_ID": "a/one"}, ["a/one"]),
        ({"MODEL_SORT": "newest", "MODEL_ID": "a/*"}, ["a/one-1.5", "a/one", "a/one:free"]),
        ({"MODEL_SORT": "name", "MODEL_ID": "a/*"}, ["a/one", "a/one:free", "a/one-1.5"]),
        (
            {"MODEL_SORT": "price", "MODEL_ID": "a/*, b/*"},
            ["a/one:free", "a/one-1.5", "a/one", "b/two"],
        ),
    ],
)
def test_the_settings_decide_what_is_offered(valves: dict[str, Any], ids: list[str]) -> None:
    assert offered(**valves) == ids


@pytest.mark.parametrize(
    ("variants", "ids"),
    [
        ("a/one:nitro", ["a/one", "a/one:nitro"]),
        ("a.one:online, a/one:floor", ["a/one", "a/one:online", "a/one:floor"]),
        ("a/one:free:online", ["a/one", "a/one:free:online"]),
        (
            "*:exacto",
            [
                "a/one",
                "a/one:exacto",
                "a/one-1.5:exacto",
                "b/two:exacto",
                "c/last:exacto",
                "~a/latest:exacto",
            ],
        ),
        ("a/one@preset/my.style", ["a/one", "a/one@preset/my.style"]),
        ("@preset/tone", ["a/one", "@preset/tone"]),
        ("a/one:batch, a/one:nope, x/y:nitro, c/old:nitro", ["a/one"]),
    ],
)
def test_variants_and_presets_are_entries_of_their_own(variants: str, ids: list[str]) -> None:
    assert offered(MODEL_ID="a/one", VARIANT_MODELS=variants) == ids
    for model_id in ids:
        require_allowed(model_id, known(), rules(MODEL_ID="a/one", VARIANT_MODELS=variants), TODAY)


def test_a_variant_is_named_after_its_model_and_inherits_what_it_can() -> None:
    _, variant = offered_families(
        known(), rules(MODEL_ID="a/one", VARIANT_MODELS="a/one:nitro"), TODAY
    )
    assert (variant.name, variant.calls_tools) == ("a/one (nitro)", True)
    assert known().find("a/one:nitro") == known().find("a/one@preset/x") == known().by_id["a/one"]


def test_a_variant_costs_what_its_name_says() -> None:
    valves = {"VARIANT_MODELS": "a/one-1.5:free, a/one:free:online"}
    assert offered(FREE_MODEL_FILTER="only", **valves) == ["a/one:free", "a/one-1.5:free"]


def test_an_alias_is_named_with_what_it_stands_for() -> None:
    alias = known().by_id["~a/latest"]
    assert (alias.name, alias.alias_target, alias.vendor) == ("Latest → One", "a/one", "a")


@pytest.mark.parametrize(
    ("model_id", "valves", "rule"),
    [
        ("a/one:free", {"MODEL_ID": "a/one"}, "MODEL_ID"),
        ("a/one:nitro", {"MODEL_ID": "a/one"}, "MODEL_ID"),
        ("a/one", {"MODEL_VENDORS": "b*"}, "MODEL_VENDORS"),
        ("c/old", {}, "expiration_date"),
        ("c/old:nitro", {}, "expiration_date"),
        ("a/one", {"FREE_MODEL_FILTER": "only"}, "FREE_MODEL_FILTER"),
        ("a/one:free:online", {"FREE_MODEL_FILTER": "only"}, "FREE_MODEL_FILTER"),
        ("x/unknown", {"FREE_MODEL_FILTER": "exclude"}, "FREE_MODEL_FILTER"),
        ("a/one:free", {"TOOL_CALLING_FILTER": "only"}, "TOOL_CALLING_FILTER"),
        ("a/one:nitro", {"MAX_PRICE_PER_MILLION_USD": 4.9}, "MAX_PRICE_PER_MILLION_USD"),
        ("b/two", {"MAX_PRICE_PER_MILLION_USD": 1_000}, "MAX_PRICE_PER_MILLION_USD"),
        ("a/one", {"ZDR_MODELS_ONLY": True}, "ZDR_MODELS_ONLY"),
    ],
)
def test_a_model_that_is_kept_back_is_refused_with_the_rule(
    model_id: str, valves: dict[str, Any], rule: str
) -> None:
    with pytest.raises(ModelUnavailableError) as caught:
        require_allowed(model_id, known(), rules(**valves), TODAY)
    assert model_id in caught.value.cause
    assert rule in caught.value.next_step


def test_an_id_outside_the_catalog_runs_when_the_list_names_it() -> None:
    valves = {"MODEL_ID": "x.y", "FREE_MODEL_FILTER": "only", "TOOL_CALLING_FILTER": "only"}
    require_allowed("x/y", known(), rules(MAX_PRICE_PER_MILLION_USD=1, **valves), TODAY)
    assert offered(**valves) == ["x/y"]


ZDR_IDS = frozenset({"a/one", "b/two"})


@pytest.mark.parametrize("valves", [{"ZDR_MODELS_ONLY": True}, {"ZDR_ENFORCE": "true"}])
def test_only_models_with_a_provider_that_keeps_no_data(valves: dict[str, Any]) -> None:
    ids = ["a/one", "a/one:nitro", "b/two", "~a/latest"]
    assert offered(known(ZDR_IDS), VARIANT_MODELS="a/one:nitro, @preset/x", **valves) == ids


@pytest.mark.parametrize(("valve", "ids"), [("ZDR_MODELS_ONLY", ["a/one"]), ("ZDR_ENFORCE", [])])
def test_what_cannot_be_told_on_the_wire_cannot_be_enforced(valve: str, ids: list[str]) -> None:
    family = read_family(row("a/one", studio="images"))
    assert family is not None
    assert offered(know_models([family], ZDR_IDS), **{valve: True}) == ids


def test_while_the_private_models_are_unknown_none_is_listed_but_openrouter_may_judge() -> None:
    assert offered(ZDR_MODELS_ONLY=True) == []
    require_allowed("a/one", known(), rules(ZDR_ENFORCE=True), TODAY)


@pytest.mark.parametrize(("allowed", "asks"), [(True, True), (False, True), (True, False)])
def test_a_user_may_demand_it_where_the_admin_lets_them(allowed: bool, asks: bool) -> None:
    wish = rules({"REQUEST_ZDR": asks}, ALLOW_USER_ZDR_OVERRIDE=allowed)
    assert wish.zdr_enforced is (allowed and asks)
    assert replace(wish, zdr_may_matter=False).needs_zdr is (allowed and asks)
