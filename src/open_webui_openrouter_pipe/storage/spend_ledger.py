"""The spend ledger: what each request to OpenRouter took, written down after the words."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ..api.events import Usage
from ..core.context import RequestContext
from ..core.logging_system import LOG
from ..host.database import OwnTable
from .cost_snapshots import CostSnapshots
from .spend_table import SPEND, WHAT_IT_TOOK, RequestEnd, SpendRow, figures_of, spend_row

SpenderCircle = frozenset[str] | None
"""The ids of those who share a budget; `None` for everybody."""

FindUsage = Callable[[str], Awaitable[Usage]]
"""Asks OpenRouter what a generation took; raises a `PipeError` where it does not know."""

DAY_SECONDS = 86_400
_GATHER_SECONDS = 0.5
_LAST_WAITS = (0.0, 1.0, 3.0, 9.0)
"""Seconds before each try of a ledger that closes."""
_USAGE_WAITS = (4.0, 20.0)
"""Seconds before each look for what was stopped: it is billed a moment later."""
_LEDGER_BATCH = 500
_MOST_PENDING_ROWS = 10_000
_MOST_TALLIES = 500
_TALLY_SECONDS = 3.0
"""How old sums may be, and how long one waits for them."""


@dataclass(slots=True)
class SpendTally:
    """What a circle has spent in 10^-12 USD: read from the table, and counted on since."""

    circle: SpenderCircle
    read_at: float
    day_begin: int
    month_begin: int
    day: int = 0
    month: int = 0

    def add(self, row: SpendRow) -> None:
        """Count one more request, where it is theirs."""
        if self.circle is None or row["user_id"] in self.circle:
            spent, since = row["picodollars"] or 0, row["created_at"]
            self.day += spent if since >= self.day_begin else 0
            self.month += spent if since >= self.month_begin else 0


class SpendLedger:
    """Takes rows at once and writes them in batches; one task, which ends with its work.

    A database that fails costs no answer anything: rows wait for it, up to a bound.
    """

    def __init__(self) -> None:
        self._table = OwnTable(SPEND)
        self._pending: deque[SpendRow] = deque()
        """Those that are not in the table."""
        self._lost = 0
        self._failures = 0
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_writing = False
        self._tallies: dict[SpenderCircle, SpendTally] = {}
        self._costs = CostSnapshots()
        self._retention_days = 0
        self._clean_at = 0.0

    def note(
        self, context: RequestContext, end: RequestEnd, find_usage: FindUsage | None = None
    ) -> None:
        """Take down a request that is over; nobody waits for the database.

        Where OpenRouter may know later what is not known here, `find_usage` asks it.
        """
        rules = context.settings.spend
        if rules.redis_ttl and end.usage is not None:
            self._begin(self._costs.push(context, end.usage))
        if not rules.keeps_ledger or not self._table.has_database:
            return
        self._retention_days = rules.retention_days
        row = spend_row(context, end)
        self._take_down(row)
        if find_usage and end.usage is None and end.generation_id:
            self._begin(self._find_out(row, end.generation_id, find_usage))

    def _take_down(self, row: SpendRow) -> None:
        for tally in self._tallies.values():
            tally.add(row)
        if len(self._pending) < _MOST_PENDING_ROWS:
            self._pending.append(row)
        else:
            self._lost += 1
        if not self._is_writing:
            self._is_writing = True
            self._begin(self._keep_writing())

    async def read(self, query: Any) -> list[Any]:
        """The rows of a query, with all that has been noted here; raises what the database does."""
        async with self._lock:
            await self._write()
        # A long query holds up nobody.
        async with self._table.begin() as connection:
            return list((await connection.execute(query)).all())

    async def spent(self, circle: SpenderCircle) -> SpendTally | None:
        """What the circle has spent, or what was last known of it; `None` for nothing known."""
        if not self._failures and not self._known(circle, _TALLY_SECONDS):
            try:
                async with asyncio.timeout(_TALLY_SECONDS), self._lock:
                    if not self._known(circle, _TALLY_SECONDS):
                        await self._write()
                        await self._count(circle)
            except Exception as error:  # noqa: BLE001 - a database that fails stops no chat
                self._report(error)
        return self._known(circle, DAY_SECONDS)

    async def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        while self._tasks:  # what is found out meanwhile is written, too
            await asyncio.wait(self._tasks)

    async def _find_out(self, row: SpendRow, generation_id: str, find_usage: FindUsage) -> None:
        """Complete the row of a request whose end was not heard, if OpenRouter can."""
        for wait in _USAGE_WAITS:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)
                return
            try:
                usage = await find_usage(generation_id)
            except Exception as error:  # noqa: BLE001 - a background job is contained
                LOG.debug("ledger: %s is not known: %s", generation_id, error)
                continue
            self._take_down({**row, **figures_of(usage)})
            return

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _keep_writing(self) -> None:
        try:
            while self._pending and not self._closing.is_set():
                with suppress(TimeoutError):
                    pause = _GATHER_SECONDS * 2 ** min(self._failures, 6)
                    await asyncio.wait_for(self._closing.wait(), pause)
                await self._try_to_write()
        finally:  # or else the server stops, and has cancelled this
            for wait in _LAST_WAITS if self._pending else ():
                await asyncio.sleep(wait)
                await self._try_to_write()
                if not self._pending:
                    break
            if lost := self._lost + len(self._pending):
                LOG.error("ledger: %d requests were not written down", lost)
            self._lost, self._is_writing = 0, False

    async def _try_to_write(self) -> None:
        try:
            async with self._lock:
                await self._write()
            if self._retention_days and time.time() >= self._clean_at:
                self._clean_at = time.time() + DAY_SECONDS / 4
                oldest = int(time.time()) - self._retention_days * DAY_SECONDS
                async with self._table.begin() as connection:
                    await connection.execute(delete(SPEND).where(SPEND.c.created_at < oldest))
        except Exception as error:  # noqa: BLE001 - a background job is contained
            self._report(error)

    def _report(self, error: Exception | None = None) -> None:
        """Say once that the database does not work, and once that it does again."""
        if error is not None and not self._failures:
            why = str(error).partition("\n")[0]
            LOG.warning("ledger: the database does not work, rows wait for it: %s", why)
        elif error is None and self._failures:
            LOG.info("ledger: the database works again")
        self._failures = 0 if error is None else self._failures + 1

    async def _write(self) -> None:
        left = len(self._pending)  # what comes meanwhile is another batch's
        while batch := list(islice(self._pending, min(left, _LEDGER_BATCH))):
            async with self._table.begin() as connection:
                is_postgresql = connection.dialect.name == "postgresql"
                add = postgresql.insert(SPEND) if is_postgresql else sqlite.insert(SPEND)
                # A row comes again when its commit seemed to fail, or its cost has become known.
                figures = {name: add.excluded[name] for name in WHAT_IT_TOOK}
                add = add.on_conflict_do_update(index_elements=["id"], set_=figures)
                await connection.execute(add, batch)
            for _ in batch:
                self._pending.popleft()
            left -= len(batch)
            self._report()

    async def _count(self, circle: SpenderCircle) -> None:
        """Read the sums; the lock is held, so what waits now is what the table does not have."""
        now, cost, since = time.time(), SPEND.c.picodollars, SPEND.c.created_at
        tally = SpendTally(circle, now, *day_and_month(now))
        of_day = case((since >= tally.day_begin, cost), else_=0)
        query = select(func.sum(of_day), func.sum(cost)).where(since >= tally.month_begin)
        if circle is not None:
            query = query.where(SPEND.c.user_id.in_(circle))
        async with self._table.begin() as connection:
            sums = (await connection.execute(query)).one()
        tally.day, tally.month = (int(spent or 0) for spent in sums)
        for row in self._pending:
            tally.add(row)
        if len(self._tallies) >= _MOST_TALLIES:
            self._tallies.clear()
        self._tallies[circle] = tally
        self._report()

    def _known(self, circle: SpenderCircle, seconds: float) -> SpendTally | None:
        """Sums that are so old at most, and of today."""
        tally, now = self._tallies.get(circle), time.time()
        if tally is None or now - tally.read_at >= seconds:
            return None
        return tally if now < tally.day_begin + DAY_SECONDS else None


def day_and_month(now: float) -> tuple[int, int]:
    """When the day and the month of that moment began, in UTC: seconds since 1970."""
    day = int(now) // DAY_SECONDS * DAY_SECONDS
    return day, day - (time.gmtime(day).tm_mday - 1) * DAY_SECONDS
