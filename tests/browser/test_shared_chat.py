"""A chat that is shared: the second person sees in the page what the model has drawn."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path

import pytest

from pipe_lab.browser import BrowserPage, find_chromium
from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import BUNDLE, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import Answer, GeneratedImage, Message, Simulator, answer_reply
from pipe_lab.simulator.pictures import draw_png
from tests.browser.conftest import TASKS

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.google.gemini-2.5-flash-image"
SEEN = "[...document.querySelectorAll('img[src*=\"/files/\"]')].some(i => i.naturalWidth === 256)"


async def test_a_drawn_picture_is_seen_by_whom_the_chat_is_shared_with(tmp_path: Path) -> None:
    find_chromium()
    python = await asyncio.to_thread(ensure_open_webui)
    settings = ServerSettings(tmp_path / "open-webui", environment=TASKS)
    async with Simulator() as simulator, OpenWebUIServer(python, settings) as server:
        account = await sign_up(server.url, "Ada", "ada@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as ada, ChatPage(ada) as page:
            source = BUNDLE.read_text(encoding="utf-8")
            await install_pipe(ada, simulator_upstream(simulator), source)
            moon = "data:image/png;base64," + base64.b64encode(draw_png("moon", 256)).decode()
            drawing = Answer((Message(("Here ", "is ", "the ", "moon.")), GeneratedImage(moon)))
            simulator.script(answer_reply(drawing), model="google/gemini-2.5-flash-image")
            turn = await page.ask(MODEL, "Draw the moon")
            ben = await ada.create_user("Ben", "ben@example.com", "battery staple")
            share_id = (await ada.post(f"/api/v1/chats/{turn.chat_id}/share"))["share_id"]
            grant = {"principal_type": "user", "principal_id": ben.id, "permission": "read"}
            access = f"/api/v1/chats/shared/{turn.chat_id}/access/update"
            await ada.post(access, {"access_grants": [grant]})
        async with BrowserPage() as browser:
            await browser.open(f"{server.url}/auth")
            await browser.evaluate(
                f"localStorage.token = {json.dumps(ben.token)};"
                f"document.cookie = 'token=' + {json.dumps(ben.token)}"
            )
            await browser.open(f"{server.url}/s/{share_id}")
            await browser.wait_for("document.body.innerText.includes('Here is the moon.')")
            await browser.wait_for(SEEN)
            await browser.screenshot(tmp_path / "shared.png")
