"""The entries of the model list, and the one that says why there are none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from open_webui_openrouter_pipe.api.catalog import CatalogCopy
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


async def fetch(settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
    return CatalogCopy(ROWS)


async def fail(settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
    raise ConnectionFailedError("No connection to there.", "Try again.")


async def hang(settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
    await asyncio.Event().wait()
    return CatalogCopy([])


async def never_asked(settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
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
        pytest.param(fetch, {"MODEL_ID": "x/*"}, "x/*", id="nothing matches"),
        pytest.param(
            fetch, {"TOOL_CALLING_FILTER": "only"}, "TOOL_CALLING_FILTER", id="all are kept back"
        ),
    ],
)
async def test_without_models_one_entry_says_why(
    monkeypatch: pytest.MonkeyPatch, source: Any, valves: dict[str, str], reason: str
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    [entry] = await list_entries(OpenRouterModelRegistry(source), settings(**valves))
    assert entry["id"] == NOTICE_ID
    assert reason in entry["name"]


async def test_an_id_that_the_catalog_does_not_list_is_offered_and_says_so() -> None:
    entries = await list_entries(OpenRouterModelRegistry(fetch), settings(MODEL_ID="x/y, a.one"))
    assert entries == [
        {"id": "a.one", "name": "A: One"},
        {"id": "x.y", "name": "x/y (not in OpenRouter's catalog)"},
    ]


async def test_what_fits_nothing_is_named_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    registry = OpenRouterModelRegistry(fetch)
    for _ in range(3):
        await list_entries(registry, settings(MODEL_ID="a/one, z*", VARIANT_MODELS="b/q:nitro"))
    assert [text for text in caplog.messages if "fits" in text] == [
        "catalog: no model fits z*, b/q:nitro of the settings"
    ]


@pytest.mark.parametrize("model_ids", ["auto", "a/one"])
async def test_the_reason_is_known_at_once_while_the_first_catalog_is_on_its_way(
    model_ids: str,
) -> None:
    registry = OpenRouterModelRegistry(hang)
    async with asyncio.timeout(FIRST_CATALOG_PATIENCE / 2):
        reason = await explain_absence(registry, settings(MODEL_ID=model_ids))
    await registry.close()
    assert "on its way" in reason.cause
