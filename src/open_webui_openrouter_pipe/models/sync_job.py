"""Keeps Open WebUI's rows of models in step with the catalog, beside the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..core.config import Settings
from ..core.logging_system import LOG
from ..core.process import shared_by_process
from ..host.models import (
    insert_model_row,
    keep_known_rows,
    read_known_rows,
    read_model_rows,
    update_model_row,
)
from ..host.single_worker import only_worker
from .family import ModelFamily, to_host_id
from .metadata_sync import OfferedModel, SyncPlan, mark_vanished, plan_sync
from .visibility import offered_families

# Every row is a transaction of its own, and SQLite has one writer: the chats get the time between.
_PAUSE_SECONDS = 0.03
_RETRY_SECONDS = 60.0
# Longer than the longest first sync (seconds).
_LOCK_SECONDS = 600
_ROWS_PER_REPORT = 100

Families = tuple[ModelFamily, ...]


@dataclass(slots=True)
class SyncTurn:
    """Whether a sync runs in this process. Copies of other ages read it."""

    is_taken: bool = False


class MetadataSync:
    """The syncs of one installed copy: one for each catalog, and for each change of a valve."""

    def __init__(self, function_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._function_id = function_id
        self._clock = clock
        self._done: tuple[Families, Settings] | None = None
        self._due_at = float("-inf")
        self._job: asyncio.Task[None] | None = None

    def look(self, families: Families, settings: Settings) -> None:
        """Begin to sync when the catalog is another one than last time; nobody waits for it."""
        if not families or settings.metadata_sync == "off" or self._is_done(families, settings):
            return
        if self._job is None and self._clock() >= self._due_at:
            self._due_at = self._clock() + _RETRY_SECONDS
            self._job = asyncio.create_task(self._run(families, settings))

    async def finished(self) -> None:
        """Wait for the sync that is under way."""
        if self._job is not None:
            await asyncio.wait({self._job})

    async def close(self) -> None:
        """Stop a sync that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait({self._job})

    def _is_done(self, families: Families, settings: Settings) -> bool:
        return self._done is not None and self._done[0] is families and self._done[1] == settings

    async def _run(self, families: Families, settings: Settings) -> None:
        turn = shared_by_process("metadata_sync", SyncTurn)
        if turn.is_taken:
            self._job = None
            return
        turn.is_taken = True
        try:
            async with only_worker(f"{self._function_id}:rows", _LOCK_SECONDS) as is_ours:
                if is_ours and await self._sync(families, settings):
                    self._done, self._due_at = (families, settings), float("-inf")
        except Exception:  # noqa: BLE001 - a background job must not trouble an answer
            LOG.exception("models: the settings of the models could not be brought up to date")
        finally:
            turn.is_taken = False
            self._job = None

    async def _sync(self, families: Families, settings: Settings) -> bool:
        """Write what has changed; whether nothing is left to do."""
        stored = await read_model_rows(self._function_id)
        if stored is None:
            return True
        known = await read_known_rows(self._function_id)
        offered = [
            OfferedModel(f"{self._function_id}.{to_host_id(family.id)}", family.name, family)
            for family in offered_families(families, settings)
        ]
        plan = plan_sync(offered, stored, known, settings)
        vanished = mark_vanished(stored, (family.id for family in families))
        plan = replace(
            plan,
            updates=plan.updates + vanished,
            gone=tuple(before.id for before, _ in vanished),
        )
        _announce(plan, settings)
        if settings.metadata_sync == "dry_run":
            return True
        inserted: set[str] = set()
        try:
            written = await self._write(plan, settings, inserted)
        finally:
            if not known >= (seen := stored.keys() | inserted):
                await keep_known_rows(self._function_id, known | seen)
        return written == plan.size

    async def _write(self, plan: SyncPlan, settings: Settings, inserted: set[str]) -> int:
        """Write row after row, and count those that were written."""
        written = 0
        for number, row in enumerate(plan.inserts, start=1):
            if await insert_model_row(row, is_public=settings.new_models_are_public):
                inserted.add(row.id)
                written += 1
            await self._rest(number, plan)
        for number, (before, after) in enumerate(plan.updates, start=len(plan.inserts) + 1):
            written += await update_model_row(before, after)
            await self._rest(number, plan)
        return written

    async def _rest(self, number: int, plan: SyncPlan) -> None:
        if number % _ROWS_PER_REPORT == 0 or (number == plan.size > _ROWS_PER_REPORT):
            LOG.info("models: %d of %d settings written", number, plan.size)
        await asyncio.sleep(_PAUSE_SECONDS)


def _announce(plan: SyncPlan, settings: Settings) -> None:
    if not plan.size:
        LOG.debug("models: the settings of all models are up to date")
        return
    LOG.info(
        "models: %s settings of %d new models (%s) and change those of %d",
        "a sync would write" if settings.metadata_sync == "dry_run" else "this sync will write",
        len(plan.inserts),
        "for everyone" if settings.new_models_are_public else "for admins",
        len(plan.updates),
    )
    if plan.gone:
        LOG.info("models: no longer at OpenRouter, their settings kept: %s", ", ".join(plan.gone))
