"""The status line of an answer: few words, all of them true."""

from __future__ import annotations

from ..api.events import Usage
from .renderer import HostEvent


def status_event(description: str, *, done: bool) -> HostEvent:
    """A status line of the message; `done` ends its animation."""
    return {"event": {"type": "status", "data": {"description": description, "done": done}}}


def describe_usage(usage: Usage | None, seconds: float) -> str:
    """Time, tokens, speed and cost: `4.2 s · 1,204 tokens in (900 cached), 350 out · $0.0012`."""
    parts = [f"{seconds:.1f} s"]
    if usage is not None:
        parts += [_tokens(usage), _speed(usage, seconds), _cost(usage)]
    return " · ".join(filter(None, parts))


def charged(usage: Usage) -> float | None:
    """USD spent: with a key of one's own at the provider, OpenRouter's `cost` is only its fee."""
    if usage.cost is None:
        return None
    upstream = usage.cost_details.get("upstream_inference_cost", 0.0) if usage.is_byok else 0.0
    return usage.cost + upstream


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is None or usage.output_tokens is None:
        return ""
    taken = f"{usage.input_tokens:,} tokens in{_of_it(usage.cached_tokens, 'cached')}"
    return f"{taken}, {usage.output_tokens:,} out{_of_it(usage.reasoning_tokens, 'reasoning')}"


def _of_it(count: int | None, name: str) -> str:
    return f" ({count:,} {name})" if count else ""


def _speed(usage: Usage, seconds: float) -> str:
    if not usage.output_tokens or seconds < 0.1:
        return ""
    return f"{usage.output_tokens / seconds:.0f} tokens/s"


def _cost(usage: Usage) -> str:
    cost = charged(usage)
    if cost is None:
        return "cost unknown"
    digits = 2 if cost == 0 or cost >= 1 else 4 if cost >= 0.001 else 6
    return f"${cost:.{digits}f}"
