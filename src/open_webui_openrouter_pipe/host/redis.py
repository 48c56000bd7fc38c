"""Open WebUI's Redis, where it has one: alone, behind sentinels, or a cluster."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..core.logging_system import LOG

_REDIS_PATIENCE_SECONDS = 0.5
_REDIS_REST_SECONDS = 10.0
"""After a failure nobody waits for it so long."""

RedisAnswer = TypeVar("RedisAnswer")


def find_redis() -> Any:
    """The asyncio client that Open WebUI's own configuration makes; `None` without one.

    It is shared with Open WebUI, which closes it; what it reads is decoded as text.
    """
    try:
        from open_webui.utils.redis import get_redis_client  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return get_redis_client(async_mode=True)


def redis_key(*parts: str) -> str:
    """A key of ours beside Open WebUI's; one part in braces chooses the node of a cluster."""
    try:
        from open_webui.env import REDIS_KEY_PREFIX  # pyright: ignore[reportMissingImports]
    except ImportError:
        REDIS_KEY_PREFIX = "open-webui"
    return ":".join((REDIS_KEY_PREFIX, "or_pipe", *parts))


class SharedRedis:
    """Open WebUI's Redis for those who can do without: nothing raises, and nobody waits for long.

    Each use of it fails, rests and recovers for itself; the first failure is told, then the end of
    the last one.
    """

    def __init__(self) -> None:
        self._rests_until: defaultdict[str, float] = defaultdict(float)
        self._failing: set[str] = set()

    def may_be_asked(self, use: str) -> bool:
        """Whether there is one that does not rest from a failure of this use."""
        return find_redis() is not None and time.monotonic() >= self._rests_until[use]

    async def ask(
        self,
        use: str,
        work: Callable[[Any], Awaitable[RedisAnswer]],
        patience: float = _REDIS_PATIENCE_SECONDS,
    ) -> RedisAnswer | None:
        """What the work with the client gives; `None` where there is no Redis that does it."""
        if not self.may_be_asked(use):
            return None
        try:
            async with asyncio.timeout(patience):
                answer = await work(find_redis())
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a way without Redis
            self._rests_until[use] = time.monotonic() + _REDIS_REST_SECONDS
            if not self._failing:
                LOG.warning("redis: %s fails, the pipe does without: %s", use, _redis_fault(error))
            self._failing.add(use)
            return None
        if use in self._failing:
            self._failing.remove(use)
            if not self._failing:
                LOG.info("redis: it works again")
        return answer

    async def send(self, use: str, fill: Callable[[Any], object]) -> bool:
        """Whether the commands that `fill` puts into a pipeline are carried out."""

        async def work(client: Any) -> bool:
            pipeline = client.pipeline(transaction=False)
            fill(pipeline)
            await pipeline.execute()
            return True

        return bool(await self.ask(use, work))


def _redis_fault(error: Exception) -> str:
    """What went wrong, without the command that redis-py puts before it: that holds payloads."""
    text = str(error).rpartition("caused error: ")[2]
    return f"{type(error).__name__}: {text[:200]}"
