"""The entries of the model list, and the one that says why there are none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ConnectionFailedError
from open_webui_openrouter_pipe.models.entries import NOTICE_ID, explain_absence, list_entries
from open_webui_openrouter_pipe.models.registry import (
    FIRST_CATALOG_PATIENCE,
    OpenRouterModelRegistry,
)

ROWS = [{"id": "a/one", "name": "A: One"}, {"id": "a/one:free"}, {"id": "a/one:batch"}]


def settings(**valves: str) -> Settings:
    return take_snapshot(SystemValves.model_validate({"API_KEY": "sk-test", **valves}))


async def fetch(settings: Settings) -> list[dict[str, Any]]:
    return ROWS


async def fail(settings: Settings) -> list[dict[str, Any]]:
    raise ConnectionFailedError("No connection to there.", "Try again.")


async def hang(settings: Settings) -> list[dict[str, Any]]:
    await asyncio.Event().wait()
    return []


async def never_asked(settings: Settings) -> list[dict[str, Any]]:
    pytest.fail("there is no key to ask with")


async def test_every_model_for_chats_is_an_entry_with_its_name() -> None:
    assert await list_entries(OpenRouterModelRegistry(fetch), settings()) == [
        {"id": "a.one", "name": "A: One"},
        {"id": "a.one:free", "name": "a/one:free"},
    ]


@pytest.mark.parametrize(
    ("source", "valves", "reason"),
    [
        pytest.param(never_asked, {"API_KEY": ""}, "No OpenRouter API key is set", id="no key"),
        pytest.param(fail, {}, "No connection to there.", id="no catalog"),
        pytest.param(fetch, {"MODEL_ID": "x/y"}, "x/y", id="nothing matches"),
    ],
)
async def test_without_models_one_entry_says_why(
    monkeypatch: pytest.MonkeyPatch, source: Any, valves: dict[str, str], reason: str
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    [entry] = await list_entries(OpenRouterModelRegistry(source), settings(**valves))
    assert entry["id"] == NOTICE_ID
    assert reason in entry["name"]


@pytest.mark.parametrize("model_ids", ["auto", "a/one"])
async def test_the_reason_is_known_at_once_while_the_first_catalog_is_on_its_way(
    model_ids: str,
) -> None:
    registry = OpenRouterModelRegistry(hang)
    async with asyncio.timeout(FIRST_CATALOG_PATIENCE / 2):
        reason = await explain_absence(registry, settings(MODEL_ID=model_ids))
    await registry.close()
    assert "on its way" in reason.cause
