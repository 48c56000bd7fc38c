"""Tools in a saved chat: run once, side by side, kept with their outputs, whatever they return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.turn import Turn
from pipe_lab.simulator import RecordedRequest, text_reply
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


async def test_the_usage_of_a_turn_is_that_of_all_its_rounds(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await call(stage, page, "add_numbers", a=2, b=3)

    saved = await saved_of(stage, turn)
    # The simulator counts 17 tokens for every request it is scripted for.
    assert saved["usage"]["input_tokens"] == 34


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
