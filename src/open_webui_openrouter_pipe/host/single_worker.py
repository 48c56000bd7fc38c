"""One worker at a time, where Open WebUI runs several: they have its Redis in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from redis.exceptions import RedisError

from ..core.logging_system import LOG
from .redis import find_redis, redis_key

_LOCK_PATIENCE_SECONDS = 2.0


@asynccontextmanager
async def only_worker(job: str, seconds: int) -> AsyncGenerator[bool]:
    """Whether this worker may do the job now; `seconds` bound how long a dead one blocks it.

    Without a Redis, or with one that does not answer, every worker may.
    """
    client, key = find_redis(), redis_key("job", job)
    if client is None:
        yield True
        return
    try:
        async with asyncio.timeout(_LOCK_PATIENCE_SECONDS):
            is_ours = bool(await client.set(key, "1", nx=True, ex=seconds))
    except (RedisError, OSError) as error:
        LOG.debug("redis: %s is not locked: %s", job, error)
        yield True
        return
    try:
        yield is_ours
    finally:
        if is_ours:
            with suppress(RedisError, OSError):
                async with asyncio.timeout(_LOCK_PATIENCE_SECONDS):
                    await client.delete(key)
