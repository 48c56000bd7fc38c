"""Who asks: nothing is told unless the admin says so, and nothing that a caller made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from open_webui_openrouter_pipe.requests.identifiers import allowed_metadata, identifier_fields
from tests.requests.contexts import context

IDS = {"user_id": "user-1", "session_id": "tab-1", "chat_id": "chat-1", "message_id": "msg-1"}
CLAIMED = {"user": "x", "session_id": "x", "metadata": {"user_id": "x"}}


def fields(ids: dict[str, str] | None = None, **valves: Any) -> dict[str, Any]:
    return identifier_fields(CLAIMED, replace(context(**valves), **(ids or IDS)))


def test_nothing_is_told_by_itself() -> None:
    assert fields() == {}


def test_each_switch_tells_its_own_id() -> None:
    assert fields(SEND_CHAT_ID=True) == {"metadata": {"chat_id": "chat-1"}}
    assert fields(SEND_MESSAGE_ID=True) == {"metadata": {"message_id": "msg-1"}}
    assert fields(SEND_END_USER_ID=True) == {"user": "user-1", "metadata": {"user_id": "user-1"}}
    session = {"session_id": "tab-1", "metadata": {"session_id": "tab-1"}}
    assert fields(SEND_SESSION_ID=True) == session


def test_an_id_that_is_too_long_is_left_out_not_cut() -> None:
    long_ids = {"user_id": "u" * 129, "session_id": "s" * 257}
    told = fields(long_ids, SEND_END_USER_ID=True, SEND_SESSION_ID=True)
    assert set(told) == {"metadata"}
    assert fields({"user_id": "u" * 513}, SEND_END_USER_ID=True) == {}


def test_metadata_keeps_to_the_limits() -> None:
    assert allowed_metadata({"a[0]": "x", "k" * 65: "x", "v": "x" * 513, "": "x", "n": None}) == {}
    assert len(allowed_metadata({f"key{n}": "x" for n in range(20)})) == 16


def test_the_admins_trace_goes_along() -> None:
    body = {"trace": {"trace_id": "t", "a": 1}, "openrouter_trace": {"a": 2}}
    assert identifier_fields(body, context()) == {"trace": {"trace_id": "t", "a": 2}}
