"""The ledger, `/spend` and the budgets in a real Open WebUI."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import text_reply
from tests.live.stage import TASK_MODEL, Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-5"


def ledger_sum(stage: Stage) -> Decimal:
    """USD in the server's own database."""
    path = stage.server.settings.data_folder / "webui.db"
    with closing(sqlite3.connect(path)) as database:
        found = database.execute("SELECT sum(picodollars) FROM openrouter_pipe_spend").fetchone()
    return Decimal(found[0] or 0).scaleb(-12)


async def test_the_ledger_agrees_with_the_simulators_books(stage: Stage, page: ChatPage) -> None:
    first = await page.ask(MODEL, "Hello")  # makes the table, and a title
    await page.ask(MODEL, "/spend", after=first)
    earlier = ledger_sum(stage) - stage.simulator.books

    async def missing() -> Decimal:
        return ledger_sum(stage) - earlier - stage.simulator.books

    assert not await settled(missing)
    second = await page.ask(MODEL, "And again", after=first)
    await page.ask(MODEL, '#call add {"a": 1, "b": 2}', after=second)
    assert stage.simulator.books > 0
    assert not await settled(missing)


async def test_spend_answers_with_tables_and_asks_no_model(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Hi.", usage={"cost": 0.5}))
    first = await page.ask(MODEL, "Hello")
    asked = len([r for r in stage.completions() if r.body["model"] != TASK_MODEL])

    turn = await page.ask(MODEL, "/spend", after=first)

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"].startswith("**All users spent ")
    assert "| openai/gpt-5 | " in saved["content"]
    assert "| Ada (ada@example.com) | " in saved["content"]
    assert saved["usage"]["cost"] == 0
    assert len([r for r in stage.completions() if r.body["model"] != TASK_MODEL]) == asked


async def test_an_admin_gets_a_file_with_all_of_it(stage: Stage, page: ChatPage) -> None:
    await page.ask(MODEL, "Hello")

    turn = await page.ask(MODEL, "/spend csv")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    address = saved["content"].partition("](")[2].partition(")")[0]
    lines = (await stage.admin.http.get(address)).text.splitlines()
    assert lines[0].startswith("id,created_at,function_id,user_id,")
    assert lines[0].endswith(",cost_usd")
    assert any(",openai/gpt-5," in line for line in lines[1:])


async def test_a_budget_that_is_spent_is_an_error_on_the_page(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Hi.", usage={"cost": 0.5}))
    await page.ask(MODEL, "Hello")
    await stage.set_valves(BUDGETS_USD="each user: 0.25")

    turn = await page.ask(MODEL, "Hello again")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert "Your budget is spent" in str(saved["error"])
    assert "starts anew at" in str(saved["error"])
    assert len([r for r in stage.completions() if r.body["model"] != TASK_MODEL]) == 1
