"""What a model is offered, under which names, and who runs what it calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.tools.toolbox import CallOwner

from .workbench import call, entry, offered, texts, toolbox

IMAGES = frozenset({"image"})
PARAMETERS = {"type": "object", "properties": {"q": {"type": "string"}}}
STRICT = {
    "type": "object",
    "properties": {"q": {"type": ["string", "null"]}},
    "required": ["q"],
    "additionalProperties": False,
}
CALLERS = {"stream": True, "tools": [{"type": "function", "function": {"name": "theirs"}}]}


async def echo(q: str = "default") -> str:
    return q


def tool(**others: Any) -> dict[str, Any]:
    return entry(echo, PARAMETERS, **others)


def names(tools: Any, **turn: Any) -> list[str]:
    return [definition["name"] for definition in toolbox(tools, **turn).definitions]


def test_tools_are_offered_in_the_api_s_form_and_in_the_order_of_their_names() -> None:
    tools = {"b": tool(), "a": tool()}
    tools["a"]["spec"]["description"] = "Says it."
    assert toolbox(tools).definitions == [
        {"type": "function", "name": "a", "description": "Says it.", "parameters": PARAMETERS},
        {"type": "function", "name": "b", "parameters": PARAMETERS},
    ]


def test_of_two_tools_with_one_name_the_later_is_offered() -> None:
    sent = [*offered({"a": tool()}), {"type": "function", "function": {"name": "a"}}]
    box = toolbox({"a": tool()}, body={"stream": True, "tools": sent})
    nothing = {"type": "object", "properties": {}}
    assert box.definitions == [{"type": "function", "name": "a", "parameters": nothing}]


def test_what_is_no_function_goes_out_as_it_came() -> None:
    search = {"type": "openrouter:web_search", "parameters": {"max_results": 3}}
    body = {"stream": True, "tools": [*offered({"a": tool()}), search, {"type": "function"}, 7]}
    definitions = toolbox({"a": tool()}, body=body).definitions
    assert search in definitions and len(definitions) == 2


@pytest.mark.parametrize("name", ["wetter.für morgen", "日本語", "x" * 65, "a b", "a/b"])
async def test_a_name_the_api_refuses_is_mapped_and_mapped_back(name: str) -> None:
    box = toolbox({name: tool(), "plain": tool()})
    (sent,) = [entry["name"] for entry in box.definitions if entry["name"] != "plain"]
    assert sent.isascii() and len(sent) <= 64 and not set(sent) & set(" ./")
    assert box.host_name(sent) == name
    assert box.host_name("plain") == "plain"
    assert await texts(box, call(sent, '{"q":"x"}'), call(name, call_id="2")) == ["x", "default"]


def test_names_that_differ_stay_different() -> None:
    assert len(set(names({"a.b": tool(), "a/b": tool(), "a_b": tool()}))) == 3


@pytest.mark.parametrize(
    ("family", "offers"),
    [
        (None, True),
        (ModelFamily("a/one", "One"), True),
        (ModelFamily("a/one", "One", frozenset({"tools"})), True),
        (ModelFamily("a/one", "One", frozenset({"seed"})), False),
        (
            ModelFamily(
                "a/one", "One", frozenset({"tools"}), output_modalities=frozenset({"image"})
            ),
            False,
        ),
    ],
)
def test_only_models_that_take_tools_are_offered_any(
    family: ModelFamily | None, offers: bool
) -> None:
    assert bool(names({"a": tool()}, family=family)) is offers


def test_a_chore_is_offered_nothing() -> None:
    assert names({"a": tool()}, call={"task": "title_generation"}) == []


def test_the_tools_that_open_webui_prompts_for_itself_are_not_offered() -> None:
    assert names({"a": tool()}, body={"stream": True}) == []


def test_openai_s_models_are_held_to_the_schema_of_each_tool() -> None:
    tools = {"a": tool(), "open": entry(echo, {"type": "object", "additionalProperties": True})}
    strict, loose = toolbox(tools, model="openai/gpt-5").definitions
    assert (strict["parameters"], strict["strict"]) == (STRICT, True)
    assert (loose["parameters"], loose["strict"]) == (tools["open"]["spec"]["parameters"], False)
    (alias,) = toolbox({"a": tool()}, model="~openai/gpt-latest").definitions
    assert alias["strict"] is True
    (other,) = toolbox({"a": tool()}, model="a/one").definitions
    assert "strict" not in other and other["parameters"] == PARAMETERS


@pytest.mark.parametrize(
    "turn",
    [
        {"replace": {"enable_strict_tool_calling": False}},
        {"own": {"TOOL_EXECUTION_MODE": "Open-WebUI"}},
        {"metadata": {"params": {"tool_approval_mode": "ask"}}},
    ],
)
def test_switched_off_or_run_by_open_webui_nothing_is_strict(turn: Any) -> None:
    (definition,) = toolbox({"a": tool()}, model="openai/gpt-5", **turn).definitions
    assert (definition["parameters"], definition["strict"]) == (PARAMETERS, False)


async def test_a_null_in_a_strict_call_leaves_the_tool_its_default() -> None:
    box = toolbox({"a": tool()}, model="openai/gpt-5")
    assert await texts(box, call("a", '{"q": null}')) == ["default"]


def test_an_api_client_s_own_tools_are_its_own() -> None:
    box = toolbox({}, body=CALLERS, call={"chat_id": "", "message_id": ""})
    assert [entry["name"] for entry in box.definitions] == ["theirs"]
    assert "strict" not in box.definitions[0]
    assert box.owner_of([call("theirs")]) is CallOwner.CALLER
    (definition,) = toolbox({}, body=CALLERS, model="openai/gpt-5").definitions
    assert definition["strict"] is False


@pytest.mark.parametrize(
    ("turn", "owner"),
    [
        ({}, CallOwner.PIPE),
        ({"own": {"TOOL_EXECUTION_MODE": "Pipeline"}}, CallOwner.PIPE),
        ({"own": {"TOOL_EXECUTION_MODE": "Open-WebUI"}}, CallOwner.HOST),
        ({"metadata": {"params": {"tool_approval_mode": "full"}}}, CallOwner.PIPE),
        ({"metadata": {"params": {"tool_approval_mode": "ask"}}}, CallOwner.HOST),
        (
            {
                "own": {"TOOL_EXECUTION_MODE": "Pipeline"},
                "metadata": {"params": {"tool_approval_mode": "ask"}},
            },
            CallOwner.HOST,
        ),
        (
            {"own": {"TOOL_EXECUTION_MODE": "Open-WebUI"}, "call": {"chat_id": ""}},
            CallOwner.PIPE,
        ),
        (
            {"own": {"TOOL_EXECUTION_MODE": "Open-WebUI"}, "body": {"tools": offered({})}},
            CallOwner.PIPE,
        ),
    ],
)
def test_the_mode_and_the_chat_say_who_runs_a_round(turn: Any, owner: CallOwner) -> None:
    assert toolbox({"a": tool()}, **turn).owner_of([call("a")]) is owner


@pytest.mark.parametrize("name", ["ask_user", "delegate_task"])
def test_what_only_open_webui_does_right_is_left_to_it(name: str) -> None:
    builtin = {name: tool(type="builtin"), "a": tool()}
    calls = [call("a"), call(name, call_id="2")]
    assert toolbox(builtin).owner_of(calls) is CallOwner.HOST
    assert toolbox(builtin).owner_of(calls[:1]) is CallOwner.PIPE
    assert toolbox({name: tool(), "a": tool()}).owner_of(calls) is CallOwner.PIPE
    openai = {"model": "openai/gpt-5"}
    strict = {entry["name"]: entry["strict"] for entry in toolbox(builtin, **openai).definitions}
    assert strict == {name: False, "a": True}


async def test_without_a_person_to_ask_nothing_that_needs_approval_is_run() -> None:
    turn: Any = {
        "metadata": {"params": {"tool_approval_mode": "ask"}},
        "call": {"chat_id": "", "message_id": ""},
    }
    box = toolbox({"a": tool()}, **turn)
    assert box.owner_of([call("a")]) is CallOwner.PIPE
    assert "a person must approve each call" in (await texts(box, call("a")))[0]


async def test_half_a_call_is_never_handed_to_open_webui() -> None:
    box = toolbox({"a": tool()}, own={"TOOL_EXECUTION_MODE": "Open-WebUI"})
    assert box.owner_of([call("a"), call("a", status="incomplete")]) is CallOwner.PIPE


ASKS: Any = {
    "own": {"TOOL_EXECUTION_MODE": "Pipeline"},
    "metadata": {"params": {"tool_approval_mode": "ask"}},
    "call": {"session_id": "tab"},
}


@pytest.mark.parametrize("answer", [True, False, {"error": "the page is gone"}])
async def test_told_to_run_all_it_can_the_pipe_asks_at_the_page_before_each_call(
    answer: Any,
) -> None:
    asked: list[dict[str, Any]] = []

    async def page(event: dict[str, Any]) -> Any:
        asked.append(event)
        return answer

    box = toolbox({"a": tool()}, event_call=page, **ASKS)
    assert box.owner_of([call("a")]) is CallOwner.PIPE
    away = toolbox({"a": tool()}, event_call=page, **{**ASKS, "call": {"session_id": ""}})
    assert away.owner_of([call("a")]) is CallOwner.HOST
    (told,) = await texts(box, call("a", '{"q": "x"}'))
    shown = {"id": "call_1", "name": "a", "arguments": {"q": "x"}}
    texts_shown = {"title": "Run a?", "message": '```json\n{"q":"x"}\n```'}
    assert asked == [{"type": "confirmation", "data": {"tool_call": shown, **texts_shown}}]
    assert (told == "x") is (answer is True)
    assert answer is True or "none has approved this one" in told


UNSAVED: Any = {
    "metadata": {"params": {"tool_approval_mode": "ask"}},
    "call": {"session_id": "tab", "chat_id": "temporary:1"},
}


@pytest.mark.parametrize("mode", ["auto", "Pipeline", "Open-WebUI"])
@pytest.mark.parametrize("answer", [True, False])
async def test_in_a_chat_that_is_not_saved_the_pipe_asks_since_open_webui_may_not(
    mode: str, answer: bool
) -> None:
    asked: list[Any] = []

    async def page(event: dict[str, Any]) -> bool:
        asked.append(event["data"]["tool_call"]["name"])
        return answer

    tools = {name: tool(type="builtin") for name in ("ask_user", "delegate_task")}
    tools["a"] = tool()
    box = toolbox(tools, event_call=page, own={"TOOL_EXECUTION_MODE": mode}, **UNSAVED)
    calls = [call(name, call_id=name) for name in ("a", "delegate_task", "ask_user")]
    assert box.owner_of(calls) is box.owner_of(calls[:1]) is CallOwner.PIPE
    assert box.owner_of(calls[1:2]) is CallOwner.PIPE
    assert box.owner_of(calls[2:]) is CallOwner.HOST
    told = await texts(box, *calls)
    assert sorted(asked) == ["a", "delegate_task"]
    assert [text == "default" for text in told] == [answer, answer, True]


async def test_a_question_says_how_much_of_the_arguments_it_does_not_show() -> None:
    asked: list[str] = []

    async def page(event: dict[str, Any]) -> bool:
        asked.append(event["data"]["message"])
        return False

    long_text = "x" * 3_000
    await texts(
        toolbox({"a": tool()}, event_call=page, **ASKS), call("a", f'{{"q":"{long_text}"}}')
    )
    assert "**1008 more characters are not shown.**" in asked[0]


async def test_in_a_chat_that_is_not_saved_nothing_runs_where_nobody_can_be_asked() -> None:
    box = toolbox({"a": tool()}, own={"TOOL_EXECUTION_MODE": "Open-WebUI"}, **UNSAVED)
    assert box.owner_of([call("a")]) is CallOwner.PIPE
    assert "a person must approve each call" in (await texts(box, call("a")))[0]


async def test_the_page_is_asked_one_thing_at_a_time_and_its_time_is_not_the_tool_s() -> None:
    open_questions = 0

    async def page(_: dict[str, Any]) -> bool:
        nonlocal open_questions
        open_questions += 1
        assert open_questions == 1
        await asyncio.sleep(0.2)
        open_questions -= 1
        return True

    box = toolbox({"a": tool()}, event_call=page, replace={"tool_batch_timeout": 0.3}, **ASKS)
    calls = [call("a", call_id=str(number)) for number in range(2)]
    assert await texts(box, *calls) == ["default"] * 2


async def test_what_was_not_offered_is_not_run() -> None:
    for turn in ({"call": {"task": "title_generation"}}, {"body": {"stream": True}}):
        box = toolbox({"a": tool()}, **turn)
        assert await texts(box, call("a")) == [
            "Error: There is no tool named `a`. There are no tools in this chat."
        ]
