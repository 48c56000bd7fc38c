"""The page as `make run` offers it, in a headless Chromium."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from pipe_lab.browser import BrowserPage, find_chromium
from pipe_lab.host.client import OpenWebUIClient, sign_in
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import (
    BUNDLE,
    ROOT,
    install_pipe,
    prepare_page,
    simulator_upstream,
)
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import Simulator
from pipe_lab.tools.toolbox import PYTHON_TOOLS, install_python_tools

# Of the tasks that follow an answer only the title is wanted, written by a model that a test can
# script apart from the chat's.
TASK_MODEL = "openai/gpt-4o-mini"
TASKS = {
    "TASK_MODEL_EXTERNAL": f"openrouter.{TASK_MODEL.replace('/', '.')}",
    "ENABLE_FOLLOW_UP_GENERATION": "false",
    "ENABLE_TAGS_GENERATION": "false",
}


TOOL_MODEL = "anthropic/claude-opus-4.5"
TOOL_MODEL_NAME = "Anthropic: Claude Opus 4.5"


@dataclass(frozen=True, slots=True)
class Site:
    """A server anyone may enter, and the simulator behind its pipe."""

    url: str
    simulator: Simulator
    client: OpenWebUIClient


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    find_chromium()
    python = await asyncio.to_thread(ensure_open_webui)
    folder = tmp_path_factory.mktemp("open-webui")
    settings = ServerSettings(folder, auth=False, environment=TASKS)
    async with Simulator() as simulator, OpenWebUIServer(python, settings) as server:
        account = await sign_in(server.url, "", "")
        async with OpenWebUIClient(server.url, account) as client:
            source = BUNDLE.read_text(encoding="utf-8")
            await install_pipe(client, simulator_upstream(simulator), source)
            await install_python_tools(client, folder / "runs.jsonl")
            # Every chat with this model starts with the tools switched on.
            overlay = {"name": TOOL_MODEL_NAME, "meta": {"toolIds": [PYTHON_TOOLS]}}
            await client.set_model(f"openrouter.{TOOL_MODEL.replace('/', '.')}", **overlay)
            await client.change_settings("/api/v1/chats/config", ENABLE_TOOL_PERMISSIONS=True)
            await prepare_page(client)
            yield Site(server.url, simulator, client)


@pytest_asyncio.fixture(loop_scope="session")
async def site(running_site: Site) -> Site:
    running_site.simulator.reset()
    return running_site


@pytest_asyncio.fixture(loop_scope="session")
async def browser(site: Site) -> AsyncIterator[BrowserPage]:
    """A new browser, with an empty profile, on the site's first page."""
    async with BrowserPage() as page:
        await page.open(site.url)
        await page.wait_for("!!document.querySelector('#chat-input')")
        yield page


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: into the documentation only when asked to renew them."""
    return ROOT / "docs" / "images" if os.environ.get("UPDATE_SCREENSHOTS") == "1" else tmp_path
