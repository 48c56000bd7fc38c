"""Amounts of money in words."""

from __future__ import annotations


def dollars(amount: float) -> str:
    """The amount in USD, with as many digits as tell something: `$0.0012`."""
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.001 else 6
    return f"${amount:.{digits}f}"
