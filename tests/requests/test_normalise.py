"""The whole request body: nothing but what the API knows goes out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.errors import UnsupportedInputError
from open_webui_openrouter_pipe.core.json_codec import encode_json
from open_webui_openrouter_pipe.models.family import ModelFamily, ReasoningAbility
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from tests.requests.contexts import context

MESSAGES = [{"role": "user", "content": "Hello"}]

# Fields of the API that the pipe sends; written out anew, so that a slip in the list shows.
SENT_FIELDS = {
    "model",
    "input",
    "max_output_tokens",
    "temperature",
    "top_p",
    "top_k",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "reasoning",
    "text",
    "models",
    "modalities",
    "image_config",
    "plugins",
    "provider",
    "truncation",
    "service_tier",
    "prompt_cache_key",
    "cache_control",
    "include",
    "session_id",
    "trace",
}
NEVER_SENT = (
    "user",
    "metadata",
    "tools",
    "previous_response_id",
    "store",
    "messages",
    "stream_options",
    "chat_id",
    "files",
    "features",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FIELD = st.sampled_from([*SENT_FIELDS, *NEVER_SENT, "stop", "max_tokens", "response_format"])


PLAIN = ModelFamily("a/one", "One")
THINKER = ModelFamily("a/one", "One", reasoning=ReasoningAbility())


def build(body: dict[str, Any], family: ModelFamily | None = PLAIN) -> Any:
    return build_responses_body(body, context(), family)


@pytest.mark.parametrize(
    ("family", "task", "reasoning"),
    [
        (PLAIN, "", {}),
        (PLAIN, "title_generation", {}),
        (THINKER, "", {"include": ["reasoning.encrypted_content"]}),
        (THINKER, "title_generation", {"reasoning": {"effort": "low"}}),
    ],
)
def test_a_plain_chat_is_a_plain_request(
    family: ModelFamily, task: str, reasoning: dict[str, Any]
) -> None:
    body = {"model": "openrouter.a.one", "messages": MESSAGES, "stream": True}
    assert build_responses_body(body, context(task=task), family) == {
        "model": "a/one",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "Hello"}],
            }
        ],
        **reasoning,
    }


def test_custom_parameters_that_the_api_knows_pass_as_they_came() -> None:
    custom = {"provider": {"order": ["x"]}, "plugins": [{"id": "web"}], "models": ["a/two"]}
    request = build({"messages": MESSAGES, **custom})
    assert {name: request[name] for name in custom} == custom


def test_the_caching_of_the_chat_itself_wins() -> None:
    own = {"type": "ephemeral", "ttl": "1h"}
    body = {"messages": MESSAGES, "cache_control": own}
    assert build_responses_body(body, context("anthropic/one"), None)["cache_control"] == own


@given(st.dictionaries(FIELD | st.text(max_size=20), JSON, max_size=12))
def test_whatever_the_host_sends_only_known_fields_go_out(extra: dict[str, Any]) -> None:
    request = build({**extra, "messages": MESSAGES}, THINKER)
    assert set(request) <= SENT_FIELDS
    assert None not in request.values()
    assert request["model"] == "a/one"
    assert len(request["input"]) == 1
    encode_json(request)


@pytest.mark.parametrize("name", NEVER_SENT)
def test_what_identifies_a_person_or_keeps_state_upstream_stays_here(name: str) -> None:
    assert name not in build({name: "anything", "messages": MESSAGES})


def test_the_session_a_caller_names_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")
    body = {"messages": MESSAGES, "session_id": "theirs"}
    assert "session_id" not in build(body)
    request = build_responses_body(body, context(chat_id="chat-1"), PLAIN)
    assert request["session_id"] not in ("theirs", "chat-1")


@pytest.mark.parametrize("messages", [None, [], [{"role": "user", "content": ""}]])
def test_an_empty_chat_is_refused(messages: Any) -> None:
    with pytest.raises(UnsupportedInputError, match="nothing to send"):
        build({"messages": messages})
