"""What `/spend` answers: what has been spent, as tables with bars, or all of it as CSV."""

from __future__ import annotations

import asyncio
import csv
import io
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from ..core.context import RequestContext
from ..core.errors import LedgerError
from ..core.json_values import objects_in, text_of
from ..core.money import PICODOLLARS, dollars
from ..host.files import store_file
from ..host.users import is_admin, read_user_names
from .budgets import budget_states
from .spend_ledger import DAY_SECONDS, SpendLedger
from .spend_table import SPEND

SpendSums = tuple[int, ...]
"""Requests, tokens in, tokens out, cost in 10^-12 USD, requests of unknown cost."""

_COMMAND = re.compile(r"\s*/spend(?:\s+(?P<what>[1-9]\d{0,2}|csv))?\s*", re.IGNORECASE)
_MOST_LINES = 31
_MOST_CSV_ROWS = 200_000


def read_spend_command(body: Mapping[str, Any]) -> str | None:
    """What `/spend` is asked for: a number of days, `csv`, or empty; `None` where nobody asks."""
    newest = next(reversed(objects_in(body.get("messages"))), {})
    content = newest.get("content") if newest.get("role") == "user" else None
    parts = "".join(text_of(part.get("text")) for part in objects_in(content))
    found = _COMMAND.fullmatch(content if isinstance(content, str) else parts)
    return (found["what"] or "").lower() if found else None


async def report_spending(context: RequestContext, ledger: SpendLedger, what: str) -> str:
    """The answer in Markdown: of the person's own spending, or of everybody's for an admin."""
    if not context.settings.spend.keeps_ledger:
        raise LedgerError("The spend ledger is off.", "The admin can switch on `SPEND_LEDGER`.")
    try:
        if what == "csv":
            return await _csv_link(context, ledger)
        return await _tables(context, ledger, int(what or 30))
    except (SQLAlchemyError, LookupError, OSError) as error:
        raise LedgerError("The spend ledger cannot be read.", "Try again in a moment.") from error


async def _tables(context: RequestContext, ledger: SpendLedger, days: int) -> str:
    sees_all = is_admin(context.host)
    rows = await ledger.read(_sums_query(None if sees_all else context.user_id, days))
    whose = "All users" if sees_all else "You"
    if not rows:
        return f"{whose} spent nothing in the last {days} days."
    [(_, total)] = _summed(rows, lambda row: "")
    lines = [f"**{whose} spent {_cost_words(total)} in the last {days} days.**", ""]
    budgets = budget_states(context, ledger, own_part=not sees_all)
    lines += [f"- {state}" async for state in budgets]
    by_day = _summed(rows, lambda row: _utc("%Y-%m-%d", int(row.day) * DAY_SECONDS))
    lines += _table("Day (UTC)", sorted(by_day, reverse=True))
    lines += _table("Model", _summed(rows, lambda row: row.model))
    if sees_all:
        names = await read_user_names(list({row.user_id for row in rows}))
        lines += _table("User", _summed(rows, lambda row: names.get(row.user_id) or row.user_id))
    return "\n".join(lines)


def _sums_query(user_id: str | None, days: int) -> Any:
    """Sums by day, model and user; of one user, or of all."""
    since = (int(time.time()) // DAY_SECONDS - days + 1) * DAY_SECONDS
    columns, day = SPEND.c, (SPEND.c.created_at // DAY_SECONDS).label("day")
    groups = day, columns.model, columns.user_id
    figures = map(func.sum, (columns.input_tokens, columns.output_tokens, columns.picodollars))
    unknown = func.count() - func.count(columns.picodollars)
    query = select(*groups, func.count(), *figures, unknown).group_by(*groups)
    query = query.where(columns.created_at >= since, columns.outcome != "refused")
    return query if user_id is None else query.where(columns.user_id == user_id)


def _summed(rows: Iterable[Any], name_of: Callable[[Any], str]) -> list[tuple[str, SpendSums]]:
    """The rows' sums by name, the costly ones first."""
    sums: dict[str, SpendSums] = {}
    for row in rows:
        so_far = sums.get(name := name_of(row), (0, 0, 0, 0, 0))
        sums[name] = tuple(old + int(new or 0) for old, new in zip(so_far, row[3:], strict=True))
    return sorted(sums.items(), key=lambda named: named[1][3], reverse=True)


def _utc(form: str, seconds: int) -> str:
    return time.strftime(form, time.gmtime(seconds))


def _table(title: str, named: Sequence[tuple[str, SpendSums]]) -> list[str]:
    """A table in Markdown, with a bar for each cost."""
    most = max(max(sums[3] for _, sums in named), 1)
    lines = ["", f"| {title} | Requests | Tokens in | Tokens out | Cost | |"]
    lines.append("|:--|--:|--:|--:|--:|:--|")
    for name, sums in named[:_MOST_LINES]:
        bar = "\N{FULL BLOCK}" * max(round(20 * sums[3] / most), sums[3] > 0)
        cells = re.sub(r"[|\s<>`\[\]\\]+", " ", name), *(f"{count:,}" for count in sums[:3])
        lines.append(f"| {' | '.join(cells)} | {_cost_words(sums)} | {bar} |")
    return lines


def _cost_words(sums: SpendSums) -> str:
    return ("at least " if sums[4] else "") + dollars(sums[3] / PICODOLLARS)


async def _csv_link(context: RequestContext, ledger: SpendLedger) -> str:
    """A file with every row, for admins: it tells what everybody has spent."""
    if not is_admin(context.host):
        raise LedgerError("Only admins can have all that was spent as a file.", "Try `/spend`.")
    newest = select(SPEND).order_by(SPEND.c.created_at.desc()).limit(_MOST_CSV_ROWS)
    rows = await ledger.read(newest)
    content = await asyncio.to_thread(_csv_of, rows)
    name = _utc("openrouter-spend-%Y-%m-%d.csv", int(time.time()))
    file = await store_file(context, content, name, "text/csv")
    return f"[{file.name}]({file.url}): {len(rows):,} requests, the newest first."


def _csv_of(rows: Sequence[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*SPEND.columns.keys()[:-1], "cost_usd"])
    for key, since, *cells, cost in rows:
        moment = _utc("%Y-%m-%dT%H:%M:%SZ", since)
        exact = "" if cost is None else f"{Decimal(cost).scaleb(-12):f}"
        # What a spreadsheet would take for a formula is marked as text.
        safe = (f"'{cell}" if str(cell)[:1] in tuple("=+-@") else cell for cell in cells)
        writer.writerow([key, moment, *safe, exact])
    return text.getvalue().encode()
