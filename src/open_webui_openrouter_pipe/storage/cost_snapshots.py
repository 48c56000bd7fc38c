"""Costs for a program of the admin's own, which collects them from Open WebUI's Redis."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque

from ..api.events import Usage
from ..core.context import RequestContext
from ..core.json_codec import encode_json
from ..core.logging_system import LOG
from ..host.redis import find_redis
from ..host.users import contact_of

CostSnapshot = tuple[str, bytes, int]
"""A key, its record, and for how many seconds that waits to be collected."""

_REDIS_PATIENCE_SECONDS = 5.0


def cost_snapshot(context: RequestContext, usage: Usage | None) -> CostSnapshot | None:
    """The record of a request; there is none without a usage and a user with name and address."""
    user_id, (email, name) = context.user_id, contact_of(context.host)
    if usage is None or not (user_id and email and name):
        return None
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
    return key, record, context.settings.spend.redis_ttl


async def push_snapshots(waiting: deque[CostSnapshot]) -> None:
    """Put all that wait into Redis; what it does not take is left out, with one warning."""
    batch = list(waiting)
    waiting.clear()
    redis = find_redis() if batch else None
    if redis is None:
        if batch:
            LOG.warning("costs: COSTS_REDIS_DUMP is on, but Open WebUI has no Redis")
        return
    try:
        async with asyncio.timeout(_REDIS_PATIENCE_SECONDS):
            for key, record, seconds in batch:
                await redis.set(key, record, ex=seconds)
    except Exception as error:  # noqa: BLE001 - whatever Redis does, the ledger goes on
        LOG.warning("costs: Redis did not take %d records: %s", len(batch), error)
