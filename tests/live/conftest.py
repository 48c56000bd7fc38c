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
from pipe_lab.tools.mcp_server import MCPProcess
from pipe_lab.tools.openapi_server import OpenAPIServer
from pipe_lab.tools.toolbox import connect_tool_servers, install_python_tools
from tests.live.stage import TASK_MODEL, Stage, Toolbox

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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_toolbox(running_stage: Stage) -> AsyncIterator[Toolbox]:
    """Every kind of tool, and a server that lets people approve and connect their own."""
    admin = running_stage.admin
    await admin.change_settings("/api/v1/chats/config", ENABLE_TOOL_PERMISSIONS=True)
    await admin.change_settings("/api/v1/configs/connections", ENABLE_DIRECT_INTEGRATIONS=True)
    runs_file = running_stage.server.settings.data_folder / "runs.jsonl"
    async with OpenAPIServer() as openapi, MCPProcess() as mcp:
        await install_python_tools(admin, runs_file)
        await connect_tool_servers(admin, openapi=openapi.url, mcp=mcp.url)
        yield Toolbox(runs_file, openapi)


@pytest.fixture
def toolbox(running_toolbox: Toolbox) -> Toolbox:
    """The tools, with no run written down."""
    running_toolbox.runs_file.unlink(missing_ok=True)
    running_toolbox.openapi.calls.clear()
    return running_toolbox
