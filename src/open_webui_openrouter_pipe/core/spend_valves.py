"""What is written down of each request's cost, and how much may be spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from .valve_types import Switch, Text, amount, whole_number

# Budgets of a month are read from the ledger: it never forgets sooner.
_LEAST_RETENTION_DAYS = 31


class SpendValves(BaseModel):
    """The spend ledger and the budgets."""

    SPEND_LEDGER: Switch = Field(
        default=True,
        title="Spend ledger",
        description=(
            "Whether each request's tokens and cost are written down, for `/spend`: ids and "
            "numbers only. Where there is a budget it is kept in any case."
        ),
    )
    SPEND_RETENTION_DAYS: Annotated[int, whole_number(0, 3_650, 400)] = Field(
        default=400,
        title="Keep spending (days)",
        description="For how long the ledger keeps it, 31 days at least; 0 means for ever.",
    )
    BUDGET_USER_DAILY_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Daily budget of each user (USD)",
        description="What one person may spend in a day (UTC); 0 for no limit.",
    )
    BUDGET_USER_MONTHLY_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Monthly budget of each user (USD)",
        description="What one person may spend in a calendar month (UTC); 0 for no limit.",
    )
    BUDGET_TOTAL_DAILY_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Daily budget of all users (USD)",
        description="What everybody together may spend in a day (UTC); 0 for no limit.",
    )
    BUDGET_TOTAL_MONTHLY_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Monthly budget of all users (USD)",
        description="What everybody together may spend in a month (UTC); 0 for no limit.",
    )
    BUDGETS_BY_GROUP_USD: Text = Field(
        default="",
        title="Budgets of groups (USD)",
        description=(
            "One line for each group of Open WebUI, which its members share: "
            "`Students: 5 / 100` for 5 a day and 100 a month; 0 for no limit."
        ),
    )
    BUDGET_WARNING_PERCENT: Annotated[int, whole_number(1, 100, 80)] = Field(
        default=80,
        title="Warn of a budget (percent)",
        description="From which part of a budget on its end is announced with each answer.",
    )
    COSTS_REDIS_DUMP: Switch = Field(
        default=False,
        title="Costs to Redis",
        description=(
            "Whether each request's usage, with the user's name and email address, is put into "
            "Open WebUI's Redis for a program of your own to collect."
        ),
    )
    COSTS_REDIS_TTL_SECONDS: Annotated[int, whole_number(60, 3_600, 900)] = Field(
        default=900,
        title="Costs in Redis (seconds)",
        description="How long such a record waits there to be collected.",
    )


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """USD that may be spent; zero for no limit."""

    daily: float = 0.0
    monthly: float = 0.0


@dataclass(frozen=True, slots=True)
class SpendRules:
    """The valves of this room, as a request works with them."""

    keeps_ledger: bool = True
    retention_days: int = 0
    """Zero for ever."""
    user_limits: BudgetLimits = BudgetLimits()
    total_limits: BudgetLimits = BudgetLimits()
    group_budgets: str = ""
    """Lines of `group: daily / monthly`."""
    warning_share: float = 0.8
    redis_ttl: int = 0
    """Seconds; zero where no costs go to Redis."""


def read_spend_rules(valves: SpendValves) -> SpendRules:
    """The rules of one request."""
    user = BudgetLimits(valves.BUDGET_USER_DAILY_USD, valves.BUDGET_USER_MONTHLY_USD)
    total = BudgetLimits(valves.BUDGET_TOTAL_DAILY_USD, valves.BUDGET_TOTAL_MONTHLY_USD)
    groups = valves.BUDGETS_BY_GROUP_USD
    has_budgets = bool(groups) or user != BudgetLimits() or total != BudgetLimits()
    days = valves.SPEND_RETENTION_DAYS
    return SpendRules(
        keeps_ledger=valves.SPEND_LEDGER or has_budgets,
        retention_days=max(days, _LEAST_RETENTION_DAYS) if days else 0,
        user_limits=user,
        total_limits=total,
        group_budgets=groups,
        warning_share=valves.BUDGET_WARNING_PERCENT / 100,
        redis_ttl=valves.COSTS_REDIS_TTL_SECONDS if valves.COSTS_REDIS_DUMP else 0,
    )
