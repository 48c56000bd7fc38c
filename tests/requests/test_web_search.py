"""The search that a person has switched on: one for each request, in the form the model can use."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.core.hand_over import HandOver
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.requests.chat_body import build_chat_body
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from pipe_lab.simulator.body_checks import check_body
from tests.requests.contexts import context

ADD = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
WISH = {
    "engine": "exa",
    "max_results": 3,
    "search_context_size": "low",
    "allowed_domains": ["a.org"],
    "excluded_domains": ["b.org"],
}
TOOL = {"type": "openrouter:web_search", "parameters": WISH}
PAGES = {"engine": "openrouter", "allowed_domains": ["a.org"], "blocked_domains": ["b.org"]}
READ = {"type": "openrouter:web_fetch", "parameters": PAGES}
TODAY = {"type": "openrouter:datetime"}
MUTE = ModelFamily("a/mute", "Mute", supported_parameters=frozenset({"temperature"}))
NATIVE = {"type": "web_search"}


def build(
    wish: dict[str, Any] | None = WISH,
    extra: dict[str, Any] | None = None,
    *,
    model: str = "a/one",
    family: ModelFamily | None = None,
    definitions: Any = (),
    **valves: Any,
) -> Any:
    body = {"messages": [{"role": "user", "content": "x"}], **(extra or {})}
    asked = context(model, hand_over=HandOver(search=wish), **valves)
    return build_responses_body(body, asked, family, definitions)


def test_a_model_with_tools_gets_the_search_beside_them() -> None:
    request = build(definitions=[ADD])
    assert request["tools"] == [ADD, TOOL, READ, TODAY]
    assert "plugins" not in request
    check_body("/responses", request)
    check_body("/chat/completions", build_chat_body(request, {}))


def test_what_is_left_open_is_openrouters_to_choose() -> None:
    assert build({})["tools"] == [
        {"type": "openrouter:web_search", "parameters": {}},
        {"type": "openrouter:web_fetch", "parameters": {"engine": "openrouter"}},
        TODAY,
    ]
    assert build({"engine": "auto"}, family=MUTE)["plugins"] == [{"id": "web"}]


def test_a_model_without_tools_is_searched_for() -> None:
    request = build(family=MUTE, AUTO_CONTEXT_TRIMMING=True)
    assert "tools" not in request
    assert request["plugins"] == [
        {
            "id": "web",
            "engine": "exa",
            "max_results": 3,
            "include_domains": ["a.org"],
            "exclude_domains": ["b.org"],
        },
        {"id": "context-compression", "engine": "middle-out"},
    ]
    check_body("/responses", request)


def test_the_admins_limits_hold_for_it() -> None:
    (limit,) = build(SERVER_TOOLS_MAX_CALLS=4)["stop_server_tools_when"]
    assert limit == {"type": "step_count_is", "step_count": 4}


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        pytest.param({"wish": None}, {}, id="switched off"),
        pytest.param({"model": "a/one:free:online"}, {}, id="a variant that searches"),
        pytest.param(
            {"extra": {"plugins": [{"id": "web"}]}}, {"plugins": [{"id": "web"}]}, id="a plugin"
        ),
        pytest.param({"definitions": [NATIVE]}, {"tools": [NATIVE]}, id="a tool"),
        pytest.param({"extra": {"disable_native_websearch": "true"}}, {}, id="kept from the model"),
    ],
)
def test_no_request_searches_twice_or_against_the_admin(
    options: dict[str, Any], kept: dict[str, Any]
) -> None:
    request = build(**options)
    assert {name: request[name] for name in ("plugins", "tools") if name in request} == kept
