"""Tools in a saved chat: run once, side by side, kept with their outputs, whatever they return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.turn import Turn
from pipe_lab.simulator import RecordedRequest, error_reply, text_reply
from pipe_lab.tools.toolbox import MCP_TOOLS, OPENAPI_TOOLS, PYTHON_TOOLS
from tests.live.calls import calls_reply, exchange, output_of, saved_pair, words
from tests.live.stage import Stage, Toolbox

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
PAIR = [("call", "call_1"), ("output", "call_1")]


async def call(
    stage: Stage, page: ChatPage, tool: str, tools: str = PYTHON_TOOLS, **arguments: Any
) -> Turn:
    """A turn in which the model calls one tool, is told its output, and answers."""
    stage.simulator.script(calls_reply((tool, arguments)), model="openai/gpt-4o")
    stage.simulator.script(text_reply("Done."), model="openai/gpt-4o")
    return await page.ask(MODEL, "Use the tool", tool_ids=[tools])


async def saved_of(stage: Stage, turn: Turn) -> dict[str, Any]:
    return await stage.admin.message(turn.chat_id, turn.reply.message_id)


def last_request(stage: Stage) -> RecordedRequest:
    return stage.completions()[-1]


async def test_a_tool_runs_once_is_kept_and_goes_back_with_the_next_turn(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "add_numbers", a=2, b=3)
    stage.simulator.script(text_reply("Yes."))
    await page.ask(MODEL, "Are you sure?", after=turn, tool_ids=[PYTHON_TOOLS])

    saved = await saved_of(stage, turn)
    asked, output = saved_pair(saved)
    first, second, next_turn = stage.completions()
    assert [run.arguments for run in toolbox.runs()] == [{"a": 2, "b": 3}]
    assert "add_numbers" in [tool["name"] for tool in first.body["tools"]]
    assert (asked["name"], asked["status"], words(output["output"])) == (
        "add_numbers",
        "completed",
        "5",
    )
    assert [item["type"] for item in saved["output"]] == [
        "function_call",
        "function_call_output",
        "message",
    ]
    assert (saved["content"], saved["done"]) == ("Done.", True)
    assert exchange(second) == exchange(next_turn) == PAIR
    assert output_of(second) == output_of(next_turn) == "5"


async def test_the_usage_of_a_turn_is_that_of_all_its_rounds(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "add_numbers", a=2, b=3)

    saved = await saved_of(stage, turn)
    # The simulator counts 17 tokens for every request it is scripted for.
    assert saved["usage"]["input_tokens"] == 34


async def test_a_round_that_fails_leaves_what_the_earlier_ones_took(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    stage.simulator.script(calls_reply(("add_numbers", {"a": 2, "b": 3})))
    stage.simulator.script(error_reply(402, "Insufficient credits"))
    turn = await page.ask(MODEL, "Add", tool_ids=[PYTHON_TOOLS])

    saved = await saved_of(stage, turn)
    assert "Insufficient credits" in turn.reply.error
    assert words(saved_pair(saved)[1]["output"]) == "5"
    assert saved["usage"]["input_tokens"] == 17


async def test_four_tools_of_one_round_run_at_the_same_time(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    await call(stage, page, "wait_half_a_second", number=0)
    (alone,) = toolbox.runs()
    toolbox.runs_file.unlink()

    waits = [("wait_half_a_second", {"number": number}) for number in range(1, 5)]
    stage.simulator.script(calls_reply(*waits))
    stage.simulator.script(text_reply("Done."))
    turn = await page.ask(MODEL, "Wait four times", tool_ids=[PYTHON_TOOLS])

    together = toolbox.runs()
    ends = [run.ended for run in together if run.ended is not None]
    assert len(ends) == 4
    assert max(run.began for run in together) < min(ends)
    assert alone.ended is not None
    # One waits for half a second, so that one after the other would take two.
    span = max(ends) - together[0].began
    assert span - (alone.ended - alone.began) < 0.8
    saved = await saved_of(stage, turn)
    outputs = [item for item in saved["output"] if item["type"] == "function_call_output"]
    assert [words(item["output"]) for item in outputs] == [f"waited {n}" for n in range(1, 5)]
    assert sorted(exchange(last_request(stage))) == sorted(
        (kind, f"call_{number}") for kind in ("call", "output") for number in range(1, 5)
    )


async def test_two_rounds_stay_in_order(stage: Stage, page: ChatPage, toolbox: Toolbox) -> None:
    stage.simulator.script(calls_reply(("add_numbers", {"a": 1, "b": 1})))
    stage.simulator.script(calls_reply(("add_numbers", {"a": 2, "b": 2}), first=2))
    stage.simulator.script(text_reply("Two, and four."))

    turn = await page.ask(MODEL, "Add twice", tool_ids=[PYTHON_TOOLS])

    saved = await saved_of(stage, turn)
    order = [item.get("call_id") for item in saved["output"]]
    assert order == ["call_1", "call_1", "call_2", "call_2", None]
    assert exchange(last_request(stage)) == [*PAIR, ("call", "call_2"), ("output", "call_2")]
    assert len(toolbox.runs()) == 2


async def test_a_tool_that_raises_is_an_output_the_model_can_act_on(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "raise_an_error")

    asked, output = saved_pair(await saved_of(stage, turn))
    assert (asked["status"], output["status"]) == ("failed", "failed")
    assert "the lab's tool is broken" in output_of(last_request(stage))
    assert len(toolbox.runs()) == 1
    assert turn.reply.text == "Done."


async def test_a_tool_that_hangs_is_given_up_and_the_answer_comes(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    await stage.set_valves(TOOL_TIMEOUT_SECONDS=1)

    turn = await call(stage, page, "never_return")

    asked, output = saved_pair(await saved_of(stage, turn))
    (run,) = toolbox.runs()
    assert run.ended is not None
    assert (asked["status"], output["status"]) == ("failed", "failed")
    assert "1 s" in output_of(last_request(stage))
    assert turn.reply.text == "Done."


async def test_five_megabytes_are_shortened_for_the_model(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "return_five_megabytes")

    told = output_of(last_request(stage))
    # The model of this test reads 128,000 tokens.
    assert len(told) < 500_000
    assert told.startswith("BEGIN filler") and told.endswith("END")
    assert "characters are left out here" in told
    # So they are for the person: the page loads the whole chat.
    _, output = saved_pair(await saved_of(stage, turn))
    assert words(output["output"]) == told
    assert len(str(await stage.admin.chat(turn.chat_id))) < 3 * len(told)
    assert (turn.reply.text, turn.reply.error) == ("Done.", "")


async def test_a_picture_reaches_the_model_and_is_kept_as_a_file(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "draw_a_dot")

    _, output = saved_pair(await saved_of(stage, turn))
    (picture,) = [part for part in output["output"] if part["type"] == "input_image"]
    assert picture["image_url"].startswith("/api/v1/files/")
    assert str(last_request(stage).body["input"]).count("data:image/png;base64,") == 1


@pytest.mark.parametrize(
    ("tool", "page_text", "told"),
    [
        ("show_a_page", "A page of the lab", "Embedded UI result is active"),
        ("show_a_page_and_tell", "Told", "The page says: Told."),
    ],
)
async def test_a_page_is_shown_to_the_person_and_told_to_the_model(  # noqa: PLR0913
    stage: Stage, page: ChatPage, toolbox: Toolbox, tool: str, page_text: str, told: str
) -> None:
    turn = await call(stage, page, tool)

    _, output = saved_pair(await saved_of(stage, turn))
    assert output["embeds"] == [f"<h1>{page_text}</h1>"]
    assert told in output_of(last_request(stage))
    assert "<h1>" not in output_of(last_request(stage))


async def test_what_a_tool_tells_the_page_itself_arrives_once(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "speak_beside_the_answer")

    saved = await saved_of(stage, turn)
    kinds = [kind for _, kind, _ in turn.reply.events]
    assert [kinds.count(kind) for kind in ("citation", "files")] == [1, 1]
    told = [status["description"] for status in saved["statusHistory"]]
    assert told.count("Looking") == 1
    assert [source["source"]["name"] for source in saved["sources"]] == ["Lab"]
    assert [file["name"] for file in saved["files"]] == ["a.txt"]
    assert words(saved_pair(saved)[1]["output"]) == "spoken"


async def test_of_a_tuple_the_model_reads_the_first_part(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    await call(stage, page, "return_a_pair")

    assert '"answer": 42' in output_of(last_request(stage))


async def test_an_openapi_server_is_called_once(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "multiply", OPENAPI_TOOLS, a=6, b=7)

    _, output = saved_pair(await saved_of(stage, turn))
    assert toolbox.openapi.calls == [("multiply", {"a": 6, "b": 7})]
    assert '"product": 42' in words(output["output"])
    assert '"product": 42' in output_of(last_request(stage))


async def test_a_page_of_an_openapi_server_is_shown(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "show_map", OPENAPI_TOOLS, city="Paris")

    _, output = saved_pair(await saved_of(stage, turn))
    assert output["embeds"] == ["<h1>A map of Paris</h1>"]


async def test_an_mcp_server_is_called_once(stage: Stage, page: ChatPage, toolbox: Toolbox) -> None:
    await call(stage, page, "lab_mcp_add", MCP_TOOLS, a=20, b=22)
    first = output_of(last_request(stage))
    await call(stage, page, "lab_mcp_add", MCP_TOOLS, a=20, b=22)
    second = output_of(last_request(stage))

    counts = [int(told.removeprefix("42 (run ").removesuffix(")")) for told in (first, second)]
    assert counts[1] == counts[0] + 1


async def test_an_mcp_servers_error_and_picture_are_read_by_the_model(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    await call(stage, page, "lab_mcp_fail", MCP_TOOLS)
    assert "the lab's MCP tool is broken" in output_of(last_request(stage))

    turn = await call(stage, page, "lab_mcp_dot", MCP_TOOLS)
    _, output = saved_pair(await saved_of(stage, turn))
    assert [file["type"] for file in output["files"]] == ["image"]
    assert str(last_request(stage).body["input"]).count("data:image/png;base64,") == 1


async def test_a_direct_tool_runs_in_the_persons_browser(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    asked: list[Mapping[str, Any]] = []

    def divide(data: Mapping[str, Any]) -> list[Any]:
        asked.append(data)
        return [{"quotient": data["params"]["a"] // data["params"]["b"]}, {}]

    page.responders["execute:tool"] = divide
    number = {"type": "integer"}
    spec = {
        "name": "divide",
        "description": "Divide two numbers.",
        "parameters": {"type": "object", "properties": {"a": number, "b": number}},
    }
    server = {"url": "http://browser.example", "specs": [spec], "openapi": {}, "info": {}}
    stage.simulator.script(calls_reply(("divide", {"a": 84, "b": 2})))
    stage.simulator.script(text_reply("42."))

    turn = await page.ask(MODEL, "Divide", tool_servers=[server])

    _, output = saved_pair(await saved_of(stage, turn))
    assert [(data["name"], data["params"]) for data in asked] == [("divide", {"a": 84, "b": 2})]
    assert '"quotient": 42' in words(output["output"])
    assert '"quotient": 42' in output_of(last_request(stage))


async def test_a_tool_nobody_has_is_an_output_the_model_can_act_on(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "invented_tool")

    asked, output = saved_pair(await saved_of(stage, turn))
    assert (asked["status"], output["status"]) == ("failed", "failed")
    assert "invented_tool" in output_of(last_request(stage))
    assert turn.reply.text == "Done."


async def test_the_tools_of_an_api_caller_are_the_callers_to_run(
    stage: Stage, toolbox: Toolbox
) -> None:
    stage.simulator.script(calls_reply(("add_numbers", {"a": 2, "b": 3})))
    offered = {"type": "function", "function": {"name": "add_numbers", "parameters": {}}}
    question = {"role": "user", "content": "Add"}

    answer = await stage.admin.complete(
        {"model": MODEL, "messages": [question], "tools": [offered]}
    )

    (choice,) = answer["choices"]
    (asked,) = choice["message"]["tool_calls"]
    assert (asked["id"], asked["function"]["name"]) == ("call_1", "add_numbers")
    assert choice["finish_reason"] == "tool_calls"
    assert toolbox.runs() == []
    assert [tool["name"] for tool in last_request(stage).body["tools"]] == ["add_numbers"]
