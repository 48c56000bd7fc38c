"""The services of the process: shared, replaced on reload, closed when idle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.secrets import EncryptedStr
from open_webui_openrouter_pipe.runtime import Runtime, process_state

SETTINGS = take_snapshot(
    SystemValves.model_validate({"API_KEY": "sk-test", "BASE_URL": "http://x"})
)


def with_models(model_ids: str) -> Settings:
    catalog = replace(SETTINGS.catalog, model_ids=(model_ids,))
    return replace(SETTINGS, catalog=catalog)


async def finish_closing() -> None:
    """Wait until all that was put away is closed."""
    async with asyncio.timeout(5):
        await asyncio.gather(*process_state().closing)


@pytest.fixture(autouse=True)
async def clean_process() -> AsyncGenerator[None]:
    """No runtime of another test is current, and none of this one stays."""
    current = process_state().current
    current.clear()
    yield
    for runtime in current.values():
        runtime.retire()
    current.clear()
    await finish_closing()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_newer_copy_closes_an_idle_older_one() -> None:
    older, newer = Runtime(), Runtime()
    with older.lease("one", SETTINGS):
        client = older.client()
    with newer.lease("one", SETTINGS):
        await finish_closing()
        assert client.is_closed
        assert not newer.client().is_closed


async def test_an_older_copy_finishes_its_answers_before_it_closes() -> None:
    older, newer = Runtime(), Runtime()
    first, second = older.lease("one", SETTINGS), older.lease("one", SETTINGS)
    with first:
        client = older.client()
        with second, newer.lease("one", SETTINGS):
            pass
        await finish_closing()
        assert not client.is_closed
    await finish_closing()
    assert client.is_closed


async def test_a_copy_that_was_never_used_replaces_nothing() -> None:
    used = Runtime()
    with used.lease("one", SETTINGS):
        client = used.client()
    Runtime()
    with used.lease("one", SETTINGS):
        assert used.client() is client


async def test_an_older_copy_that_is_called_late_answers_and_closes_again() -> None:
    older, newer = Runtime(), Runtime()
    with newer.lease("one", SETTINGS):
        current = newer.client()
    with older.lease("one", SETTINGS):
        late = older.client()
        assert not late.is_closed
    await finish_closing()
    assert late.is_closed
    assert not current.is_closed
    with newer.lease("one", SETTINGS):
        assert newer.client() is current


async def test_two_functions_side_by_side_share_the_slots_and_nothing_else() -> None:
    one, two = Runtime(), Runtime()
    with one.lease("one", SETTINGS), two.lease("two", SETTINGS):
        assert one.gate is two.gate
        assert one.client() is not two.client()
        assert one.registry(SETTINGS) is not two.registry(SETTINGS)
    await finish_closing()
    assert not one.client().is_closed
    assert not two.client().is_closed


async def test_the_catalog_stays_while_the_account_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "secret")
    sealed = [replace(SETTINGS, api_key=EncryptedStr.seal("sk-test")) for _ in range(2)]
    runtime = Runtime()
    with runtime.lease("one", SETTINGS):
        registry = runtime.registry(SETTINGS)
        assert all(runtime.registry(settings) is registry for settings in sealed)
        assert runtime.registry(with_models("a/one")) is registry


@pytest.mark.parametrize("change", [{"api_key": EncryptedStr("sk-2")}, {"base_url": "http://y"}])
async def test_another_account_or_address_has_another_catalog(change: dict[str, str]) -> None:
    runtime = Runtime()
    with runtime.lease("one", SETTINGS):
        registry = runtime.registry(SETTINGS)
        assert runtime.registry(replace(SETTINGS, **change)) is not registry


def test_a_copy_whose_event_loop_is_gone_makes_way_all_the_same() -> None:
    older, newer = Runtime(), Runtime()

    async def use(runtime: Runtime) -> bool:
        with runtime.lease("lost loop", SETTINGS):
            return runtime.client().is_closed

    assert not asyncio.run(use(older))
    assert not asyncio.run(use(newer))
    newer.retire()
