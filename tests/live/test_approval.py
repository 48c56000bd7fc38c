"""Tools that wait for the person: approved, refused, asked for an answer, over a page reload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.turn import Turn
from pipe_lab.simulator import text_reply
from pipe_lab.tools.toolbox import PYTHON_TOOLS
from tests.live.calls import Call, calls_reply, exchange, output_of, saved_pair
from tests.live.stage import Stage, Toolbox

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
ASK = {"tool_approval_mode": "ask"}
ADD = ("add_numbers", {"a": 2, "b": 3})
QUESTION = {
    "id": "colour",
    "header": "Colour",
    "question": "Which colour?",
    "options": [
        {"label": "Red", "description": "Warm."},
        {"label": "Blue", "description": "Cold."},
    ],
}
ASK_USER = ("ask_user", {"questions": [QUESTION]})


async def paused_turn(stage: Stage, page: ChatPage, *calls: Call) -> Turn:
    """A turn whose calls wait for the person; the answer after them is scripted."""
    stage.simulator.script(calls_reply(*calls))
    stage.simulator.script(text_reply("Done."))
    turn = await page.send(MODEL, "Use the tools", tool_ids=[PYTHON_TOOLS], params=ASK)
    return await turn.paused()


async def statuses(stage: Stage, turn: Turn) -> list[str]:
    """The states of the saved calls, in order."""
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    return [item["status"] for item in saved["output"] if item["type"] == "function_call"]


async def test_an_approved_call_runs_once_and_the_answer_goes_on(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await paused_turn(stage, page, ADD)
    assert await statuses(stage, turn) == ["pending"]
    assert toolbox.runs() == []

    await page.decide(turn, "call_1", "approve")
    await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    _, output = saved_pair(saved)
    assert [run.arguments for run in toolbox.runs()] == [{"a": 2, "b": 3}]
    assert output["status"] == "completed"
    assert (saved["content"], saved["done"]) == ("Done.", True)
    assert output_of(stage.completions()[-1]) == "5"
    assert len(stage.completions()) == 2


async def test_a_refused_call_never_runs_and_the_model_is_told(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await paused_turn(stage, page, ADD)

    await page.decide(turn, "call_1", "reject")
    await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert toolbox.runs() == []
    assert await statuses(stage, turn) == ["rejected"]
    assert "rejected by user" in output_of(stage.completions()[-1])
    assert (saved["content"], saved["done"]) == ("Done.", True)


async def test_of_several_calls_each_is_decided_by_itself(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    turn = await paused_turn(stage, page, ADD, ("add_numbers", {"a": 4, "b": 4}))
    assert await statuses(stage, turn) == ["pending", "queued"]

    await page.decide(turn, "call_1", "reject")
    await turn.paused()
    assert await statuses(stage, turn) == ["rejected", "pending"]
    await page.decide(turn, "call_2", "approve")
    await turn.done()

    request = stage.completions()[-1]
    assert [run.arguments for run in toolbox.runs()] == [{"a": 4, "b": 4}]
    assert sorted(exchange(request)) == [
        ("call", "call_1"),
        ("call", "call_2"),
        ("output", "call_1"),
        ("output", "call_2"),
    ]
    assert output_of(request, "call_2") == "8"


@pytest.mark.parametrize(("action", "runs"), [("approve", 1), ("reject", 0)])
async def test_a_waiting_call_survives_a_reload_of_the_page(
    stage: Stage, toolbox: Toolbox, action: str, runs: int
) -> None:
    async with ChatPage(stage.admin) as before:
        turn = await paused_turn(stage, before, ADD)
    async with ChatPage(stage.admin) as after:
        after.watch(turn)
        assert await statuses(stage, turn) == ["pending"]
        await after.decide(turn, "call_1", action)
        await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert len(toolbox.runs()) == runs
    assert (saved["content"], saved["done"]) == ("Done.", True)


async def test_a_question_waits_for_the_persons_answer(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    stage.simulator.script(calls_reply(ASK_USER))
    stage.simulator.script(text_reply("Red it is."))

    turn = await (await page.send(MODEL, "Paint it")).paused()
    assert await statuses(stage, turn) == ["pending"]
    await page.decide(turn, "call_1", "answer", answers={"colour": ["Red"]})
    await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "Red it is."
    assert '"Red"' in output_of(stage.completions()[-1])


async def test_a_question_beside_another_tool_holds_up_neither(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    stage.simulator.script(calls_reply(ADD))
    stage.simulator.script(calls_reply(ASK_USER, first=2))
    stage.simulator.script(text_reply("Red, and five."))

    turn = await page.send(MODEL, "Add, then ask", tool_ids=[PYTHON_TOOLS])
    await turn.paused()
    assert await statuses(stage, turn) == ["completed", "pending"]
    await page.decide(turn, "call_2", "answer", answers={"colour": ["Red"]})
    await turn.done()

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "Red, and five."
    assert len(toolbox.runs()) == 1
    assert exchange(stage.completions()[-1]) == [
        ("call", "call_1"),
        ("output", "call_1"),
        ("call", "call_2"),
        ("output", "call_2"),
    ]


async def test_a_temporary_chat_asks_in_the_page(
    stage: Stage, page: ChatPage, toolbox: Toolbox
) -> None:
    asked: list[Mapping[str, Any]] = []

    def agree(data: Mapping[str, Any]) -> bool:
        asked.append(data["tool_call"])
        return True

    page.responders["confirmation"] = agree
    stage.simulator.script(calls_reply(ADD))
    stage.simulator.script(text_reply("Five."))

    turn = await page.ask(MODEL, "Add", temporary=True, tool_ids=[PYTHON_TOOLS], params=ASK)

    assert [(call["name"], call["arguments"]) for call in asked] == [ADD]
    assert len(toolbox.runs()) == 1
    assert turn.reply.text == "Five."
