"""Chat messages become input items."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import ServerToolItem
from open_webui_openrouter_pipe.core.ids import LAYOUT_DETAIL, api_tool_name
from open_webui_openrouter_pipe.core.json_codec import encode_json
from open_webui_openrouter_pipe.core.json_values import text_of
from open_webui_openrouter_pipe.requests.chat_body import build_messages
from open_webui_openrouter_pipe.requests.history import build_input
from open_webui_openrouter_pipe.requests.retention import remember
from open_webui_openrouter_pipe.streaming.server_tools import server_tool_cards
from tests.requests.contexts import settings

Message = dict[str, Any]

IMAGE = "data:image/png;base64,AAAA"


def call(call_id: str, name: str = "weather", arguments: str = '{"city":"Oslo"}') -> Message:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def asks(*call_ids: str, text: str = "") -> Message:
    return {"role": "assistant", "content": text, "tool_calls": [call(one) for one in call_ids]}


def result(call_id: str, content: Any = "rain") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def kinds(items: list[dict[str, Any]]) -> list[str]:
    return [f"{item.get('type', 'short')}:{item.get('call_id', '')}" for item in items]


@pytest.mark.parametrize("role", ["system", "developer", "user"])
def test_what_was_said_keeps_its_role(role: str) -> None:
    assert build_input([{"role": role, "content": "Hello"}]) == [
        {"type": "message", "role": role, "content": [{"type": "input_text", "text": "Hello"}]}
    ]


def test_text_and_images_of_a_message_keep_their_order() -> None:
    content = [
        {"type": "text", "text": "Before"},
        {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
        {"type": "image_url", "image_url": IMAGE},
        {"type": "text", "text": "After"},
    ]
    [message] = build_input([{"role": "user", "content": content}])
    image = {"type": "input_image", "image_url": IMAGE}
    assert [{k: v for k, v in part.items() if k != "detail"} for part in message["content"]] == [
        {"type": "input_text", "text": "Before"},
        image,
        image,
        {"type": "input_text", "text": "After"},
    ]


@pytest.mark.parametrize(
    "content",
    ["Hi", [{"type": "text", "text": "Hi"}], [{"type": "output_text", "text": "Hi"}]],
)
def test_an_earlier_answer_goes_back_as_its_text(content: Any) -> None:
    assert build_input([{"role": "assistant", "content": content}]) == [
        {"role": "assistant", "content": "Hi"}
    ]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {"role": "assistant", "content": [{"type": "text", "text": ""}]},
        {"role": "user", "content": ""},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
        {"role": "user", "content": [{"type": "hologram", "data": 1}]},
        {"role": "moderator", "content": "Silence!"},
        {"content": "from nobody"},
    ],
)
def test_a_message_that_says_nothing_is_left_out(message: Message) -> None:
    assert build_input([message, {"role": "user", "content": "x"}]) == build_input(
        [{"role": "user", "content": "x"}]
    )


def test_a_tool_call_and_its_result_go_as_a_pair() -> None:
    assert build_input([asks("c1", text="Let me see."), result("c1")]) == [
        {"role": "assistant", "content": "Let me see."},
        {
            "type": "function_call",
            "call_id": "c1",
            "name": "weather",
            "arguments": '{"city":"Oslo"}',
        },
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
    ]


def test_what_openrouter_did_itself_goes_back_as_no_call() -> None:
    messages = [
        asks("openrouter:st_1", "c1", text="It is noon."),
        result("openrouter:st_1", "noon"),
        result("c1"),
    ]
    assert kinds(build_input(messages)) == ["short:", "function_call:c1", "function_call_output:c1"]


def test_a_card_of_a_server_tool_leaves_no_trace_in_the_next_request() -> None:
    cards = server_tool_cards(ServerToolItem("st_1", "openrouter:datetime", {"datetime": "noon"}))
    call_id = cards[0]["call_id"]
    assert build_input([asks(call_id), result(call_id)]) == []


def test_thinking_goes_back_before_what_it_led_to() -> None:
    details = [{"type": "reasoning.encrypted", "data": "e", "id": "rs_1"}]
    message = {**asks("c1", text="Let me see."), "reasoning_details": details}
    assert kinds(build_input([message, result("c1")])) == [
        "reasoning:",
        "short:",
        "function_call:c1",
        "function_call_output:c1",
    ]


def test_a_call_without_arguments_sends_an_empty_object() -> None:
    message = {"role": "assistant", "tool_calls": [call("c1", arguments="")]}
    assert build_input([message, result("c1")])[0]["arguments"] == "{}"


@pytest.mark.parametrize("sent", ['{"city":', "[1]", '"Oslo"', "Oslo"])
def test_arguments_that_are_no_object_do_not_go_out(sent: str) -> None:
    messages = [{"role": "assistant", "tool_calls": [call("c1", arguments=sent)]}, result("c1")]
    assert build_input(messages)[0]["arguments"] == "{}"


def test_a_tool_is_called_by_the_name_the_api_knows() -> None:
    messages = [{"role": "assistant", "tool_calls": [call("c1", "my.tool")]}, result("c1")]
    assert build_input(messages)[0]["name"] == api_tool_name("my.tool")


def test_earlier_results_stay_out_where_they_are_not_to_be_kept() -> None:
    earlier = [asks("c1", text="Let me see."), result("c1"), {"role": "assistant", "content": "a"}]
    pictures = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}
    now = [{"role": "user", "content": "again"}, asks("c2"), result("c2"), pictures]
    items = build_input([*earlier, *now], keep_results=False)
    assert [item["call_id"] for item in items if "call_id" in item] == ["c2", "c2"]
    assert {"role": "assistant", "content": "Let me see."} in items
    every = [item["call_id"] for item in build_input([*earlier, *now]) if "call_id" in item]
    assert every == ["c1", "c1", "c2", "c2"]


def test_a_result_with_pictures_keeps_them() -> None:
    content = [
        {"type": "input_text", "text": "A cat"},
        {"type": "input_image", "image_url": "data:x"},
    ]
    [_, output] = build_input([asks("c1"), result("c1", content)])
    assert output["output"] == [
        {"type": "input_text", "text": "A cat"},
        {"type": "input_image", "image_url": "data:x", "detail": "auto"},
    ]


def test_a_result_in_parts_becomes_text() -> None:
    parts = [{"type": "text", "text": "rain"}, {"type": "text", "text": "later sun"}]
    assert build_input([asks("c1"), result("c1", parts)])[1]["output"] == "rain\nlater sun"


@pytest.mark.parametrize(
    ("messages", "kept"),
    [
        pytest.param([asks("c1")], [], id="a call nobody answered"),
        pytest.param([result("c1")], [], id="a result nobody asked for"),
        pytest.param([result("c1"), asks("c1")], [], id="a result before its call"),
        pytest.param([asks(""), result("")], [], id="a pair without an id"),
        pytest.param(
            [asks("c1", "c2"), result("c2")],
            ["function_call:c2", "function_call_output:c2"],
            id="one of two calls answered",
        ),
        pytest.param(
            [asks("c1"), result("c1"), result("c1")],
            ["function_call:c1", "function_call_output:c1"],
            id="a result twice",
        ),
        pytest.param(
            [asks("c1"), result("c1"), asks("c1"), result("c1")],
            ["function_call:c1", "function_call_output:c1"] * 2,
            id="an id used again in a later round",
        ),
    ],
)
def test_only_whole_pairs_go_out(messages: list[Message], kept: list[str]) -> None:
    assert kinds(build_input(messages)) == kept


MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda ids: asks(*ids), st.lists(st.sampled_from("abc"), max_size=3)),
        st.builds(result, st.sampled_from("abcd")),
        st.just({"role": "user", "content": "and?"}),
    ),
    max_size=12,
)


@given(MESSAGES)
def test_in_any_history_each_call_has_one_result_after_it(messages: list[Message]) -> None:
    waiting: list[str] = []
    for item in build_input(messages):
        if item.get("type") == "function_call":
            waiting.append(item["call_id"])
        elif item.get("type") == "function_call_output":
            waiting.remove(item["call_id"])  # raises where no call waits for it
    assert waiting == []


SEALED = [{"type": "reasoning.encrypted", "data": data, "id": f"rs_{data}"} for data in "ef"]


def laid_out(parts: list[Message], text: str = "Look.\nDone.") -> list[str]:
    """What a message with this layout becomes, in short."""
    details = [*SEALED, {"type": LAYOUT_DETAIL, "parts": parts}]
    message = {**asks("c1", "c2", text=text), "reasoning_details": details}
    items = build_input([message, result("c1"), result("c2")])[:-2]
    return [
        text_of(item.get("encrypted_content") or item.get("call_id") or item.get("content"))
        + (f" ({item['phase']})" if "phase" in item else "")
        for item in items
    ]


THOUGHT = {"kind": "reasoning", "sealed": 1}
LOOK = {"kind": "message", "length": 5, "phase": "commentary"}
DONE = {"kind": "message", "length": 5, "phase": "final_answer"}
CALLS = [{"kind": "call", "call_id": call_id} for call_id in ("c1", "c2")]


def test_the_parts_of_an_answer_go_back_as_they_stood() -> None:
    parts = [LOOK, THOUGHT, CALLS[1], THOUGHT, DONE, CALLS[0]]
    assert laid_out(parts) == ["Look. (commentary)", "e", "c2", "f", "Done. (final_answer)", "c1"]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([LOOK, THOUGHT, THOUGHT, DONE, *CALLS], "Look. Done."),
        ([LOOK, THOUGHT, THOUGHT, DONE, *CALLS], "Look.\nDone!!"),
        ([LOOK, THOUGHT, THOUGHT, *CALLS], "Look.\nDone."),
        ([LOOK, DONE, THOUGHT, *CALLS], "Look.\nDone."),
        ([{"kind": "message", "length": "5"}, {}, THOUGHT], "Look.\nDone."),
    ],
)
def test_an_answer_that_was_edited_goes_back_in_the_usual_order(
    parts: list[Message], text: str
) -> None:
    assert laid_out(parts, text) == ["e", "f", text, "c1", "c2"]


def test_calls_that_are_gone_or_new_cost_nothing() -> None:
    gone = {"kind": "call", "call_id": "c9"}
    parts = [LOOK, THOUGHT, gone, THOUGHT, DONE, CALLS[1]]
    assert laid_out(parts)[-3:] == ["Done. (final_answer)", "c2", "c1"]


@pytest.mark.parametrize(
    ("messages", "roles"),
    [
        pytest.param(
            [{"role": "user", "content": "Tell"}, {"role": "assistant", "content": "Once"}],
            ["user", "assistant"],
            id="continue: the answer so far stands last",
        ),
        pytest.param(
            [
                {"role": "user", "content": "Tell"},
                {"role": "assistant", "content": "Once"},
                {"role": "user", "content": "Shorter, please"},
            ],
            ["user", "assistant", "user"],
            id="a guided regeneration",
        ),
        pytest.param(
            [{"role": "system", "content": "You are in #news."}, {"role": "user", "content": "Hi"}],
            ["system", "user"],
            id="a channel",
        ),
        pytest.param(
            [{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}],
            ["user", "user"],
            id="an answer that failed stood between",
        ),
    ],
)
def test_every_kind_of_chat_keeps_its_order(messages: list[Message], roles: list[str]) -> None:
    assert [item["role"] for item in build_input(remember(messages, settings()))] == roles


NAMES = st.sampled_from(
    [
        *("role", "content", "tool_calls", "tool_call_id", "reasoning_details", "type", "text"),
        *("id", "index", "data", "function", "name", "parts", "kind", "image_url", "url"),
    ]
)
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
ODD_MESSAGES = st.lists(
    st.dictionaries(NAMES, ODD | st.sampled_from(["assistant", "tool", "user"]), max_size=6),
    max_size=5,
)


@given(ODD_MESSAGES)
def test_messages_of_any_shape_never_raise(messages: list[Message]) -> None:
    kept = remember(messages, settings(TOOL_OUTPUT_RETENTION_TURNS=1))
    items = build_input(kept)
    build_messages(items)
    encode_json(items)
