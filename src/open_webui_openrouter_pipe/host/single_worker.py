"""One worker at a time, where Open WebUI runs several: they have its Redis in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from secrets import token_hex
from typing import Any

from redis.exceptions import RedisError

from ..core.logging_system import LOG
from .redis import find_redis

# A job that took too long has lost its lock, and another worker may hold it.
_DELETE_OWN = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end"


@asynccontextmanager
async def only_worker(job: str, seconds: int) -> AsyncGenerator[bool]:
    """Whether this worker may do the job now; `seconds` bound how long a dead one blocks it.

    Without a Redis, or with one that does not answer, every worker may.
    """
    client, key = _shared_redis(job)
    token = token_hex(16)
    if client is None:
        yield True
        return
    try:
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
                await client.eval(_DELETE_OWN, 1, key, token)


def _shared_redis(job: str) -> tuple[Any, str]:
    try:
        from open_webui.env import REDIS_KEY_PREFIX  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None, ""
    return find_redis(), f"{REDIS_KEY_PREFIX}:or_pipe:job:{job}"
