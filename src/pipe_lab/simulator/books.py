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


def generation_in(reply: Reply, *, cancelled: bool) -> dict[str, Any]:
    """What `GET /generation` tells of a reply some time later (schema `GenerationResponse`).

    Where the client has left, the provider wrote on, and is paid for all of it.
    """
    objects = [reply.body, *(reply.events or ())]
    usage = next(filter(None, map(_usage_in, reversed(objects))), {})
    inputs = usage.get("input_tokens_details") or usage.get("prompt_tokens_details") or {}
    outputs = usage.get("output_tokens_details") or usage.get("completion_tokens_details") or {}
    return {
        "id": next(filter(None, map(_id_in, objects)), ""),
        "cancelled": cancelled,
        "usage": usage.get("cost"),
        "total_cost": usage.get("cost"),
        "is_byok": usage.get("is_byok", False),
        "upstream_inference_cost": (usage.get("cost_details") or {}).get("upstream_inference_cost"),
        "native_tokens_prompt": usage.get("input_tokens", usage.get("prompt_tokens")),
        "native_tokens_completion": usage.get("output_tokens", usage.get("completion_tokens")),
        "native_tokens_cached": inputs.get("cached_tokens"),
        "native_tokens_reasoning": outputs.get("reasoning_tokens"),
    }


def _id_in(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    answer = value.get("response") or (value if "choices" in value or "output" in value else {})
    return str(answer.get("id") or "")


def _usage_in(value: Any) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return value.get("usage") or (value.get("response") or {}).get("usage")
