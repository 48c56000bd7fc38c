"""One worker at a time, where Open WebUI runs several: they have its Redis in common."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex

from redis.exceptions import RedisError

from ..core.logging_system import LOG
from .redis import find_redis, redis_key

_LOCK_PATIENCE_SECONDS = 2.0

# A job that took too long has lost its lock, and another worker may hold it.
_DELETE_OWN = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end"


@asynccontextmanager
async def only_worker(job: str, seconds: int) -> AsyncGenerator[bool]:
    """Whether this worker may do the job now; `seconds` bound how long a dead one blocks it.

    Without a Redis, or with one that does not answer, every worker may.
    """
    client, key, token = find_redis(), redis_key("job", job), token_hex(16)
    if client is None:
        yield True
        return
    try:
        async with asyncio.timeout(_LOCK_PATIENCE_SECONDS):
            is_ours = bool(await client.set(key, token, nx=True, ex=seconds))
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
                    await client.eval(_DELETE_OWN, 1, key, token)
