"""The catalog on disk: restarts list it at once, and workers share one fetch."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from open_webui_openrouter_pipe.api.catalog import CatalogCopy
from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ConnectionFailedError, ModelUnavailableError
from open_webui_openrouter_pipe.host import single_worker
from open_webui_openrouter_pipe.models import catalog_shelf
from open_webui_openrouter_pipe.models.catalog_shelf import CatalogShelf
from open_webui_openrouter_pipe.models.registry import OpenRouterModelRegistry
from tests.services import RedisServer

HOUR = A_LONG_WAIT = 3_600.0
PLAIN = take_snapshot(SystemValves.model_validate({"API_KEY": "sk-test"}))
PRIVATE = take_snapshot(SystemValves.model_validate({"API_KEY": "sk-test", "ZDR_ENFORCE": True}))


@dataclass
class Upstream:
    """OpenRouter, as a registry sees it; it can be out of reach."""

    ids: list[str] = field(default_factory=lambda: ["a/one"])
    etag: str = ""
    is_down: bool = False
    asked: int = 0
    now: float = 0.0
    open: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self, settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
        self.asked += 1
        await self.open.wait()
        if self.is_down:
            raise ConnectionFailedError("No connection.")
        if kept and kept.etag and kept.etag == self.etag:
            return kept
        return CatalogCopy([{"id": model_id} for model_id in self.ids], self.etag)

    async def fetch_zdr_ids(self, settings: Settings) -> frozenset[str]:
        return frozenset(self.ids)


Start = Callable[..., OpenRouterModelRegistry]


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    monkeypatch.setattr(catalog_shelf, "_TURN_LOOK_SECONDS", 0.01)
    upstream = Upstream()
    upstream.open.set()
    return upstream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "openrouter" / "one-catalog.json"


@pytest.fixture
async def start(upstream: Upstream, path: Path) -> AsyncGenerator[Start]:
    """Start one more worker, or the same one anew."""
    running: list[OpenRouterModelRegistry] = []

    def build(at: Path = path, account: str = "mine") -> OpenRouterModelRegistry:
        shelf = CatalogShelf(at, account)
        registry = OpenRouterModelRegistry(
            upstream.fetch, lambda: upstream.now, upstream.fetch_zdr_ids, shelf
        )
        running.append(registry)
        return registry

    yield build
    for registry in running:
        await registry.close()


async def ids(registry: OpenRouterModelRegistry, settings: Settings = PLAIN) -> list[str]:
    async with asyncio.timeout(5):
        return [family.id for family in await registry.families(settings)]


async def settle() -> None:
    behind = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    async with asyncio.timeout(5):
        await asyncio.gather(*behind)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(data)


def content(path: Path) -> bytes:
    return path.read_bytes()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if entry.levelno >= logging.WARNING]


async def test_a_restart_without_network_still_lists_the_models(
    start: Start, upstream: Upstream, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert await ids(start()) == ["a/one"]
    await settle()
    age(path, 30 * HOUR)
    upstream.is_down = True
    restarted = start()
    assert await ids(restarted) == ["a/one"]
    await settle()
    assert await ids(restarted) == ["a/one"]
    assert len(warnings_in(caplog)) == 1


async def test_a_restart_soon_after_asks_for_nothing(start: Start, upstream: Upstream) -> None:
    await ids(start())
    await settle()
    upstream.open.clear()
    assert await ids(start()) == ["a/one"]
    await settle()
    assert upstream.asked == 1


async def test_an_old_catalog_is_listed_at_once_and_renewed_behind(
    start: Start, upstream: Upstream, path: Path
) -> None:
    await ids(start())
    await settle()
    age(path, HOUR)
    upstream.ids = ["a/two"]
    upstream.open.clear()
    restarted = start()
    assert await ids(restarted) == ["a/one"]
    upstream.open.set()
    await settle()
    assert await ids(restarted) == ["a/two"]


async def test_several_workers_fetch_once(start: Start, upstream: Upstream, path: Path) -> None:
    upstream.open.clear()
    listings = [asyncio.create_task(ids(start())) for _ in range(4)]
    while not upstream.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    upstream.open.set()
    assert await asyncio.gather(*listings) == [["a/one"]] * 4
    await settle()
    assert upstream.asked == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_the_turn_of_a_worker_that_died_is_not_waited_for(start: Start, path: Path) -> None:
    turn = path.with_suffix(".turn")
    put(turn, b"")
    age(turn, 600)
    assert await ids(start()) == ["a/one"]


async def test_a_worker_that_is_stopped_gives_its_turn_away(
    start: Start, upstream: Upstream
) -> None:
    upstream.open.clear()
    first = start()
    await first.families(PLAIN, patience=0.01)
    while not upstream.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await first.close()
    upstream.open.set()
    assert await ids(start()) == ["a/one"]


@pytest.mark.parametrize("spoilt", [b'{"account": "mine", "rows": [{"id": "a/o', b"", b"[]"])
async def test_half_a_file_is_no_catalog_and_makes_way_for_a_whole_one(
    start: Start, upstream: Upstream, path: Path, spoilt: bytes
) -> None:
    put(path, spoilt)
    assert await ids(start()) == ["a/one"]
    await settle()
    assert await ids(start()) == ["a/one"]
    assert upstream.asked == 1


async def test_the_catalog_of_another_account_is_not_shown(
    start: Start, upstream: Upstream
) -> None:
    await ids(start(account="other"))
    await settle()
    upstream.is_down = True
    assert await ids(start()) == []


async def test_a_folder_that_takes_nothing_is_told_of_once(
    start: Start, upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    registry = start(at=tmp_path / "file" / "catalog.json")
    for _ in range(3):
        assert await ids(registry) == ["a/one"]
        await settle()
        upstream.now += HOUR
    assert upstream.asked == 3
    assert len(warnings_in(caplog)) == 1


async def test_a_full_disk_leaves_the_last_catalog_whole(
    start: Start, path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ids(start())
    await settle()
    before = content(path)
    age(path, HOUR)

    def fill(file: Path, data: Any) -> int:
        with file.open("wb") as half:
            half.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill)
    assert await ids(start()) == ["a/one"]
    await settle()
    assert content(path) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert ["No space left" in text for text in warnings_in(caplog)] == [True]


async def test_a_catalog_that_has_not_changed_is_not_sent_again(
    start: Start, upstream: Upstream, path: Path
) -> None:
    upstream.etag = '"1"'
    await ids(start())
    await settle()
    age(path, HOUR)
    upstream.ids = ["never/sent"]
    await ids(start())
    await settle()
    assert upstream.asked == 2
    upstream.is_down = True
    assert await ids(start()) == ["a/one"]
    await settle()
    assert upstream.asked == 2  # it counts as fresh again


async def test_who_keeps_no_data_is_known_after_a_restart_too(
    start: Start, upstream: Upstream
) -> None:
    await ids(start(), PRIVATE)
    await settle()
    upstream.is_down = True
    restarted = start()
    await ids(restarted, PRIVATE)
    assert restarted.known.has_zdr("a/one")
    assert upstream.asked == 1


async def test_a_kept_catalog_without_the_private_models_is_completed(
    start: Start, upstream: Upstream
) -> None:
    await ids(start())
    await settle()
    restarted = start()
    await ids(restarted, PRIVATE)
    await settle()
    assert restarted.known.has_zdr("a/one")
    assert upstream.asked == 2


async def test_who_must_know_the_private_models_waits_for_them_and_no_longer_than_that(
    start: Start, upstream: Upstream
) -> None:
    registry = start()
    await ids(registry)  # fetched while nobody wanted to know
    upstream.open.clear()
    for patience in (0.01, 0.0):
        with pytest.raises(ModelUnavailableError, match="could not be learnt"):
            await registry.require_zdr_ids(PRIVATE, patience)
    waiting = asyncio.create_task(registry.require_zdr_ids(PRIVATE, A_LONG_WAIT))
    upstream.open.set()
    await asyncio.wait_for(waiting, 5)
    assert registry.known.has_zdr("a/one")


async def test_without_the_private_models_nobody_waits_for_the_next_try(
    start: Start, upstream: Upstream
) -> None:
    registry = start()
    upstream.is_down = True
    for _ in range(2):
        with pytest.raises(ModelUnavailableError, match="No connection"):
            await asyncio.wait_for(registry.require_zdr_ids(PRIVATE, A_LONG_WAIT), 5)
    assert upstream.asked == 1
    upstream.is_down, upstream.now = False, 2.0
    await registry.require_zdr_ids(PRIVATE)
    assert registry.known.has_zdr("a/one")


@pytest.mark.service
async def test_servers_with_a_redis_in_common_fetch_once(
    start: Start, upstream: Upstream, tmp_path: Path, redis_client: Any
) -> None:
    upstream.open.clear()
    folders = [tmp_path / f"server-{number}" / "one-catalog.json" for number in range(4)]
    listings = [asyncio.create_task(ids(start(folder))) for folder in folders]
    while not upstream.asked:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    upstream.open.set()
    assert await asyncio.gather(*listings) == [["a/one"]] * 4
    await settle()
    assert upstream.asked == 1
    (key,) = await redis_client.keys("*")
    assert await redis_client.ttl(key) > 0
    await ids(start(tmp_path / "new server" / "one-catalog.json", "other"))
    assert upstream.asked == 2  # another account has its own


@pytest.mark.service
@pytest.mark.parametrize("nonsense", [None, "{", "[]", '{"account": "mine", "rows": 3}', [b"list"]])
async def test_the_disk_serves_where_redis_has_lost_the_catalog(
    start: Start, upstream: Upstream, redis_client: Any, nonsense: Any
) -> None:
    await ids(start())
    await settle()
    (key,) = await redis_client.keys("*")
    await redis_client.delete(key)
    if isinstance(nonsense, str):
        await redis_client.set(key, nonsense)
    elif nonsense:
        await redis_client.lpush(key, *nonsense)
    assert await ids(start()) == ["a/one"]
    await settle()
    assert upstream.asked == 1


@pytest.mark.service
async def test_a_redis_that_stalls_does_not_hold_up_the_list(
    start: Start, redis_client: Any, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_shelf, "_CATALOG_PATIENCE_SECONDS", 0.1)
    monkeypatch.setattr(single_worker, "_LOCK_PATIENCE_SECONDS", 0.1)
    redis_server.send(signal.SIGSTOP)
    try:
        assert await ids(start()) == ["a/one"]
    finally:
        redis_server.send(signal.SIGCONT)
