"""The catalog in memory: it answers at once, and refreshes itself behind."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

import pytest

from open_webui_openrouter_pipe.api.catalog import CatalogCopy
from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ConnectionFailedError, InternalError
from open_webui_openrouter_pipe.models.registry import OpenRouterModelRegistry

A_LONG_WAIT = 3_600.0
SETTINGS = take_snapshot(
    SystemValves.model_validate({"API_KEY": "sk-test", "MODEL_CATALOG_REFRESH_SECONDS": 100})
)

Answer = list[dict[str, Any]] | Exception


@dataclass
class Upstream:
    """The catalog on the other side: gives its answers one by one, when it is let."""

    answers: list[Answer]
    open: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 0.0
    asked: int = 0
    cancelled: int = 0

    async def fetch(self, settings: Settings, kept: CatalogCopy | None) -> CatalogCopy:
        self.asked += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return CatalogCopy(answer)


def rows(*model_ids: str) -> list[dict[str, Any]]:
    return [{"id": model_id, "name": model_id} for model_id in model_ids]


@pytest.fixture
def upstream() -> Upstream:
    return Upstream([rows("a/one")])


@pytest.fixture
async def registry(upstream: Upstream) -> AsyncGenerator[OpenRouterModelRegistry]:
    registry = OpenRouterModelRegistry(upstream.fetch, clock=lambda: upstream.now)
    yield registry
    await registry.close()


async def ids(registry: OpenRouterModelRegistry, patience: float = A_LONG_WAIT) -> list[str]:
    async with asyncio.timeout(5):  # far below the patience: nothing may wait that long
        return [family.id for family in await registry.families(SETTINGS, patience)]


async def settle() -> None:
    """Let the refresh behind the scenes finish."""
    behind = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    async with asyncio.timeout(5):
        await asyncio.gather(*behind)


async def test_the_first_call_waits_for_the_catalog(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    asyncio.get_running_loop().call_soon(upstream.open.set)
    assert await ids(registry) == ["a/one"]


async def test_only_the_first_call_waits_while_the_other_side_is_silent(
    registry: OpenRouterModelRegistry,
) -> None:
    assert await ids(registry, patience=0.01) == []
    assert await ids(registry, patience=A_LONG_WAIT) == []


async def test_the_first_call_waits_no_longer_than_its_patience(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    assert await ids(registry, patience=0.01) == []
    upstream.open.set()
    await settle()
    assert await ids(registry) == ["a/one"]
    assert upstream.asked == 1


async def test_a_fresh_catalog_is_not_fetched_again(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    upstream.open.set()
    await ids(registry)
    upstream.now = 89.9
    assert await ids(registry) == ["a/one"]
    await settle()
    assert upstream.asked == 1


async def test_an_old_catalog_is_answered_at_once_and_renewed_behind(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    upstream.answers.append(rows("a/two"))
    upstream.open.set()
    await ids(registry)
    upstream.open.clear()
    upstream.now = 100.0
    assert await ids(registry) == ["a/one"]
    upstream.open.set()
    await settle()
    assert await ids(registry) == ["a/two"]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(ConnectionFailedError("No connection."), id="unreachable"),
        pytest.param([], id="empty"),
        pytest.param([{"name": "no id"}, {"id": 5}], id="rows without ids"),
        pytest.param(ValueError("a surprise"), id="unforeseen"),
    ],
)
async def test_after_a_failure_the_last_good_catalog_is_served(
    registry: OpenRouterModelRegistry, upstream: Upstream, answer: Answer
) -> None:
    upstream.answers += [answer, rows("a/three")]
    upstream.open.set()
    await ids(registry)
    upstream.now = 100.0
    await ids(registry)
    await settle()
    assert await ids(registry) == ["a/one"]
    assert registry.error is not None
    upstream.now = 102.0
    await ids(registry)
    await settle()
    assert await ids(registry) == ["a/three"]
    assert registry.error is None


async def test_an_unforeseen_failure_is_reported_as_our_own(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    upstream.answers[:] = [KeyError("oops")]
    upstream.open.set()
    assert await ids(registry) == []
    assert isinstance(registry.error, InternalError)


async def test_a_failing_catalog_is_asked_less_and_less_often(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    upstream.answers[:] = [ConnectionFailedError("down") for _ in range(12)]
    upstream.open.set()
    asked_at: list[float] = []
    while upstream.answers:
        before = upstream.asked
        assert await ids(registry) == []
        await settle()
        if upstream.asked > before:
            asked_at.append(upstream.now)
        upstream.now += 1.0
    waits = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    longest = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert all(0.9 * most <= wait <= most for wait, most in zip(waits, longest, strict=True))


async def test_servers_that_started_together_do_not_ask_together(upstream: Upstream) -> None:
    upstream.answers[:] = [rows("a/one")] * 80
    upstream.open.set()
    fleet = [OpenRouterModelRegistry(upstream.fetch, lambda: upstream.now) for _ in range(40)]
    for upstream.now in (0.0, 95.0):
        for registry in fleet:
            await ids(registry)
        await settle()
    assert 40 < upstream.asked < 80
    for registry in fleet:
        await registry.close()


async def test_a_catalog_in_which_nothing_has_changed_stays_the_same_object(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    upstream.answers.append(rows("a/one"))
    upstream.open.set()
    await ids(registry)
    known, upstream.now = registry.known, 100.0
    await ids(registry)
    await settle()
    assert registry.known is known
    assert upstream.asked == 2


async def test_after_a_success_the_pauses_start_anew(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    down = ConnectionFailedError("down")
    upstream.answers[:] = [down, down, rows("a/one"), down, rows("a/two")]
    upstream.open.set()
    for now in (0.0, 2.0, 6.0, 106.0, 108.0):
        upstream.now = now
        await ids(registry)
        await settle()
        await settle()
    assert await ids(registry) == ["a/two"]


async def test_many_callers_share_one_refresh(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    callers = [asyncio.create_task(ids(registry)) for _ in range(50)]
    await asyncio.sleep(0)
    upstream.open.set()
    assert await asyncio.gather(*callers) == [["a/one"]] * 50
    assert upstream.asked == 1


async def test_a_caller_who_leaves_does_not_stop_the_refresh(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    caller = asyncio.create_task(ids(registry))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait({caller})
    upstream.open.set()
    await settle()
    assert upstream.cancelled == 0
    assert await ids(registry) == ["a/one"]


async def test_closing_stops_the_refresh_and_starts_no_other(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    await ids(registry, patience=0.01)
    await registry.close()
    assert upstream.cancelled == 1
    assert await ids(registry) == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_lets_a_waiting_caller_go(
    registry: OpenRouterModelRegistry, upstream: Upstream
) -> None:
    caller = asyncio.create_task(ids(registry))
    await asyncio.sleep(0)
    await registry.close()
    assert await caller == []
