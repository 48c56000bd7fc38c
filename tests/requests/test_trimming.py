"""Long chats are trimmed only where the admin wants it and the chat has not said otherwise."""

from __future__ import annotations

from open_webui_openrouter_pipe.requests.trimming import trimming_fields
from tests.requests.contexts import settings

TRIM = {"id": "context-compression", "engine": "middle-out"}


def test_it_is_off_by_default() -> None:
    assert trimming_fields({}, settings()) == {}


def test_it_joins_the_plugins_of_the_chat() -> None:
    wanted = settings(AUTO_CONTEXT_TRIMMING=True)
    assert trimming_fields({}, wanted) == {"plugins": [TRIM]}
    assert trimming_fields({"plugins": [{"id": "web"}]}, wanted) == {
        "plugins": [{"id": "web"}, TRIM]
    }


def test_a_chats_own_word_stays() -> None:
    off = {"plugins": [{"id": "context-compression", "enabled": False}]}
    assert trimming_fields(off, settings(AUTO_CONTEXT_TRIMMING=True)) == {}
