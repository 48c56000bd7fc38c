"""What a user sets for themselves changes their own answers, and nobody else's."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from pipe_lab.host.client import OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import FUNCTION_ID, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-5"
QUESTION = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
OWN = {"REASONING_EFFORT": "high"}


async def test_the_form_offers_each_user_their_own_settings(stage: Stage) -> None:
    spec = await stage.admin.get(f"/api/v1/functions/id/{FUNCTION_ID}/valves/user/spec")

    assert spec["properties"]["REASONING_EFFORT"]["default"] == "inherit"


async def test_a_users_own_effort_is_used_for_that_user_alone(stage: Stage) -> None:
    account = await stage.admin.create_user("Carol", "carol@example.com", "correct horse")
    await stage.admin.grant_model(MODEL)

    async with OpenWebUIClient(stage.server.url, account) as carol:
        await carol.set_user_valves(FUNCTION_ID, OWN)
        await carol.complete(QUESTION)
    await stage.admin.complete(QUESTION)

    assert efforts(stage) == ["high", None]


def efforts(stage: Stage) -> list[str | None]:
    """How hard the model was to think, request by request."""
    return [(request.body.get("reasoning") or {}).get("effort") for request in stage.completions()]


async def test_settings_that_the_server_encrypts_are_used_all_the_same(
    stage: Stage, tmp_path: Path
) -> None:
    python = await asyncio.to_thread(ensure_open_webui)
    settings = ServerSettings(tmp_path, environment={"ENABLE_VALVE_ENCRYPTION": "true"})
    async with OpenWebUIServer(python, settings) as server:
        account = await sign_up(server.url, "Dora", "dora@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as dora:
            await install_pipe(dora, simulator_upstream(stage.simulator), stage.source)
            await dora.models()
            await dora.set_user_valves(FUNCTION_ID, OWN)
            await dora.complete(QUESTION)

    assert efforts(stage) == ["high"]
    with sqlite3.connect(tmp_path / "webui.db") as database:
        (saved,) = database.execute("SELECT settings FROM user").fetchone()
    database.close()
    assert FUNCTION_ID in saved
    assert "REASONING_EFFORT" not in saved
