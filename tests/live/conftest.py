"""One Open WebUI with the bundle in it and a simulator behind it, for the whole live suite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.measure import install_probe
from pipe_lab.host.pipe_setup import BUNDLE, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import Simulator
from tests.live.stage import TASK_MODEL, Stage

# Of the tasks that follow an answer, only the title is wanted.
TASKS = {
    "TASK_MODEL_EXTERNAL": f"openrouter.{TASK_MODEL.replace('/', '.')}",
    "ENABLE_FOLLOW_UP_GENERATION": "false",
    "ENABLE_TAGS_GENERATION": "false",
}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    python = await asyncio.to_thread(ensure_open_webui)
    folder: Path = tmp_path_factory.mktemp("open-webui")
    settings = ServerSettings(folder, environment=TASKS)
    async with Simulator() as simulator, OpenWebUIServer(python, settings) as server:
        account = await sign_up(server.url, "Ada", "ada@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as admin:
            source = BUNDLE.read_text(encoding="utf-8")
            await install_pipe(admin, simulator_upstream(simulator), source)
            await install_probe(admin)
            yield Stage(server, admin, simulator, source)


@pytest_asyncio.fixture(loop_scope="session")
async def stage(running_stage: Stage) -> AsyncIterator[Stage]:
    """The stage, swept: nothing scripted, nothing recorded, default valves, models listed."""
    running_stage.simulator.reset()
    await running_stage.set_valves()
    await running_stage.admin.models()
    yield running_stage


@pytest_asyncio.fixture(loop_scope="session")
async def page(stage: Stage) -> AsyncIterator[ChatPage]:
    async with ChatPage(stage.admin) as opened:
        yield opened
