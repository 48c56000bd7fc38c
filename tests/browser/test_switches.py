"""What a person switches on beside the message: the filters that come with the pipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipe_lab.browser import BrowserPage
from pipe_lab.simulator import text_reply
from tests.browser.conftest import Site
from tests.browser.test_chat import FINISHED, ask, choose_model
from tests.live.stage import settled

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MODEL, NAME = "openrouter.openai.gpt-4o", "OpenAI: GPT-4o"
# The first sync of a server writes the settings of every model, with pauses (seconds).
A_FIRST_SYNC = 180
MENU = "document.querySelector('#integration-menu-button')"
DIALOG = "document.querySelector('[role=dialog]')"


def switch(name: str) -> str:
    entries = "[...document.querySelectorAll('[role=menuitemcheckbox]')]"
    return f"{entries}.find(entry => entry.innerText.includes('{name}'))"


async def test_the_search_is_switched_on_in_the_chat_and_openrouter_is_asked_to_search(
    site: Site, browser: BrowserPage, tmp_path: Path
) -> None:
    async def is_unfinished() -> bool:
        listed = {model["id"]: model for model in await site.client.models()}
        return len(listed[MODEL].get("filters") or []) < 2

    assert not await settled(is_unfinished, A_FIRST_SYNC)
    await browser.reload()
    await choose_model(browser, NAME)
    await browser.click(MENU)
    await browser.click(switch("OpenRouter Search"))
    await browser.wait_for(f"{switch('OpenRouter Search')}?.ariaChecked === 'true'")
    assert await browser.evaluate(f"{switch('Provider Routing')}.ariaChecked") == "false"
    await browser.screenshot(tmp_path / "switches.png")

    site.simulator.script(text_reply("Much is new."), model="openai/gpt-4o")
    await ask(browser, "What is new?")
    await browser.wait_for(FINISHED)

    asked = next(r for r in site.simulator.requests if (r.body or {}).get("tools"))
    kinds = [tool["type"] for tool in asked.body["tools"] if tool["type"] != "function"]
    assert kinds == ["openrouter:web_search", "openrouter:web_fetch", "openrouter:datetime"]


async def test_a_person_finds_their_choices_of_providers_behind_the_switch(
    browser: BrowserPage, tmp_path: Path
) -> None:
    await choose_model(browser, NAME)
    await browser.click(MENU)
    wheel = "parentElement.querySelector('button:not([role])')"
    await browser.click(f"{switch('Provider Routing')}?.{wheel}")
    await browser.wait_for(f"!!{DIALOG}?.innerText.includes('Only these providers')")
    first = f"[...{DIALOG}.querySelectorAll('button')].find(each => each.innerText === 'Default')"
    await browser.evaluate(f"{first}.click()")
    await browser.wait_for(f"!!{DIALOG}?.innerText.includes('Select options')")
    await browser.screenshot(tmp_path / "choices.png")
