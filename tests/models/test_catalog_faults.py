"""Whatever comes in the catalog's place: the models stay, one warning, and it heals by itself."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

import pytest

from open_webui_openrouter_pipe.api import catalog
from open_webui_openrouter_pipe.api.catalog import fetch_models
from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import PipeError
from open_webui_openrouter_pipe.models.entries import list_entries
from open_webui_openrouter_pipe.models.registry import OpenRouterModelRegistry
from pipe_lab.simulator import Reply, Simulator, error_reply

GOOD = Reply(body={"data": [{"id": "a/one"}, {"id": "a/two"}]})
HEALED = Reply(body={"data": [{"id": "a/three"}]})
# Every field of a real row, each null.
NULL_ROW = dict.fromkeys(
    (
        *("id", "canonical_slug", "alias_target", "name", "description", "created"),
        *("expiration_date", "context_length", "architecture", "pricing", "top_provider"),
        *("per_request_limits", "supported_parameters", "default_parameters", "reasoning"),
        *("hugging_face_id", "knowledge_cutoff", "supported_voices", "benchmarks", "links"),
    )
)


class Desk:
    """A registry that asks the simulator, with a clock that stands still between the steps."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        simulator.studio.has_models = False
        self.now = 0.0
        self.settings = take_snapshot(
            SystemValves.model_validate({"API_KEY": "sk-test", "BASE_URL": simulator.base_url})
        )
        self.client = open_client()
        self.registry = OpenRouterModelRegistry(
            lambda settings, kept: fetch_models(self.client, settings, kept), lambda: self.now
        )

    async def after(self, reply: Reply) -> list[str]:
        """The ids that are listed once the next refresh has got this reply."""
        self.simulator.script(reply, path="/models")
        self.now += self.settings.catalog.refresh
        await self.registry.families(self.settings)
        behind = {task for task in asyncio.all_tasks() if "_load" in repr(task)}
        if behind:
            await asyncio.wait(behind, timeout=10)
        return [entry["id"] for entry in await list_entries(self.registry, self.settings)]


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Desk]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with Simulator() as simulator:
        desk = Desk(simulator)
        yield desk
        await desk.registry.close()
        await desk.client.aclose()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        pytest.param(error_reply(500, "Oh"), "(500)", id="500"),
        pytest.param(Reply(body={"data": []}, delay=5), "took longer", id="timeout"),
        pytest.param(
            Reply(body="<html>", headers={"Content-Type": "text/html"}), "web page", id="HTML"
        ),
        pytest.param(Reply(body={"data": []}), "empty", id="empty list"),
        pytest.param(Reply(body='{"data": [{"id": "a/on'), "in part", id="half a JSON"),
        pytest.param(Reply(body={"data": None}), "No reason", id="no list"),
        pytest.param(Reply(body={"data": [NULL_ROW, None, 5]}), "empty", id="rows of nothing"),
    ],
)
async def test_the_models_stay_with_one_warning_until_it_heals(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Reply,
    cause: str,
) -> None:
    assert await desk.after(GOOD) == ["a.one", "a.two"]
    monkeypatch.setattr(catalog, "_CATALOG_SECONDS", 0.2)
    for _ in range(3):
        assert await desk.after(fault) == ["a.one", "a.two"]
        assert isinstance(desk.registry.error, PipeError)
    [warning] = [entry for entry in caplog.records if entry.levelno >= logging.WARNING]
    assert cause in warning.getMessage()
    monkeypatch.undo()
    assert await desk.after(HEALED) == ["a.three"]
    assert desk.registry.error is None


@pytest.mark.parametrize("name", [name for name in NULL_ROW if name != "id"])
async def test_a_row_of_which_only_the_id_is_known_is_a_model(desk: Desk, name: str) -> None:
    rows = [{**NULL_ROW, "id": "a/bare"}, {"id": "a/odd", name: [{"odd": "value"}]}]
    assert await desk.after(Reply(body={"data": rows})) == ["a.bare", "a.odd"]


async def test_ten_thousand_rows_are_ten_thousand_models(desk: Desk) -> None:
    sample = next(row for row in desk.simulator.catalog if row["id"] == "openai/gpt-4o")
    rows = [{**sample, "id": f"a/model-{number}"} for number in range(10_000)]
    assert len(await desk.after(Reply(body={"data": rows}))) == 10_000
