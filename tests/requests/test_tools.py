"""The tools of a request, and the request of another round."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import (
    FunctionCallItem,
    ImageItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
    ToolOutputItem,
)
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.requests.chat_body import build_chat_body
from open_webui_openrouter_pipe.requests.next_round import add_round, ask_for_words
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from pipe_lab.simulator.body_checks import check_body
from tests.requests.contexts import context

Json = dict[str, Any]
ADD: Json = {"type": "function", "name": "add", "parameters": {"type": "object"}, "strict": True}
SEARCH: Json = {"type": "openrouter:web_search", "parameters": {"max_results": 3}}
ASKED: Json = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}


def build(definitions: list[Json], extra: Json | None = None, **valves: Any) -> Any:
    body = {"messages": [{"role": "user", "content": "x"}], **(extra or {})}
    return build_responses_body(body, context(**valves), None, definitions)


def governed(request: Any) -> Json:
    return {
        key: value for key, value in request.items() if key not in ("model", "input", "include")
    }


def test_tools_and_what_governs_them_go_out() -> None:
    extra = {
        "tools": [{"type": "function", "function": {"name": "ignored"}}],
        "tool_choice": {"type": "function", "function": {"name": "add"}},
        "parallel_tool_calls": False,
    }
    assert governed(build([ADD], extra)) == {
        "tools": [ADD],
        "tool_choice": {"type": "function", "name": "add"},
        "parallel_tool_calls": False,
    }


@pytest.mark.parametrize("choice", ["auto", "none", "required", {"type": "shell"}])
def test_other_choices_pass_as_they_came(choice: Any) -> None:
    assert build([ADD], {"tool_choice": choice})["tool_choice"] == choice


@pytest.mark.parametrize(("persist", "kept"), [(True, 2), (False, 0)])
def test_the_admin_says_whether_results_are_remembered(persist: bool, kept: int) -> None:
    call = {"id": "c1", "function": {"name": "add", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Thanks"},
    ]
    request = build([], {"messages": messages}, PERSIST_TOOL_RESULTS=persist)
    assert len([item for item in request["input"] if "call_id" in item]) == kept


def test_without_tools_nothing_governs_them() -> None:
    extra = {"tool_choice": "required", "parallel_tool_calls": True, "max_tool_calls": 3}
    assert governed(build([], extra)) == {}


COST: Json = {"type": "max_cost", "max_cost_in_dollars": 0.5}
OWN: Json = {"type": "has_tool_call", "tool_name": "x"}


def steps(count: int) -> Json:
    return {"type": "step_count_is", "step_count": count}


@pytest.mark.parametrize(
    ("extra", "valves", "conditions"),
    [
        ({}, {}, []),
        ({}, {"SERVER_TOOLS_MAX_CALLS": 4}, [steps(4)]),
        ({"max_tool_calls": 2}, {}, [steps(2)]),
        ({"max_tool_calls": 2}, {"SERVER_TOOLS_MAX_CALLS": 4}, [steps(2)]),
        ({"max_tool_calls": 9}, {"SERVER_TOOLS_MAX_CALLS": 4}, [steps(4)]),
        ({"max_tool_calls": float("inf")}, {"SERVER_TOOLS_MAX_CALLS": 4}, [steps(4)]),
        ({}, {"SERVER_TOOLS_MAX_COST_USD": 0.5}, [COST]),
        ({"max_tool_calls": 2}, {"SERVER_TOOLS_MAX_COST_USD": 0.5}, [COST, steps(2)]),
        (
            {"stop_server_tools_when": [OWN]},
            {"SERVER_TOOLS_MAX_COST_USD": 0.5, "SERVER_TOOLS_MAX_CALLS": 4},
            [OWN, COST, steps(4)],
        ),
    ],
)
def test_openrouters_own_tools_stop_where_somebody_says(
    extra: Json, valves: Json, conditions: list[Json]
) -> None:
    limits = {"stop_server_tools_when": conditions} if conditions else {}
    assert governed(build([SEARCH], extra, **valves)) == {"tools": [SEARCH], **limits}
    assert governed(build([ADD], extra, **valves)) == {"tools": [ADD]}


def test_the_other_endpoint_gets_the_nested_forms() -> None:
    request = build([ADD, SEARCH], {"tool_choice": {"type": "function", "name": "add"}})
    body = build_chat_body(request, {})
    assert body.get("tools") == [
        {
            "type": "function",
            "function": {"name": "add", "parameters": {"type": "object"}, "strict": True},
        },
        SEARCH,
    ]
    assert body.get("tool_choice") == {"type": "function", "function": {"name": "add"}}
    assert check_body("/chat/completions", body) is None


ROUND: list[OutputItem] = [
    ReasoningItem("rs_1", details=[{"type": "reasoning.encrypted", "data": "e", "id": "rs_1"}]),
    ReasoningItem("rs_2", content=["Open thoughts."]),
    ReasoningItem("rs_3", summary=["A summary alone."]),
    MessageItem("m", "Let me see.", phase="commentary"),
    FunctionCallItem("f", "c1", "add", '{"a":1}'),
    FunctionCallItem("g", "c2", "add", '{"a"'),
    FunctionCallItem("h", "c3", "add", "{}"),
    ImageItem("i", "data:x"),
]
OUTPUTS = [
    ToolOutputItem("o1", "c1", "2"),
    ToolOutputItem("o2", "c2", "See:", images=["data:y"]),
]


def test_what_a_round_gave_goes_back_in_its_order() -> None:
    request: Any = {"model": "a/one", "input": [ASKED]}
    following = add_round(request, ROUND, OUTPUTS)
    sealed, opened, message, *calls, output, picture = following.get("input", [])[1:]
    assert (sealed["id"], sealed["encrypted_content"]) == ("rs_1", "e")
    assert opened["content"] == [{"type": "reasoning_text", "text": "Open thoughts."}]
    assert message == {"role": "assistant", "content": "Let me see.", "phase": "commentary"}
    assert [(c["call_id"], c["arguments"]) for c in calls] == [("c1", '{"a":1}'), ("c2", "{}")]
    assert output == {"type": "function_call_output", "call_id": "c1", "output": "2"}
    assert picture["output"] == [
        {"type": "input_text", "text": "See:"},
        {"type": "input_image", "image_url": "data:y", "detail": "auto"},
    ]
    assert check_body("/responses", following) is None
    assert request["input"] == [ASKED]


def test_the_other_endpoint_gets_the_round_as_messages() -> None:
    following = add_round({"model": "a/one", "input": [ASKED]}, ROUND, OUTPUTS)
    body = build_chat_body(following, {})
    _, said, output, picture = body.get("messages", [])
    assert [call["id"] for call in said["tool_calls"]] == ["c1", "c2"]
    assert said["content"] == "Let me see."
    assert [detail["type"] for detail in said["reasoning_details"]] == [
        "reasoning.encrypted",
        "reasoning.text",
    ]
    assert output["content"] == "2"
    assert picture["content"][1] == {"type": "image_url", "image_url": {"url": "data:y"}}
    assert check_body("/chat/completions", body) is None


@pytest.mark.parametrize(
    ("choice", "then"),
    [("required", "auto"), ({"type": "function", "name": "add"}, "auto"), ("none", "none")],
)
def test_a_call_that_was_forced_is_free_in_the_next_round(choice: Any, then: str) -> None:
    request = build([ADD], {"tool_choice": choice})
    assert add_round(request, [], []).get("tool_choice") == then


def test_a_request_for_words_keeps_the_tools_where_the_model_heeds_it() -> None:
    request = build([ADD], {"parallel_tool_calls": True})
    for family in (None, ModelFamily("a/one", "One", frozenset({"tools", "tool_choice"}))):
        asked = ask_for_words(request, family, "Answer!")
        assert (asked.get("tools"), asked.get("tool_choice")) == ([ADD], "none")
        assert asked.get("input", [])[-1]["content"][0]["text"] == "Answer!"
    bare = ask_for_words(request, ModelFamily("a/one", "One", frozenset({"tools"})))
    assert governed(bare) == {}
    assert bare.get("input") == request["input"]
    assert governed(ask_for_words(build([]), None)) == {}  # they were refused on the way
