"""What a person does in the page: choose a model, ask, read, attach, come back."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipe_lab.browser import BrowserPage
from pipe_lab.simulator import (
    Answer,
    GeneratedImage,
    Message,
    Speech,
    answer_reply,
    chat_answer_reply,
    error_reply,
    text_reply,
)
from pipe_lab.simulator.pictures import draw_png
from pipe_lab.simulator.sounds import tone_in_pieces
from tests.browser.conftest import TASK_MODEL, Site

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

QUESTION = "How do merge sort and quicksort differ? Show me the shorter one in Python."
THOUGHT = "Both split the list; what differs is where the work is done."
ANSWER = """Both divide the list and sort the parts. **Merge sort** does its work when it joins \
them, **quicksort** when it splits them.

| | Merge sort | Quicksort |
|:--|:--|:--|
| Typical time | $n \\log n$ | $n \\log n$ |
| Worst case | $n \\log n$ | $n^2$ |
| Extra memory | a second list | almost none |
| Keeps equal items in order | yes | no |

Quicksort is the shorter one:

```python
def quicksort(items: list[int]) -> list[int]:
    if len(items) < 2:
        return items
    pivot, *rest = items
    smaller = [item for item in rest if item < pivot]
    larger = [item for item in rest if item >= pivot]
    return quicksort(smaller) + [pivot] + quicksort(larger)
```

