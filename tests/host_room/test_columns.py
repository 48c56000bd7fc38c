"""Side-by-side chats: what belongs to another column's model goes, what the chat set stays."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import HostHandles
from open_webui_openrouter_pipe.host.columns import (
    flat_parameters,
    replace_inherited,
    with_own_parameters,
)

FIRST = {"temperature": 0.1, "reasoning": {"effort": "high"}, "provider": {"order": ["x"]}}


@pytest.mark.parametrize(
    ("body", "own", "sent"),
    [
        (FIRST, {}, {}),
        (FIRST, {"temperature": 0.9}, {"temperature": 0.9}),
        ({**FIRST, "temperature": 0.5}, {}, {"temperature": 0.5}),
        ({"top_p": 0.3}, {}, {"top_p": 0.3}),
        ({}, {"temperature": 0.9}, {}),
    ],
)
def test_what_was_inherited_is_replaced(body: Any, own: Any, sent: Any) -> None:
    before = dict(body)
    assert replace_inherited(body, FIRST, own) == sent
    assert body == before


def test_what_a_request_consists_of_is_no_parameter() -> None:
    body = {"model": "o.a.b", "messages": [], "stream": True}
    assert replace_inherited(body, body, {}) == body


def test_parameters_are_read_as_they_stand_in_a_body() -> None:
    stored = {
        "temperature": 0.2,
        "top_p": None,
        "system": "Be brief.",
        "function_calling": "legacy",
        "custom_params": {"reasoning": '{"effort": "low"}', "verbosity": "low", "seed": 3},
    }
    assert flat_parameters(stored) == {
        "temperature": 0.2,
        "reasoning": {"effort": "low"},
        "verbosity": "low",
        "seed": 3,
    }
    assert flat_parameters(None) == {}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"model_id": "p.a.one"},
        {"model": {"id": "p.a.one"}},
        {"model": {"id": "p.a.one"}, "model_id": "p.a.one"},
    ],
    ids=["an API client", "no model", "a task", "the only column"],
)
async def test_any_other_call_is_left_as_it_is(metadata: Any) -> None:
    body = {"model": "p.a.one", **FIRST}
    assert await with_own_parameters(body, HostHandles(metadata=metadata)) is body
