"""What one call of Open WebUI says, and the form of the answer it can read."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import HostHandles
from open_webui_openrouter_pipe.core.hand_over import (
    HAND_OVER_KEY,
    NOTHING_HANDED_OVER,
    HandOver,
)
from open_webui_openrouter_pipe.host.call import AnswerForm, read_call

CHAT = {"chat_id": "chat-1", "message_id": "msg-1", "session_id": "session-1"}


@pytest.mark.parametrize(
    ("stream", "metadata", "form"),
    [
        pytest.param(True, CHAT, AnswerForm.CHAT_EVENTS, id="a chat"),
        pytest.param(
            True, CHAT | {"chat_id": "temporary:x"}, AnswerForm.CHAT_EVENTS, id="a temporary chat"
        ),
        pytest.param(
            True, CHAT | {"session_id": ""}, AnswerForm.CHAT_EVENTS, id="a chat without a socket"
        ),
        pytest.param(
            True,
            {"chat_id": "", "message_id": None, "session_id": ""},
            AnswerForm.COMPLETION_CHUNKS,
            id="an API client: the keys are there, the values empty",
        ),
        pytest.param(
            True, {"chat_id": "chat-1"}, AnswerForm.COMPLETION_CHUNKS, id="a task that streams"
        ),
        pytest.param(True, None, AnswerForm.COMPLETION_CHUNKS, id="no metadata at all"),
        pytest.param(False, CHAT, AnswerForm.COMPLETION_DICT, id="a quiet chat"),
        pytest.param(False, {}, AnswerForm.COMPLETION_DICT, id="an API client that waits"),
        pytest.param(None, {}, AnswerForm.COMPLETION_DICT, id="a client that did not say"),
    ],
)
def test_the_form_of_the_answer_follows_its_reader(
    stream: bool | None, metadata: dict[str, Any] | None, form: AnswerForm
) -> None:
    body = {"model": "openrouter.a.one", "stream": stream}
    assert read_call(body, HostHandles(metadata=metadata or {})).form is form


@pytest.mark.parametrize(
    ("model", "function_id", "host_model_id"),
    [
        ("openrouter.openai.gpt-4.1", "openrouter", "openai.gpt-4.1"),
        ("my_pipe.@preset.x", "my_pipe", "@preset.x"),
        ("openrouter.openai/gpt-4o:free", "openrouter", "openai/gpt-4o:free"),
        ("openrouter", "openrouter", ""),
        (None, "", ""),
    ],
)
def test_the_function_stands_before_the_first_dot(
    model: Any, function_id: str, host_model_id: str
) -> None:
    call = read_call({"model": model}, HostHandles())
    assert (call.function_id, call.host_model_id) == (function_id, host_model_id)


def test_who_asks_and_for_what_is_read() -> None:
    call = read_call(
        {"model": "o.a.b"}, HostHandles(metadata=CHAT | {"user_id": "user-1"}), "title_generation"
    )
    assert (call.user_id, call.session_id, call.chat_id, call.message_id, call.task) == (
        "user-1",
        "session-1",
        "chat-1",
        "msg-1",
        "title_generation",
    )


@pytest.mark.parametrize(("chat_id", "message_id"), [("chat-1", ""), ("", "msg-1"), (None, None)])
def test_a_call_is_live_only_with_a_chat_and_a_message(chat_id: Any, message_id: Any) -> None:
    metadata = {"chat_id": chat_id, "message_id": message_id}
    assert not read_call({"model": "o.a.b"}, HostHandles(metadata=metadata)).is_live
    assert read_call({"model": "o.a.b"}, HostHandles(metadata=CHAT)).is_live


def test_a_chore_that_streams_gets_chunks_even_in_a_chat() -> None:
    body = {"model": "o.a.b", "stream": True}
    call = read_call(body, HostHandles(metadata=CHAT), "moa_response_generation")
    assert call.form is AnswerForm.COMPLETION_CHUNKS


@pytest.mark.parametrize(
    ("chat_id", "in_channel"), [("channel:1", True), ("chat-1", False), ("", False)]
)
def test_a_channel_is_known_by_its_chat_id(chat_id: str, in_channel: bool) -> None:
    handles = HostHandles(metadata=CHAT | {"chat_id": chat_id})
    assert read_call({"model": "o.a.b"}, handles).is_in_channel is in_channel


def test_what_filters_hand_over_is_for_answers_not_for_chores() -> None:
    handed = {"search": {"engine": "exa"}, "provider": {"sort": "price"}}
    handles = HostHandles(metadata={**CHAT, HAND_OVER_KEY: handed})
    body = {"model": "openrouter.a.one", "stream": True}
    told = read_call(body, handles).hand_over
    assert (told.search, told.provider) == ({"engine": "exa"}, {"sort": "price"})
    assert read_call(body, handles, "title_generation").hand_over == NOTHING_HANDED_OVER
    broken = HostHandles(metadata={HAND_OVER_KEY: {"search": "yes", "provider": 7}})
    assert read_call(body, broken).hand_over == HandOver(search={})
