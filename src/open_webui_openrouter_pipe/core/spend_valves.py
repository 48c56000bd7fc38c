"""What is written down of each request's cost, and how much may be spent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from .valve_types import Switch, Text, whole_number

# Budgets of a month are read from the ledger: it never forgets sooner.
_LEAST_RETENTION_DAYS = 31


class SpendValves(BaseModel):
    """The spend ledger and the budgets."""

    SPEND_LEDGER: Switch = Field(
        default=True,
        title="Spend ledger",
        description=(
            "Whether tokens and cost of each request are written down, for `/spend`; "
            "where there are budgets they always are."
        ),
    )
    SPEND_RETENTION_DAYS: Annotated[int, whole_number(0, 3_650, 400)] = Field(
        default=400,
        title="Keep spending (days)",
        description="For how long the ledger keeps it, 31 days at least; 0 means for ever.",
    )
    BUDGETS_USD: Text = Field(
        default="",
        title="Budgets (USD a day / a month)",
        description=(
            "One line for each: `each user: 2 / 20`, `all users: 0 / 500`, or the name of a group, "
            "whose members share it; 0 for no limit. Days and months are those of UTC."
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
class SpendRules:
    """The same, as a request works with it."""

    keeps_ledger: bool
    retention_days: int
    """Zero for ever."""
    budgets: str
    warning_share: float
    redis_ttl: int
    """Seconds; zero where no costs go to Redis."""


def read_spend_rules(valves: SpendValves) -> SpendRules:
    """The rules of one request."""
    days = valves.SPEND_RETENTION_DAYS
    return SpendRules(
        keeps_ledger=valves.SPEND_LEDGER or bool(valves.BUDGETS_USD),
        retention_days=max(days, _LEAST_RETENTION_DAYS) if days else 0,
        budgets=valves.BUDGETS_USD,
        warning_share=valves.BUDGET_WARNING_PERCENT / 100,
        redis_ttl=valves.COSTS_REDIS_TTL_SECONDS if valves.COSTS_REDIS_DUMP else 0,
    )
