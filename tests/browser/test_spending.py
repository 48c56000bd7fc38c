"""What a person sees when they ask what they have spent, and when it was enough."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipe_lab.browser import BrowserPage
from pipe_lab.host.pipe_setup import FUNCTION_ID
from pipe_lab.simulator import text_reply
from tests.browser.conftest import Site
from tests.browser.test_chat import FINISHED, ask, choose_model

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

TEXT = "document.body.innerText"


async def test_spend_is_a_table_in_the_chat_and_a_spent_budget_an_error(
    site: Site, browser: BrowserPage, tmp_path: Path
) -> None:
    site.simulator.script(text_reply("Hello to you.", usage={"cost": 0.5}), model="openai/gpt-4o")
    await choose_model(browser, "OpenAI: GPT-4o")
    await ask(browser, "Hello")
    await browser.wait_for(f"{TEXT}.includes('Hello to you.')")

    await ask(browser, "/spend")
    await browser.wait_for("!!document.querySelector('table td')")
    await browser.wait_for(FINISHED)
    assert "All users spent $" in await browser.evaluate(TEXT)  # videos of other tests included
    assert "█" in await browser.evaluate("document.querySelector('table').innerText")
    await browser.screenshot(tmp_path / "spend.png")

    valves = await site.client.valves(FUNCTION_ID)
    await site.client.set_valves(FUNCTION_ID, {**valves, "BUDGETS_USD": "each user: 0.25"})
    await ask(browser, "And now?")
    await browser.wait_for(f"{TEXT}.includes('Your budget is spent')")
    assert "It starts anew at " in await browser.evaluate(TEXT)
    await browser.screenshot(tmp_path / "budget.png")
    await site.client.set_valves(FUNCTION_ID, valves)
