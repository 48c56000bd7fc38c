"""What tokens cost: by the length of the prompt, and by the hour."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.models.pricing import read_pricing

LONG = {"min_prompt_tokens": 200_000, "prompt": "0.000002"}
NIGHT = {"utc_start": "2200", "utc_end": "0600", "completion": "0.000001"}
LUNCH = {"utc_start": 1200, "utc_end": "13:00", "prompt": "0.000004"}
LONG_NIGHT = {**LONG, **NIGHT, "prompt": "0.000009", "completion": "0.000009"}
PLAIN = (1.0, 3.0)


def price(*overrides: dict[str, Any], tokens: int = 10, time: str = "1000") -> tuple[float, float]:
    """What prompt and completion cost per million."""
    row = {"prompt": "0.000001", "completion": "0.000003", "overrides": list(overrides)}
    prices = read_pricing(row).at(tokens, time)
    return round(prices["prompt"] * 1e6, 6), round(prices["completion"] * 1e6, 6)


@pytest.mark.parametrize(("tokens", "prompt"), [(0, 1.0), (200_000, 1.0), (200_001, 2.0)])
def test_a_long_prompt_begins_above_its_threshold(tokens: int, prompt: float) -> None:
    assert price(LONG, tokens=tokens) == (prompt, 3.0)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2159", PLAIN),
        ("2200", (1.0, 1.0)),
        ("0000", (1.0, 1.0)),
        ("0559", (1.0, 1.0)),
        ("0600", PLAIN),
        ("1159", PLAIN),
        ("1200", (4.0, 3.0)),
        ("1259", (4.0, 3.0)),
        ("1300", PLAIN),
    ],
)
def test_an_hour_has_its_price_also_across_midnight(
    time: str, expected: tuple[float, float]
) -> None:
    assert price(NIGHT, LUNCH, time=time) == expected


@pytest.mark.parametrize(
    ("tokens", "time", "expected"),
    [
        (300_000, "2300", (9.0, 9.0)),
        (300_000, "1000", PLAIN),
        (10, "2300", PLAIN),
    ],
)
def test_every_condition_of_an_override_must_hold(
    tokens: int, time: str, expected: tuple[float, float]
) -> None:
    assert price(LONG_NIGHT, tokens=tokens, time=time) == expected


def test_of_two_overrides_the_later_one_wins_price_by_price() -> None:
    assert price(NIGHT, LONG, LONG_NIGHT, tokens=300_000, time="2300") == (9.0, 9.0)
    assert price(LONG_NIGHT, LONG, tokens=300_000, time="2300") == (2.0, 9.0)


def test_the_dearest_hour_and_the_longest_prompt_decide_what_it_can_cost() -> None:
    row = {"prompt": "0", "completion": "0"}
    assert read_pricing({**row, "overrides": [LONG]}).per_million == pytest.approx(2.0)
    assert read_pricing({**row, "overrides": [NIGHT]}).is_free is False
    assert read_pricing(row).is_free is True


@pytest.mark.parametrize(
    "row",
    [
        None,
        "free",
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0"},
        {"prompt": None, "completion": None},
        {"prompt": "nan", "completion": "inf"},
        {"prompt": "cheap", "completion": "0"},
        {"prompt": "0", "completion": "-0.1", "overrides": "many"},
    ],
)
def test_what_is_no_price_is_unknown_and_never_free(row: Any) -> None:
    pricing = read_pricing(row)
    assert (pricing.is_known, pricing.is_free, pricing.per_million) == (False, False, None)


def test_a_discount_is_no_price_and_an_odd_override_changes_nothing() -> None:
    row = {"prompt": "0", "completion": "0", "discount": 0.5, "overrides": [None, {}, "x"]}
    assert read_pricing(row).is_free is True
