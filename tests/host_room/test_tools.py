"""The tools Open WebUI hands over, and what is made of them where none of it is installed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import HostHandles
from open_webui_openrouter_pipe.host.tools import (
    call_tool,
    read_result,
    read_tool,
    resolve_hidden_call,
)
from open_webui_openrouter_pipe.host.users import load_user


@pytest.mark.parametrize(
    ("entry", "lane"),
    [
        ({"type": "terminal", "tool_id": "terminal:t"}, "terminal:t"),
        ({"direct": True, "server": {"is_terminal": True, "url": "http://t"}}, "terminal:http://t"),
        ({"direct": True, "server": {"url": "http://t"}}, ""),
        ({"type": "builtin", "tool_id": "builtin:x"}, ""),
        ({"type": "external", "tool_id": "server:1"}, ""),
        (None, ""),
    ],
)
def test_what_keeps_a_session_has_a_lane(entry: Any, lane: str) -> None:
    assert read_tool("x", entry).lane == lane


def test_each_mcp_session_has_a_lane_of_its_own() -> None:
    one, two = object(), object()
    lanes = [read_tool("x", {"type": "mcp", "client": client}).lane for client in (one, one, two)]
    assert lanes[0] == lanes[1] != lanes[2]


@pytest.mark.parametrize(
    ("raw", "text", "failed"),
    [
        ("words", "words", False),
        (None, "", False),
        ({"a": "é"}, '{\n  "a": "é"\n}', False),
        (({"a": 1}, {"Header": "x"}), '{\n  "a": 1\n}', False),
        ((), "", False),
        (7, "7", False),
        ("Error: no", "Error: no", True),
    ],
)
async def test_a_result_is_put_in_words(raw: Any, text: str, failed: bool) -> None:
    result = await read_result(HostHandles(), read_tool("x", {}), {}, raw)
    assert (result.text, result.failed) == (text, failed)


async def test_without_the_host_a_tool_is_called_as_it_is() -> None:
    async def tool(**arguments: Any) -> Any:
        return arguments

    called = read_tool("x", {"callable": tool})
    assert await call_tool(HostHandles(), called, {"q": 1}, []) == {"q": 1}
    with pytest.raises(LookupError):
        await call_tool(HostHandles(), read_tool("x", {}), {}, [])


def test_only_the_host_s_own_dispatcher_hides_other_calls() -> None:
    sent = {"tool_name": "a", "params": "{}"}
    mine = {"call_tool": {"tool_id": "mine"}}
    assert resolve_hidden_call("call_tool", sent, mine) == ("call_tool", sent)


async def test_the_person_who_asks_is_known_from_the_sign_in() -> None:
    user = SimpleNamespace(id="ada")
    request = SimpleNamespace(state=SimpleNamespace(user=user))
    assert await load_user(HostHandles(request=request, metadata={"user_id": "ada"})) is user
    assert await load_user(HostHandles(request=request)) is user
    assert await load_user(HostHandles()) is None
