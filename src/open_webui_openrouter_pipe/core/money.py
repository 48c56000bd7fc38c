"""Amounts of money: in words, and exact."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite

PICODOLLARS = 10**12
"""So many make one USD."""


def dollars(amount: float) -> str:
    """The amount in USD, with as many digits as tell something: `$0.0012`."""
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.001 else 6
    return f"${amount:.{digits}f}"


def picodollars(amount: float) -> int:
    """The amount in 10^-12 USD, of the decimal number as it was written: these add up exactly."""
    if not isfinite(amount):
        return 0
    return int((Decimal(repr(amount)) * PICODOLLARS).to_integral_value())
