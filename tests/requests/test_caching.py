"""Prompt caches: a name for the chat, and a breakpoint where the vendor wants one."""

from __future__ import annotations

import pytest

from open_webui_openrouter_pipe.requests.caching import caching_fields
from tests.requests.contexts import context


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")


def session(chat_id: str) -> str:
    return caching_fields(context(chat_id=chat_id))["session_id"]


def test_a_chat_keeps_its_name_and_the_name_gives_nothing_away() -> None:
    assert session("chat-1") == session("chat-1")
    assert session("chat-1") != session("chat-2")
    assert "chat-1" not in session("chat-1")
    assert len(session("chat-1")) == 64


def test_the_name_depends_on_the_secret_of_this_server(monkeypatch: pytest.MonkeyPatch) -> None:
    before = session("chat-1")
    monkeypatch.setenv("WEBUI_SECRET_KEY", "two \udcff")
    assert session("chat-1") != before


def test_without_a_secret_or_a_chat_there_is_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert caching_fields(context(chat_id="")) == {}
    monkeypatch.delenv("WEBUI_SECRET_KEY")
    assert caching_fields(context(chat_id="chat-1")) == {}


@pytest.mark.parametrize(
    ("model", "ttl", "cached"),
    [
        ("anthropic/claude-sonnet-4.5", "5m", "5m"),
        ("anthropic/claude-sonnet-4.5", "1h", "1h"),
        ("~anthropic/claude-latest", "5m", "5m"),
        ("anthropic/claude-sonnet-4.5", "off", None),
        ("openai/gpt-4o", "5m", None),
        ("a/anthropic/x", "5m", None),
    ],
)
def test_claude_is_asked_to_keep_the_beginning(model: str, ttl: str, cached: str | None) -> None:
    fields = caching_fields(context(model, ANTHROPIC_PROMPT_CACHE_TTL=ttl))
    expected = {"cache_control": {"type": "ephemeral", "ttl": cached}} if cached else {}
    assert fields == expected
