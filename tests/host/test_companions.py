"""Companion filters in the installed Open WebUI's own table of functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.host.scenes import play_scenes

pytestmark = pytest.mark.host

SEARCH, ROUTING = "openrouter_search", "openrouter_provider_routing"
UPLOADS = "openrouter_direct_uploads"
TITLES = {SEARCH: "OpenRouter Search", ROUTING: "Provider Routing", UPLOADS: "Direct Uploads"}


@pytest.fixture(scope="module")
def seen(host_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What stood in the tables after each step, in one process of the host."""
    return play_scenes(host_python, "companion_scenarios.py", tmp_path_factory.mktemp("host"))


def test_the_filters_wait_for_an_admin_to_belong_to(seen: dict[str, Any]) -> None:
    assert seen["nobody"] == {"filters": {}, "offered": None}


def test_they_come_switched_on_as_switches_of_a_chat(seen: dict[str, Any]) -> None:
    filters = seen["first"]["filters"]
    assert filters.keys() == TITLES.keys()
    for name, title in TITLES.items():
        stored = filters[name]
        assert (stored["kind"], stored["on"], stored["toggle"]) == ("filter", [True, False], True)
        assert (stored["name"], stored["title"]) == (title, title)
    assert sorted(seen["first"]["offered"]) == sorted(TITLES)


def test_with_nothing_new_nothing_is_written(seen: dict[str, Any]) -> None:
    assert seen["second"] == seen["first"]


def test_a_newer_text_replaces_what_nobody_has_edited(seen: dict[str, Any]) -> None:
    newer = seen["newer"]["filters"]
    assert newer[SEARCH]["end"] == "# newer 2"
    assert newer[ROUTING]["end"] == "# mine"


def test_a_filter_that_is_off_stays_off(seen: dict[str, Any]) -> None:
    assert seen["newer"]["filters"][SEARCH]["on"] == [False, False]


def test_a_deleted_filter_stays_away_and_is_offered_no_more(seen: dict[str, Any]) -> None:
    assert seen["deleted"]["filters"].keys() == {ROUTING, UPLOADS}
    assert sorted(seen["deleted"]["offered"]) == [UPLOADS, ROUTING]


def test_switching_the_installation_off_and_on_brings_it_back(seen: dict[str, Any]) -> None:
    """Filters are installed also where the rows of models are left alone."""
    assert seen["wanted_back"]["filters"].keys() == TITLES.keys()
    assert sorted(seen["wanted_back"]["offered"]) == [UPLOADS, SEARCH]


def test_of_two_workers_one_installs(seen: dict[str, Any]) -> None:
    assert seen["two_workers"] == [False, True]
