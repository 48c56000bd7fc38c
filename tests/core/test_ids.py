"""Identifiers of our own making."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.ids import api_tool_name, new_item_id, new_request_id, new_ulid


def test_ids_have_their_form_and_never_repeat() -> None:
    assert re.fullmatch(r"[0-9a-f]{16}", new_request_id())
    assert re.fullmatch(r"rs_[0-9a-f]{24}", new_item_id("rs"))
    assert (
        len({new_request_id() for _ in range(100)} | {new_item_id("m") for _ in range(100)}) == 200
    )


@pytest.mark.parametrize("name", ["search", "get-weather_2", "A" * 64])
def test_a_name_the_api_takes_stays(name: str) -> None:
    assert api_tool_name(name) == name


@given(st.lists(st.text(st.characters(exclude_categories=())), unique=True, max_size=5))
def test_every_other_name_becomes_one_it_takes_and_stays_itself(names: list[str]) -> None:
    written = [api_tool_name(name) for name in names]
    assert all(re.fullmatch("[a-zA-Z0-9_-]{1,64}", name) for name in written)
    assert written == [api_tool_name(name) for name in names]
    assert len(set(written)) == len(written)


def test_a_ulid_tells_its_time_first_and_then_nothing_twice() -> None:
    now = 1_469_918_176.385
    made = {new_ulid(now) for _ in range(100)}
    assert len(made) == 100
    assert {(len(ulid), ulid[:10]) for ulid in made} == {(26, "01ARYZ6S41")}
    assert max(made) < new_ulid(now + 0.001)
