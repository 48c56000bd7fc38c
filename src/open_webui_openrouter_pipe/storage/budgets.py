"""Budgets: what a person, a group or everybody may spend in a day or a month."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from ..core.context import RequestContext
from ..core.errors import BudgetSpentError
from ..core.logging_system import LOG
from ..core.money import PICODOLLARS, dollars
from ..host.users import read_groups
from .spend_ledger import DAY_SECONDS, SpenderCircle, SpendLedger, day_and_month

_OWN, _EVERYBODY = "each user", "all users"
_OWNERS = {_OWN: "Your budget", _EVERYBODY: "Everybody's budget"}


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How far a budget of one day or month is spent, in USD."""

    owner: str
    period: str
    limit: float
    spent: float
    ends_at: int
    """Seconds since 1970."""

    def __str__(self) -> str:
        return f"{self.owner} {self.period}: {dollars(self.spent)} of {dollars(self.limit)}"


async def budget_warnings(context: RequestContext, ledger: SpendLedger) -> list[str]:
    """What to tell of budgets that are nearly spent; raises `BudgetSpentError` where one is."""
    warnings: list[str] = []
    async for state in budget_states(context, ledger):
        if state.spent >= state.limit:
            raise _refusal(state)
        if state.spent >= state.limit * context.settings.spend.warning_share:
            warnings.append(f"\N{WARNING SIGN} {state}")
    return warnings


async def budget_states(
    context: RequestContext, ledger: SpendLedger, *, own_part: bool = False
) -> AsyncGenerator[BudgetState]:
    """Every budget that the person who asks draws on, as far as the ledger can tell.

    With `own_part` what others have spent of a shared one is left out.
    """
    limits = read_budgets(context.settings.spend.budgets)
    for name, circle in (await _circles_of(context, limits)).items():
        if name not in limits:
            continue
        owner, (daily, monthly) = f"The budget of \u201c{name}\u201d", limits[name]
        owner = _OWNERS.get(name, owner)
        if own_part and name != _OWN:
            owner = f"Your part of {owner[0].lower()}{owner[1:]}"
            circle = frozenset({context.user_id})
        tally = await ledger.spent(circle)
        if tally is None:
            continue
        if daily:
            tomorrow = tally.day_begin + DAY_SECONDS
            yield BudgetState(owner, "today", daily, tally.day / PICODOLLARS, tomorrow)
        if monthly:
            _, ends_at = day_and_month(tally.month_begin + 31 * DAY_SECONDS)
            yield BudgetState(owner, "this month", monthly, tally.month / PICODOLLARS, ends_at)


async def _circles_of(
    context: RequestContext, limits: dict[str, tuple[float, float]]
) -> dict[str, SpenderCircle]:
    """Those whose spending may count for the person, by the names of their budgets."""
    circles: dict[str, SpenderCircle] = {_EVERYBODY: None}
    if context.user_id:
        circles[_OWN] = frozenset({context.user_id})
        try:
            if limits.keys() - _OWNERS.keys():
                circles = {**await read_groups(context.user_id), **circles}
        except Exception:  # noqa: BLE001 - a database that fails stops no chat
            LOG.exception("budgets: the groups of a user could not be read")
    return circles


@lru_cache(maxsize=8)
def read_budgets(text: str) -> dict[str, tuple[float, float]]:
    """Read lines of `name: daily / monthly`; the cache makes the warning come once."""
    found: dict[str, tuple[float, float]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, amounts = line.rpartition(":")
        try:
            daily, monthly = (_read_limit(part) for part in f"{amounts}/0".split("/")[:2])
            found[_read_owner(name.strip())] = daily, monthly
        except ValueError:
            LOG.warning("settings: BUDGETS_USD: this line cannot be read: %s", line)
    return found


def _read_owner(name: str) -> str:
    """A name as it counts; raises `ValueError` for none. Groups are written as they are."""
    if not name:
        raise ValueError("nobody's budget")
    return name.lower() if name.lower() in _OWNERS else name


def _read_limit(text: str) -> float:
    """USD; raises `ValueError` for what is no amount: it would refuse everything, or nothing."""
    limit = float(text.strip().removeprefix("$"))
    if not (isfinite(limit) and limit >= 0):
        raise ValueError(text)
    return limit


def _refusal(state: BudgetState) -> BudgetSpentError:
    ends = time.strftime("%Y-%m-%d %H:%M", time.gmtime(state.ends_at))
    hours, minutes = divmod(max(int(state.ends_at - time.time()) // 60, 1), 60)
    return BudgetSpentError(
        f"{state.owner} is spent: {dollars(state.spent)} of {dollars(state.limit)} {state.period}.",
        f"It starts anew at {ends} UTC, in {hours} h {minutes} min. "
        "The admin can raise it in `BUDGETS_USD`, in the settings of the OpenRouter function.",
    )
