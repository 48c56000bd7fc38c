"""Costs for a program of the admin's own, which collects them from Open WebUI's Redis."""

from __future__ import annotations

import asyncio
import time
import uuid

from ..api.events import Usage
from ..core.context import RequestContext
from ..core.json_codec import encode_json
from ..core.logging_system import LOG
from ..host.redis import find_redis
from ..host.users import contact_of

_SNAPSHOT_SECONDS = 5.0


async def push_cost(context: RequestContext, usage: Usage) -> None:
    """Put a request's usage into Redis, where the sign-in tells the user's name and address."""
    user_id, (email, name) = context.user_id, contact_of(context.host)
    if not (user_id and email and name):
        return
    now = int(time.time())
    figures = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        "cost": usage.cost,
        "is_byok": usage.is_byok,
        "cost_details": usage.cost_details,
    }
    who = {"guid": user_id, "email": email, "name": name}
    record = encode_json({**who, "model": context.model, "usage": figures, "ts": now})
    key = f"costs:{context.function_id}:{user_id}:{uuid.uuid4()}:{now}"
    try:
        async with asyncio.timeout(_SNAPSHOT_SECONDS):
            if (redis := find_redis()) is not None:
                await redis.set(key, record, ex=context.settings.spend.redis_ttl)
    except Exception as error:  # noqa: BLE001 - a background job is contained
        LOG.warning("costs: Redis did not take a record: %s", error)
