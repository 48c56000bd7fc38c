"""The same request for the other endpoint."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.requests.chat_body import (
    build_chat_body,
    build_messages,
    needs_chat_endpoint,
)
from open_webui_openrouter_pipe.requests.history import build_input
from pipe_lab.simulator.body_checks import check_body
from tests.requests.test_history import IMAGE, asks, result

Json = dict[str, Any]
ONLY_CHAT: Json = {
    "stop": ["END"],
    "seed": 7,
    "min_p": 0.1,
    "top_a": 0.1,
    "repetition_penalty": 1.1,
    "logit_bias": {"1": 5},
    "logprobs": True,
    "prediction": {"type": "content", "content": "x"},
    "audio": {"voice": "alloy", "format": "wav"},
}


@pytest.mark.parametrize("name", ONLY_CHAT)
def test_what_only_chat_takes_needs_it_and_goes_out_as_it_came(name: str) -> None:
    body = {name: ONLY_CHAT[name]}
    assert needs_chat_endpoint(body) == [name]
    request: Any = {"model": "a/one", "input": []}
    assert build_chat_body(request, body).get(name) == ONLY_CHAT[name]


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ({}, []),
        ({"stop": None, "logit_bias": {}, "seed": ""}, []),
        ({"seed": 0}, ["seed"]),
        ({"logprobs": False}, ["logprobs"]),
        ({"modalities": ["text", "image"]}, []),
        ({"modalities": ["text", "audio"]}, ["audio"]),
        ({"modalities": ["audio"], "audio": {"voice": "alloy"}}, ["audio"]),
        ({"modalities": "audio"}, []),
    ],
)
def test_what_is_not_asked_for_needs_nothing(body: Json, needs: list[str]) -> None:
    assert needs_chat_endpoint(body) == needs


def test_each_field_finds_its_name() -> None:
    same: Json = {
        "model": "a/one",
        "models": ["a/two"],
        "temperature": 0.3,
        "top_p": 0.9,
        "top_k": 4,
        "top_logprobs": 2,
        "frequency_penalty": 1,
        "presence_penalty": 1,
        "reasoning": {"effort": "low"},
        "modalities": ["text"],
        "image_config": {"aspect_ratio": "1:1"},
        "plugins": [{"id": "web"}],
        "provider": {"order": ["x"]},
        "service_tier": "flex",
        "prompt_cache_key": "k",
        "cache_control": {"type": "ephemeral"},
        "session_id": "s",
    }
    schema = {"name": "titles", "strict": True, "schema": {"type": "object"}}
    request: Any = {
        **same,
        "input": build_input([{"role": "user", "content": "Hello"}]),
        "max_output_tokens": 9,
        "text": {"format": {"type": "json_schema", **schema}, "verbosity": "low"},
        "include": ["reasoning.encrypted_content"],
        "truncation": "auto",
    }
    assert build_chat_body(request, {}) == {
        **same,
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Hello", "cache_control": {"type": "ephemeral"}}
                ],
            }
        ],
        "max_tokens": 9,
        "response_format": {"type": "json_schema", "json_schema": schema},
        "verbosity": "low",
    }


def test_the_cache_may_end_after_tools_system_prompt_and_question() -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    asked = [{"type": "text", "text": "What"}, {"type": "text", "text": "is this?"}, image]
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": asked},
    ]
    tools = [{"type": "function", "name": name} for name in ("a", "b")]
    request: Any = {
        "cache_control": mark,
        "input": build_input(said),
        "tools": [*tools, {"type": "openrouter:web_search"}],
    }
    built = build_chat_body(request, {})
    system, first, _, last = built["messages"]
    assert system["content"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert first["content"] == "Hello"
    assert last["content"] == [asked[0], {**asked[1], "cache_control": mark}, image]
    assert [tool.get("cache_control") for tool in built["tools"]] == [None, mark, None]


def test_what_has_no_text_gets_no_mark() -> None:
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    request: Any = {
        "cache_control": {"type": "ephemeral"},
        "input": build_input([{"role": "user", "content": [image]}]),
    }
    assert build_chat_body(request, {})["messages"] == [{"role": "user", "content": [image]}]


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_a_simple_format_stays_as_it_is(kind: str) -> None:
    request: Any = {"input": [], "text": {"format": {"type": kind}}}
    assert build_chat_body(request, {}).get("response_format") == {"type": kind}


SECRET = {"type": "reasoning.encrypted", "data": "e", "id": "rs_1", "index": 0}


def test_a_chat_comes_back_as_the_messages_it_was() -> None:
    image = {"type": "image_url", "image_url": {"url": IMAGE}}
    messages: list[Json] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]},
        {**asks("c1", "c2", text="Let me see."), "reasoning_details": [SECRET]},
        result("c1"),
        result("c2", "sun"),
        {"role": "assistant", "content": "Rain, then sun."},
        {"role": "user", "content": "Thanks"},
    ]
    built = build_messages(build_input(messages))
    assert built == messages
    assert check_body("/chat/completions", {"model": "a/one", "messages": built}) is None


def test_parts_of_text_alone_become_one_text() -> None:
    content = [{"type": "text", "text": "One"}, {"type": "text", "text": "Two"}]
    assert build_messages(build_input([{"role": "user", "content": content}])) == [
        {"role": "user", "content": "One\n\nTwo"}
    ]


def test_an_answer_that_only_calls_has_no_content() -> None:
    [message, _] = build_messages(build_input([asks("c1"), result("c1")]))
    assert message["content"] is None


def test_what_a_caller_says_of_a_person_stays_here_too() -> None:
    theirs = {"user": "ada", "session_id": "theirs", "metadata": {"a": "b"}, "seed": 1}
    assert build_chat_body({"input": []}, theirs) == {"messages": [], "seed": 1}


def test_what_the_admin_tells_goes_out_here_too() -> None:
    told: Any = {"user": "user-1", "metadata": {"chat_id": "c"}, "trace": {"trace_id": "t"}}
    assert build_chat_body({"input": [], **told}, {"user": "theirs"}) == {"messages": [], **told}
