"""The lock by which one worker does what every worker could do."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from redis.asyncio import Redis

from open_webui_openrouter_pipe.host.single_worker import only_worker
from tests.services import RedisServer

pytestmark = pytest.mark.service


@pytest.fixture
async def redis(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Open WebUI's Redis, where the pipe looks for it."""
    client = Redis.from_url(redis_server.url)
    utils, environment = ModuleType("open_webui.utils.redis"), ModuleType("open_webui.env")
    utils.__dict__["get_redis_client"] = lambda async_mode: client
    environment.__dict__["REDIS_KEY_PREFIX"] = "lab"
    for name in ("open_webui", "open_webui.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for module in (utils, environment):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    yield client
    await client.delete(*await client.keys("lab:*"), "lab")
    await client.aclose()


async def test_only_one_worker_may_and_the_next_one_after_it(redis: Any) -> None:
    for _ in range(2):
        async with only_worker("sweeping", 60) as first, only_worker("sweeping", 60) as second:
            assert (first, second) == (True, False)
    assert await redis.keys("lab:*") == []


async def test_who_took_too_long_leaves_the_next_ones_lock_alone(redis: Any) -> None:
    async with only_worker("sweeping", 60):
        (key,) = await redis.keys("lab:*")
        await redis.set(key, "another's")  # the time is over, and another has begun
    assert await redis.get(key) == b"another's"