It favours clarity over memory: a real one sorts **in place**.
"""

# A PNG of one pixel.
RED_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)

# Between two pieces, so that the closing line tells a time that a person would know.
PAUSE_SECONDS = 0.03
FILE_INPUT = "document.querySelector('input[type=file][multiple]')"
SEND_BUTTON = "document.querySelector('#send-message-button')"
FINISHED = "!!document.querySelector('.regenerate-response-button')"
NO_TOASTS = "!document.querySelector('[data-sonner-toast]')"


async def choose_model(browser: BrowserPage, name: str) -> None:
    await browser.click("document.querySelector('#model-selector-model-button')")
    # The list moves while it is drawn, and a click would miss.
    await browser.wait_for("!!document.querySelector('button[aria-label^=\"Select \"]')")
    search = "document.querySelector('#model-search-input')"
    await browser.wait_for(f"({search}.focus(), document.activeElement === {search})")
    await browser.type_text(name)
    await browser.click(f"document.querySelector('button[aria-label=\"Select {name} model\"]')")
    selected = f'button[aria-label="Selected model: {name}"]'
    await browser.wait_for(f"!!document.querySelector('{selected}')")


async def ask(browser: BrowserPage, question: str) -> None:
    await browser.click("document.querySelector('#chat-input')")
    await browser.type_text(question)
    await browser.wait_for(f"{SEND_BUTTON} && !{SEND_BUTTON}.disabled")
    await browser.press_enter()


async def test_a_person_chooses_a_model_asks_and_reads_the_answer(
    site: Site, browser: BrowserPage, pictures: Path
) -> None:
    reply = replace(text_reply(ANSWER, reasoning=THOUGHT), pause=PAUSE_SECONDS)
    title = text_reply('{"title": "Merge sort and quicksort"}')
    site.simulator.script(reply, model="anthropic/claude-sonnet-4.5")
    site.simulator.script(title, model=TASK_MODEL)

    await choose_model(browser, "Anthropic: Claude Sonnet 4.5")
    await ask(browser, QUESTION)
    await browser.wait_for(FINISHED)

    await browser.wait_for("document.body.innerText.includes('Thought for')")
    await browser.wait_for("document.querySelectorAll('table tbody tr').length === 4")
    await browser.wait_for("document.querySelectorAll('.katex').length === 4")
    await browser.wait_for("document.body.innerText.includes('def quicksort')")
    await browser.wait_for("document.title.startsWith('Merge sort and quicksort')")
    await browser.wait_for(NO_TOASTS)
    await browser.screenshot(pictures / "chat.png")
    await browser.reload()
    await browser.wait_for("document.querySelectorAll('table tbody tr').length === 4")


async def test_a_refusal_is_read_in_the_chat_and_again_after_a_reload(
    site: Site, browser: BrowserPage
) -> None:
    refusal = error_reply(402, "Insufficient credits")
    site.simulator.script(refusal, model="openai/gpt-4o")

    await choose_model(browser, "OpenAI: GPT-4o")
    await ask(browser, "hi")

    explained = "document.body.innerText.includes('Add credits at https://openrouter.ai')"
    await browser.wait_for(explained)
    await browser.wait_for("location.pathname.startsWith('/c/')")
    await browser.reload()
    await browser.wait_for(explained)


async def test_a_text_attached_in_the_page_reaches_the_model(
    site: Site, browser: BrowserPage, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The password of the day is swordfish.")
    site.simulator.script(text_reply("It is a fish."), model="openai/gpt-4o")

    await choose_model(browser, "OpenAI: GPT-4o")
    await browser.choose_file(FILE_INPUT, note)
    await browser.wait_for("document.body.innerText.includes('note.txt')")
    await ask(browser, "What is the password?")
    await browser.wait_for("document.body.innerText.includes('It is a fish.')")

    assert "swordfish" in str(asked(site, "openai/gpt-4o")["input"])


async def test_a_picture_attached_in_the_page_reaches_the_model(
    site: Site, browser: BrowserPage, tmp_path: Path
) -> None:
    dot = tmp_path / "dot.png"
    dot.write_bytes(RED_DOT)
    site.simulator.script(text_reply("A red dot."), model="openai/gpt-4o")

    await choose_model(browser, "OpenAI: GPT-4o")
    await browser.choose_file(FILE_INPUT, dot)
    await browser.wait_for('!!document.querySelector(\'img[alt="dot.png"], img[src*="/files/"]\')')
    await ask(browser, "What is it?")
    await browser.wait_for("document.body.innerText.includes('A red dot.')")

    (message,) = asked(site, "openai/gpt-4o")["input"]
    pictures = [part["image_url"] for part in message["content"] if part["type"] == "input_image"]
    assert [picture.partition(",")[0] for picture in pictures] == ["data:image/png;base64"]


async def test_a_picture_the_model_draws_is_seen_and_stays(
    site: Site, browser: BrowserPage, pictures: Path
) -> None:
    drawing = GeneratedImage(
        "data:image/png;base64," + base64.b64encode(draw_png("moon", 256)).decode()
    )
    answer = Answer((Message(("Here ", "is ", "the ", "moon.")), drawing))
    site.simulator.script(answer_reply(answer), model="google/gemini-2.5-flash-image")

    await choose_model(browser, "Google: Gemini 2.5 Flash Image")
    await ask(browser, "Draw the moon")

    seen = (
        "[...document.querySelectorAll('img[src*=\"/files/\"]')].some(i => i.naturalWidth === 256)"
    )
    await browser.wait_for(seen)
    await browser.wait_for(FINISHED)
    await browser.screenshot(pictures / "picture.png")
    await browser.reload()
    await browser.wait_for(seen)


async def test_what_a_model_says_is_heard(site: Site, browser: BrowserPage, pictures: Path) -> None:
    speech = Speech(("Good ", "morning."), tone_in_pieces(2.0))
    reply = chat_answer_reply(Answer((speech,)))
    site.simulator.script(reply, model="openai/gpt-audio-mini", path="/chat/completions")

    await choose_model(browser, "OpenAI: GPT Audio Mini")
    await ask(browser, "Say good morning")

    heard = (
        "[...document.querySelectorAll('audio[src*=\"/files/\"]')]"
        ".some(player => Math.abs(player.duration - 2) < 0.01)"
    )
    await browser.wait_for(heard)
    await browser.wait_for(FINISHED)
    await browser.screenshot(pictures / "sound.png")
    await browser.reload()
    await browser.wait_for(heard)


def asked(site: Site, model: str) -> dict[str, Any]:
    """The only body this model was sent."""
    bodies = [request.body for request in site.simulator.requests if request.body]
    (body,) = [body for body in bodies if body.get("model") == model]
    return body
