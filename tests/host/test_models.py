"""Syncs on the installed Open WebUI's own table of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.host.scenes import play_scenes

pytestmark = pytest.mark.host

M0, M1, M2, M3, M4 = (f"openrouter.a.m{number}" for number in range(5))


@pytest.fixture(scope="module")
def seen(host_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What stood in the table after each step, in one process of the host."""
    return play_scenes(host_python, "row_scenarios.py", tmp_path_factory.mktemp("host"))


def test_a_dry_run_writes_nothing(seen: dict[str, Any]) -> None:
    assert seen["dry_run"] == {}


def test_new_models_are_private(seen: dict[str, Any]) -> None:
    row = {"description": "first", "active": True, "grants": [], "tags": ["A"]}
    assert seen["first"] == {M0: row, M1: row, M2: row}


def test_a_sync_with_nothing_changed_writes_nothing(seen: dict[str, Any]) -> None:
    assert seen["second_writes"] == seen["first_writes"]


def test_the_admins_hand_survives_three_syncs_by_fresh_copies(seen: dict[str, Any]) -> None:
    later = seen["later"]
    assert later[M0]["description"] == "the admin's"
    assert (later[M1]["active"], later[M1]["description"]) == (False, "fourth")
    assert M2 not in later


def test_public_is_for_new_rows_only(seen: dict[str, Any]) -> None:
    assert seen["later"][M0]["grants"] == []
    assert seen["later"][M3]["grants"] == [["user", "*"]]


def test_the_row_of_a_vanished_model_is_marked(seen: dict[str, Any]) -> None:
    assert {row_id: row["tags"] for row_id, row in seen["vanished"].items()} == {
        M0: ["A"],
        M1: ["A"],
        M3: ["A", "no longer at OpenRouter"],
    }


def test_what_the_key_may_not_use_is_not_taken_for_vanished(seen: dict[str, Any]) -> None:
    assert seen["out_of_reach"][M3]["tags"] == ["A"]


def test_a_row_that_the_host_refuses_stops_no_other(seen: dict[str, Any]) -> None:
    assert set(seen["refused"]) - set(seen["end"]) == {"openrouter.b.c"}


def test_no_private_row_takes_a_model_from_the_other_admins(seen: dict[str, Any]) -> None:
    assert M4 not in seen["would_hide"]
    assert seen["hides_nothing"][M4]["grants"] == [["user", "*"]]


def test_a_deleted_row_stays_away_where_no_setting_is_kept(seen: dict[str, Any]) -> None:
    assert M0 in seen["hides_nothing"]
    assert M0 not in seen["deleted_again"]


def test_a_row_that_has_changed_meanwhile_is_not_written(seen: dict[str, Any]) -> None:
    assert (seen["stale_written"], seen["twice"]) == (False, False)
    assert seen["end"] == seen["vanished"]
