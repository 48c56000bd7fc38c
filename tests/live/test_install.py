"""The bundle goes in over the API: its models, its valves, its key, who may use it."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from pipe_lab.host.client import APIError, OpenWebUIClient
from pipe_lab.host.pipe_setup import FUNCTION_ID, SIMULATOR_KEY
from pipe_lab.simulator import text_reply
from pipe_lab.simulator.studio import IMAGES_ONLY
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"


def shown_name(row: dict[str, Any]) -> str:
    """An alias says what it stands for."""
    target = row.get("alias_target")
    return f"{row['name']} → {target['name']}" if target else row["name"]


async def test_open_webui_stores_the_bundle_unchanged_as_an_enabled_pipe(stage: Stage) -> None:
    stored = await stage.admin.function(FUNCTION_ID)

    assert stored is not None
    assert (stored["type"], stored["is_active"]) == ("pipe", True)
    assert stored["content"] == stage.source
    assert stored["meta"]["manifest"]["title"] == "OpenRouter"


async def test_the_picker_lists_every_model_that_writes_or_draws(stage: Stage) -> None:
    listed = {model["id"]: model["name"] for model in await stage.admin.models()}

    rows = [
        row
        for row in stage.simulator.catalog
        if {"text", "image", "video"} & {*row["architecture"]["output_modalities"]}
        and not row["id"].endswith(":batch")
    ]
    rows.append(IMAGES_ONLY)
    expected = {f"openrouter.{row['id'].replace('/', '.', 1)}": shown_name(row) for row in rows}
    offered = {name: title for name, title in listed.items() if name.startswith("openrouter.")}
    assert offered == expected
    assert len(offered) >= 350


async def test_the_model_list_valve_narrows_the_picker(stage: Stage) -> None:
    await stage.set_valves(MODEL_ID="openai/gpt-4o")

    listed = [model["id"] for model in await stage.admin.models()]

    assert [name for name in listed if name.startswith("openrouter.")] == [MODEL]


async def test_the_api_key_is_encrypted_on_disk_and_masked_in_the_form(stage: Stage) -> None:
    spec = await stage.admin.valves_spec(FUNCTION_ID)
    with sqlite3.connect(stage.server.settings.data_folder / "webui.db") as database:
        query = "SELECT valves FROM function WHERE id = ?"
        (stored,) = database.execute(query, (FUNCTION_ID,)).fetchone()
    database.close()

    assert spec["properties"]["API_KEY"]["input"] == {"type": "password"}
    assert "API_KEY" in stored
    assert SIMULATOR_KEY not in stored


async def test_a_granted_model_answers_an_ordinary_user(stage: Stage) -> None:
    account = await stage.admin.create_user("Bob", "bob@example.com", "correct horse")
    question = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    stage.simulator.script(text_reply("Hello Bob"))

    async with OpenWebUIClient(stage.server.url, account) as bob:
        with pytest.raises(APIError):
            await bob.complete(question)
        await stage.admin.grant_model(MODEL)
        answer = await bob.complete(question)

    assert answer["choices"][0]["message"]["content"] == "Hello Bob"
