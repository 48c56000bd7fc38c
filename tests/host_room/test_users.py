"""Who asks, and what they have set for themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import HostHandles
from open_webui_openrouter_pipe.host.users import read_personal_valves, user_id_of

CHOSEN = {"openrouter": {"REASONING_EFFORT": "high"}, "other": {"REASONING_EFFORT": "low"}}


def handles(settings: Any, user_id: str = "user-1", **metadata: Any) -> HostHandles:
    user = SimpleNamespace(id=user_id, settings=settings)
    request = SimpleNamespace(state=SimpleNamespace(user=user))
    return HostHandles(request=request, metadata=metadata)


async def test_a_user_has_chosen_for_this_function() -> None:
    chosen = await read_personal_valves(
        handles(SimpleNamespace(functions={"valves": CHOSEN})), "openrouter"
    )
    assert chosen is not None
    assert (chosen.REASONING_EFFORT, chosen.ENABLE_REASONING) == ("high", "inherit")


@pytest.mark.parametrize(
    "settings",
    [
        None,
        SimpleNamespace(),
        SimpleNamespace(functions=None),
        SimpleNamespace(functions={"valves": None}),
        SimpleNamespace(functions={"valves": {"other": {"REASONING_EFFORT": "low"}}}),
        SimpleNamespace(functions={"valves": {"openrouter": {}}}),
        SimpleNamespace(functions={"valves": {"openrouter": 7}}),
    ],
)
async def test_a_user_who_has_chosen_nothing_inherits(settings: Any) -> None:
    assert await read_personal_valves(handles(settings), "openrouter") is None


async def test_the_settings_of_someone_else_do_not_count() -> None:
    """A chore may run for another user than the one whose request started it."""
    settings = SimpleNamespace(functions={"valves": CHOSEN})
    assert await read_personal_valves(handles(settings, user_id="user-2"), "another") is None
    other = HostHandles(
        request=handles(settings, user_id="user-2").request, metadata={"user_id": "user-1"}
    )
    assert await read_personal_valves(other, "openrouter") is None


def test_the_user_is_named_by_the_call_or_by_the_sign_in() -> None:
    assert user_id_of(handles(None, user_id="a")) == "a"
    assert user_id_of(HostHandles(metadata={"user_id": "b"})) == "b"
    assert user_id_of(HostHandles()) == ""
