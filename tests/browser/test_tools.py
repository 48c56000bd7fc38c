"""What a person sees of tools: a card for the thinking, a card for each call, the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipe_lab.browser import BrowserPage
from pipe_lab.simulator import Answer, FunctionCall, Reasoning, answer_reply, text_reply
from tests.browser.conftest import TASK_MODEL, TOOL_MODEL, TOOL_MODEL_NAME, Site
from tests.browser.test_chat import FINISHED, NO_TOASTS, ask, choose_model

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

THOUGHT = "Two cities, so I ask for both at once."
ANSWER = """| | Paris | Rome |
|:--|:--|:--|
| Sky | rain | sunny |
| Temperature | 9 °C | 19 °C |

Rome is ten degrees warmer, and dry.
"""
ANSWER_BOX = "document.querySelector('#response-content-container')"
GROUP = f"{ANSWER_BOX}?.querySelector('[aria-label=\"Toggle details\"]')"
CARDS = (
    f"[...{ANSWER_BOX}?.querySelectorAll('[role=button]') ?? []]"
    ".filter(button => button.innerText.includes('View Result from get_weather'))"
)
ALLOW = "document.querySelector('.tool-call-allow-button')"
TOOLS_ARE_ON = "!!document.querySelector('[aria-label=\"Available Tools\"]')"


def call_weather(number: int, city: str) -> FunctionCall:
    return FunctionCall("get_weather", f"call_{number}", (json.dumps({"city": city}),))


async def test_two_tools_at_once_are_two_cards_beside_the_thinking(
    site: Site, browser: BrowserPage, pictures: Path
) -> None:
    thought = Reasoning((THOUGHT,), signature="c2lnbmVk", format="anthropic-claude-v1")
    calls = (call_weather(1, "Paris"), call_weather(2, "Rome"))
    site.simulator.script(answer_reply(Answer((thought, *calls))), model=TOOL_MODEL)
    site.simulator.script(text_reply(ANSWER), model=TOOL_MODEL)
    site.simulator.script(text_reply('{"title": "Weather in two cities"}'), model=TASK_MODEL)

    await choose_model(browser, TOOL_MODEL_NAME)
    await browser.wait_for(TOOLS_ARE_ON)
    await ask(browser, "What is the weather in Paris and in Rome? Compare the two.")
    await browser.wait_for(FINISHED)
    await browser.wait_for(reads("ten degrees warmer"))
    # The cards stand in a group that opens with a click, as each of them does.
    await browser.click(GROUP)
    await browser.wait_for(f"{CARDS}.length === 2")
    # They are still sliding into their places.
    await browser.evaluate(f"{CARDS}[1].click()")

    await browser.wait_for(reads("Thought for"))
    await browser.wait_for(reads("degrees_celsius"))
    assert not await browser.evaluate(f"!!{ANSWER_BOX}.querySelector('.text-red-500')")
    await browser.wait_for("document.title.startsWith('Weather in two cities')")
    await browser.wait_for(NO_TOASTS)
    await browser.screenshot(pictures / "tools.png")
    await browser.reload()
    await browser.wait_for(reads("Explored 2 get_weather"))


@pytest_asyncio.fixture(loop_scope="session")
async def approving(site: Site) -> AsyncIterator[None]:
    """A person who wants to be asked before a tool runs."""
    address = "/api/v1/users/user/settings"
    settings = await site.client.get(address)
    ask_first = {"params": {"tool_approval_mode": "ask"}}
    await site.client.post(f"{address}/update", {"ui": {**settings["ui"], **ask_first}})
    yield
    await site.client.post(f"{address}/update", settings)


async def test_a_call_that_waits_for_approval_does_so_over_a_reload(
    site: Site, approving: None, browser: BrowserPage
) -> None:
    site.simulator.script(answer_reply(Answer((call_weather(1, "Rome"),))), model=TOOL_MODEL)
    site.simulator.script(text_reply("Sunny."), model=TOOL_MODEL)

    await choose_model(browser, TOOL_MODEL_NAME)
    await browser.wait_for(TOOLS_ARE_ON)
    await ask(browser, "What is the weather in Rome?")
    await browser.wait_for(f"!!{ALLOW}")
    await browser.wait_for("location.pathname.startsWith('/c/')")
    await browser.reload()
    await browser.click(ALLOW)

    await browser.wait_for(reads("Sunny."))
    await browser.wait_for(f"!{ALLOW}")


def reads(text: str) -> str:
    """Whether this stands in the answer."""
    return f"!!{ANSWER_BOX}?.innerText.includes({json.dumps(text)})"
