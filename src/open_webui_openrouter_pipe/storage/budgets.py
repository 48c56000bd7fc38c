"""Budgets: what a person, a group or everybody may spend in a day or a month."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from ..core.context import RequestContext
from ..core.errors import BudgetSpentError
from ..core.logging_system import LOG
from ..core.money import PICODOLLARS, dollars
from ..core.spend_valves import BudgetLimits
from ..host.groups import read_groups
from .spend_ledger import DAY_SECONDS, SpenderCircle, SpendLedger, SpendTally, day_and_month


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How far a budget of one day or month is spent, in USD."""

    owner: str
    period: str
    limit: float
    spent: float
    ends_at: int
    """Seconds since 1970."""
    valve: str

    def __str__(self) -> str:
        return f"{self.owner} {self.period}: {dollars(self.spent)} of {dollars(self.limit)}"


async def budget_warnings(context: RequestContext, ledger: SpendLedger) -> list[str]:
    """What to tell of budgets that are nearly spent; raises `BudgetSpentError` where one is."""
    warnings: list[str] = []
    async for state in budget_states(context, ledger):
        if state.spent >= state.limit:
            raise _refusal(state)
        if state.spent >= state.limit * context.settings.spend.warning_share:
            warnings.append(f"⚠ {state}")
    return warnings


async def budget_states(
    context: RequestContext, ledger: SpendLedger
) -> AsyncGenerator[BudgetState]:
    """Every budget that the person who asks draws on, as far as the ledger can tell."""
    rules, user_id = context.settings.spend, context.user_id
    everybody = ("Everybody's budget", None, rules.total_limits, "BUDGET_TOTAL_{}_USD")
    own = ("Your budget", frozenset({user_id}), rules.user_limits, "BUDGET_USER_{}_USD")
    for owner, circle, limits, valve in (own, *await _group_budgets(context), everybody):
        has_limit = limits != BudgetLimits() and (circle is None or user_id)
        tally = await ledger.spent(circle) if has_limit else None
        if tally is not None:
            for period, limit, spent, ends_at in _periods(limits, tally):
                name = valve.format("DAILY" if period == "today" else "MONTHLY")
                yield BudgetState(owner, period, limit, spent / PICODOLLARS, ends_at, name)


def _periods(limits: BudgetLimits, tally: SpendTally) -> list[tuple[str, float, int, int]]:
    _, next_month = day_and_month(tally.month_begin + 31 * DAY_SECONDS)
    day = "today", limits.daily, tally.day, tally.day_begin + DAY_SECONDS
    month = "this month", limits.monthly, tally.month, next_month
    return [period for period in (day, month) if period[1]]


async def _group_budgets(
    context: RequestContext,
) -> list[tuple[str, SpenderCircle, BudgetLimits, str]]:
    limits = read_group_limits(context.settings.spend.group_budgets)
    try:
        groups = await read_groups(context.user_id, limits) if limits else {}
    except Exception:  # noqa: BLE001 - a database that fails stops no chat
        LOG.exception("budgets: the groups of a user could not be read")
        return []
    return [
        (f"The budget of “{name}”", members, limits[name], "BUDGETS_BY_GROUP_USD")
        for name, members in groups.items()
    ]


@lru_cache(maxsize=8)
def read_group_limits(text: str) -> dict[str, BudgetLimits]:
    """Read lines of `group: daily / monthly`; the cache makes the warning come once."""
    found: dict[str, BudgetLimits] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, amounts = line.rpartition(":")
        try:
            daily, monthly = (max(float(part), 0.0) for part in f"{amounts}/0".split("/")[:2])
            found[name.strip()] = BudgetLimits(daily, monthly)
        except ValueError:
            LOG.warning("settings: BUDGETS_BY_GROUP_USD: this line cannot be read: %s", line)
    return found


def _refusal(state: BudgetState) -> BudgetSpentError:
    ends = datetime.fromtimestamp(state.ends_at, UTC)
    hours, minutes = divmod(max(int(state.ends_at - time.time()) // 60, 1), 60)
    return BudgetSpentError(
        f"{state.owner} is spent: {dollars(state.spent)} of {dollars(state.limit)} {state.period}.",
        f"It starts anew at {ends:%Y-%m-%d %H:%M} UTC, in {hours} h {minutes} min. "
        f"The admin can raise `{state.valve}` in the settings of the OpenRouter function.",
    )
