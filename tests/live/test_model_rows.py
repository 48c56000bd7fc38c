"""Open WebUI's settings of each model: who sees it, and what an admin has made of it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from pipe_lab.host.client import APIError, OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui, open_webui_version
from pipe_lab.host.pipe_setup import BUNDLE, FUNCTION_ID, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import Simulator
from tests.live.stage import Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

SLUGS = ("gpt-4o", "gpt-4o-mini", "o3-mini", "o4-mini")
CHOICE = ", ".join(f"openai/{slug}" for slug in SLUGS)
GIVEN, EDITED, DISABLED, DELETED = (f"{FUNCTION_ID}.openai.{slug}" for slug in SLUGS)
LATER = f"{FUNCTION_ID}.openai.gpt-4.1"
# What each of three syncs adds.
FIELDS = {
    "UPDATE_MODEL_TAGS": "tags",
    "UPDATE_MODEL_IMAGES": "profile_image_url",
    "UPDATE_MODEL_CAPABILITIES": "capabilities",
}
OFF = dict.fromkeys(FIELDS, False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A server of its own, which may be stopped and started again."""
    python = await asyncio.to_thread(ensure_open_webui)
    settings = ServerSettings(tmp_path_factory.mktemp("rows"))
    source = BUNDLE.read_text(encoding="utf-8")
    async with Simulator() as simulator, OpenWebUIServer(python, settings) as server:
        account = await sign_up(server.url, "Ada", "ada@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as admin:
            await install_pipe(admin, simulator_upstream(simulator), source)
            yield Stage(server, admin, simulator, source)


async def test_what_admins_have_decided_survives_three_syncs_and_a_restart(shop: Stage) -> None:
    ada = shop.admin
    valves = {**OFF, "MODEL_ID": CHOICE, "UPDATE_MODEL_DESCRIPTIONS": True}
    rows = await synced(shop, valves, lambda rows: len(rows) == len(SLUGS))
    assert rows.keys() == {GIVEN, EDITED, DISABLED, DELETED}
    assert rows[GIVEN]["meta"]["description"]
    ben = await ada.create_user("Ben", "ben@example.com", "battery staple")
    async with OpenWebUIClient(shop.server.url, ben) as user:
        assert await listed(user) == []
        await ada.grant_model(GIVEN)
        meta = {**rows[EDITED]["meta"], "description": "Ours."}
        await ada.post("/api/v1/models/model/update", {**rows[EDITED], "meta": meta})
        await ada.post("/api/v1/models/model/toggle", None, id=DISABLED)
        await ada.reset_model(DELETED)
        for valve, field in FIELDS.items():
            valves[valve] = True
            await synced(shop, valves, lambda rows, field=field: is_filled(rows, field))

        await shop.server.stop()
        await shop.server.start()
        await ada.models()  # a sync by a pipe that has just been loaded, with nothing to write
        valves["MODEL_ID"] = f"{CHOICE}, openai/gpt-4.1"
        rows = await synced(shop, valves, lambda rows: LATER in rows)

        assert rows.keys() == {GIVEN, EDITED, DISABLED, LATER}
        assert rows[EDITED]["meta"]["description"] == "Ours."
        assert rows[DISABLED]["is_active"] is False
        assert DISABLED not in await listed(ada)
        assert await listed(user) == [GIVEN]
        assert await answer(user, GIVEN)
        with pytest.raises(APIError):
            await answer(user, EDITED)
        assert await fallbacks(shop, user, "gpt-4o-mini", "o3-mini", "o4-mini") == []
        assert await fallbacks(shop, ada, "gpt-4o-mini", "o3-mini") == ["openai/gpt-4o-mini"]
        await ada.grant_model(EDITED)
        assert await fallbacks(shop, user, "o3-mini", "gpt-4o-mini") == ["openai/gpt-4o-mini"]
        picture = await user.http.get("/api/v1/models/model/profile/image", params={"id": GIVEN})
        assert picture.headers["location"].startswith("https://openrouter.ai/")
    if open_webui_version() != "0.11.4":  # which keeps no versions
        assert versions(shop.server.settings.data_folder, GIVEN) == 1 + len(FIELDS)


async def synced(
    shop: Stage, valves: dict[str, Any], is_done: Callable[[dict[str, Any]], bool]
) -> dict[str, dict[str, Any]]:
    """Set the valves, let a sync begin, and return all rows when they are as they should be."""
    await shop.set_valves(**valves)

    async def is_unfinished() -> bool:
        await shop.admin.models()  # which lets a sync begin
        return not is_done(await stored(shop.admin))

    assert not await settled(is_unfinished)
    return await stored(shop.admin)


def is_filled(rows: dict[str, Any], field: str) -> bool:
    return all(row["meta"].get(field) for row in rows.values())


async def stored(admin: OpenWebUIClient) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in await admin.get("/api/v1/models/base")}


async def listed(client: OpenWebUIClient) -> list[str]:
    return [model["id"] for model in await client.models()]


async def answer(client: OpenWebUIClient, model: str) -> str:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return (await client.complete(body))["choices"][0]["message"]["content"]


async def fallbacks(shop: Stage, client: OpenWebUIClient, *slugs: str) -> list[str]:
    """Those that OpenRouter may fall back to, of the ones that an API client has named."""
    shop.simulator.reset()
    named = [f"openai/{slug}" for slug in slugs]
    messages = [{"role": "user", "content": "Hello"}]
    await client.complete({"model": GIVEN, "messages": messages, "models": named})
    return shop.completions()[-1].body.get("models", [])


def versions(folder: Path, row_id: str) -> int:
    """How often a row has been written."""
    with closing(sqlite3.connect(folder / "webui.db")) as database:
        query = "SELECT count(*) FROM model_history WHERE model_id = ?"
        return database.execute(query, (row_id,)).fetchone()[0]
