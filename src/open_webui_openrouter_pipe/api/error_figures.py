"""The figures that stand in the prose of an error message: tokens, limits, money."""

from __future__ import annotations

import re
from typing import TypedDict

_TOKENS = r"(\d{1,3}(?:,\d{3})+|\d{1,12})"
_DOLLARS = r"\$\s?(\d{1,9}(?:\.\d{1,9})?)"
_CONTEXT_LIMIT = re.compile(rf"maximum context length (?:is|of) {_TOKENS}\b", re.IGNORECASE)
_REQUESTED = re.compile(rf"requested (?:about |up to )?{_TOKENS}\b(?! ?\.\d)", re.IGNORECASE)
_AFFORDABLE = re.compile(rf"can only afford {_TOKENS}\b", re.IGNORECASE)
_COST = re.compile(rf"\b(?:requires?|costs?|needs?)\b[^$.]{{0,60}}{_DOLLARS}", re.IGNORECASE)
_BALANCE = re.compile(rf"\b(?:balance|credits? left)\b[^$.]{{0,60}}{_DOLLARS}", re.IGNORECASE)


class Figures(TypedDict):
    """`None` for each figure that the message does not give."""

    requested_tokens: int | None
    affordable_tokens: int | None
    context_limit: int | None
    required_cost: float | None
    account_balance: float | None


def figures_in(message: str) -> Figures:
    """What the message says in numbers."""
    return {
        "requested_tokens": _token_count(_REQUESTED, message),
        "affordable_tokens": _token_count(_AFFORDABLE, message),
        "context_limit": _token_count(_CONTEXT_LIMIT, message),
        "required_cost": _amount(_COST, message),
        "account_balance": _amount(_BALANCE, message),
    }


def _token_count(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return int(found[1].replace(",", "")) if found else None


def _amount(pattern: re.Pattern[str], message: str) -> float | None:
    found = pattern.search(message)
    return float(found[1]) if found else None
