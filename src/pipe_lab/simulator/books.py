"""What the simulator has charged: its own books, against which a client's may be held."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from .replies import Reply


def charged_in(reply: Reply) -> Decimal:
    """The cost that a reply tells, to the last digit; nothing where it is cut before its end."""
    if reply.end_after is not None or reply.disconnect_after is not None:
        return Decimal(0)
    objects = [reply.body, *reversed(reply.events or ())]
    usage = next(filter(None, map(_usage_in, objects)), {})
    cost = Decimal(str(usage.get("cost") or 0))
    details = usage.get("cost_details") or {}
    upstream = details.get("upstream_inference_cost") if usage.get("is_byok") else None
    return cost + Decimal(str(upstream or 0))


def _usage_in(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return value.get("usage") or (value.get("response") or {}).get("usage")
