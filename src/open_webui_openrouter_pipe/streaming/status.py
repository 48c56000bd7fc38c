"""The status line of an answer: few words, all of them true."""

from __future__ import annotations

from ..api.events import SpendingKnown, Usage
from ..core.money import dollars
from .renderer import HostEvent


def status_event(description: str, *, done: bool) -> HostEvent:
    """A status line of the message; `done` ends its animation."""
    return {"event": {"type": "status", "data": {"description": description, "done": done}}}


def describe_usage(usage: Usage | None, seconds: float) -> str:
    """Time, tokens, speed and cost: `4.2 s - 1,204 tokens in (900 cached), 350 out - $0.0012`."""
    parts = [f"{seconds:.1f} s"]
    if usage is not None:
        parts += [_tokens(usage), _speed(usage, seconds), _cost(usage)]
    return _join_parts(parts)


def describe_spending(spending: SpendingKnown) -> str:
    """What the chat has cost, and what is left: `chat $0.0345 - $3.20 left on the key`."""
    parts: list[str] = []
    if spending.chat_cost is not None:
        bound = "" if spending.is_whole else "at least "
        parts.append(f"chat {bound}{dollars(spending.chat_cost)}")
    if spending.credit_left is not None:
        parts.append(f"\N{WARNING SIGN} ${spending.credit_left:.2f} left on the API key")
    return _join_parts(parts)


def _join_parts(parts: list[str]) -> str:
    return " \N{MIDDLE DOT} ".join(filter(None, parts))


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
    return "cost unknown" if usage.charged is None else dollars(usage.charged)
