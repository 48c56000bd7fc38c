"""Keeps Open WebUI's rows of models in step with the catalog, beside the answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from ..core.catalog_valves import CatalogRules
from ..core.companion_valves import CompanionRules
from ..core.config import Settings
from ..core.errors import PipeError
from ..core.logging_system import LOG
from ..core.metadata_valves import MetadataRules
from ..core.process import shared_by_process
from ..host.kept_ids import keep_ids, read_kept_ids
from ..host.models import (
    ModelRow,
    insert_model_row,
    private_rows_hide_models,
    read_model_rows,
    update_model_row,
)
from ..host.single_worker import only_worker
from .companions import Attachment, install_companions, share_model_inputs
from .family import ModelFamily, to_host_id
from .icons import FetchIcon, copy_icons
from .known import KnownModels
from .metadata_sync import OfferedModel, SyncPlan, mark_vanished, plan_sync
from .visibility import offered_families

# Every row is a transaction of its own, and SQLite has one writer: the chats get the time between.
# It grows with the time that a write takes, so with what else the server has to do.
_PAUSE_SECONDS = 0.03
_PAUSE_PER_WRITE = 6
_RETRY_SECONDS = 60.0
# Longer than the longest first sync (seconds).
_LOCK_SECONDS = 1_800
_ROWS_PER_REPORT = 100
_NAMES_SHOWN = 5
_NO_NEW_ROWS = (
    "models: new models get no settings: BYPASS_ADMIN_ACCESS_CONTROL is off, so that admins "
    "would no longer see them; NEW_MODEL_ACCESS=public gives them settings"
)

Purpose = tuple[KnownModels, CatalogRules, MetadataRules, CompanionRules]
"""What a sync is for: when nothing of it has changed, there is nothing to do."""


@dataclass(slots=True)
class SyncTurn:
    """Whether a sync runs in this process. Copies of other ages read it."""

    is_taken: bool = False


class MetadataSync:
    """The syncs of one installed copy: one for each catalog, and for each change of a valve.

    The companion filters are installed with each, for the rows name them: `filter_sources` are
    their texts, `fetch_providers` gives the names that one of them offers for some models.
    """

    def __init__(
        self,
        function_id: str,
        filter_sources: Mapping[str, str],
        fetch_providers: Callable[[Settings, Collection[str]], Awaitable[list[str]]],
        fetch_icon: FetchIcon,
    ) -> None:
        self._function_id = function_id
        self._filter_sources = filter_sources
        self._fetch_providers = fetch_providers
        self._fetch_icon = fetch_icon
        self._icons: dict[str, str] = {}
        self._done: Purpose | None = None
        self._due_at = float("-inf")
        self._job: asyncio.Task[None] | None = None
        self._writes_rows = False

    def look(self, known: KnownModels, settings: Settings) -> None:
        """Begin to sync when the catalog or a rule is new since last time; nobody waits for it.

        One that is under way ends where it is when syncs have been switched off.
        """
        share_model_inputs(self._function_id, known)
        purpose = (known, settings.catalog, settings.metadata, settings.companions)
        if self._writes_rows and settings.metadata.mode == "off" and self._job is not None:
            self._job.cancel()
        if not known.families or purpose == self._done:
            return
        if self._job is None and time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + _RETRY_SECONDS
            self._writes_rows = settings.metadata.mode != "off"
            self._job = asyncio.create_task(self._run(purpose, settings))

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

    async def _run(self, purpose: Purpose, settings: Settings) -> None:
        turn = shared_by_process("metadata_sync", SyncTurn)
        if turn.is_taken:
            self._job = None
            return
        turn.is_taken = True
        try:
            async with only_worker(f"{self._function_id}:rows", _LOCK_SECONDS) as is_ours:
                if is_ours:
                    await self._sync(purpose, settings)
                    self._done, self._due_at = purpose, float("-inf")
        except Exception:  # noqa: BLE001 - a background job must not trouble an answer
            LOG.exception("models: the settings of the models could not be brought up to date")
        finally:
            turn.is_taken = False
            self._job = None

    async def _sync(self, purpose: Purpose, settings: Settings) -> None:
        """Write what has changed. A row that refuses to be written waits for the next catalog."""
        known_rows, rules = f"{self._function_id}.known_rows", purpose[2]
        attachments = await install_companions(self._function_id, self._filter_sources, purpose[3])
        if attachments:
            await self._learn_providers(purpose, settings)
        if rules.copies_images and rules.images and rules.mode != "off":
            await copy_icons(self._fetch_icon, self._icons)
            rules = replace(rules, icons=self._icons)
            purpose = (*purpose[:2], rules, purpose[3])
        stored = await read_model_rows(self._function_id) if rules.mode != "off" else None
        if stored is None:
            return
        past = await read_kept_ids(known_rows)
        plan = self._plan(stored, past, purpose, attachments)
        _announce(plan, rules)
        if rules.mode == "dry_run":
            return
        inserted: set[str] = set()
        try:
            written = await self._write(plan, rules, inserted)
        finally:
            if not past >= (seen := stored.keys() | inserted):
                # One that is missing later has been deleted.
                await keep_ids(known_rows, past | seen)
        if written < plan.size:
            LOG.warning("models: %d settings could not be written", plan.size - written)

    async def _learn_providers(self, purpose: Purpose, settings: Settings) -> None:
        """Keep the providers' names where the filter that offers them looks."""
        known = purpose[0]
        offered = map(known.find, (family.id for family in offered_families(*purpose[:2])))
        with suppress(PipeError):
            names = await self._fetch_providers(settings, {each.id for each in offered if each})
            shared_by_process("provider_names", dict[str, list[str]])[self._function_id] = names

    def _plan(
        self,
        stored: Mapping[str, ModelRow],
        past: frozenset[str],
        purpose: Purpose,
        attachments: Sequence[Attachment],
    ) -> SyncPlan:
        known, catalog, rules, _ = purpose
        offered = [self._entry(family, known) for family in offered_families(known, catalog)]
        plan = plan_sync(offered, stored, past, rules, attachments)
        if plan.inserts and not rules.new_are_public and private_rows_hide_models():
            LOG.info(_NO_NEW_ROWS)
            plan = replace(plan, inserts=())
        if catalog.key_models_only:  # what is missing may only be out of the key's reach
            return plan
        return plan.with_vanished(mark_vanished(stored, offered, known))

    def _entry(self, family: ModelFamily, known: KnownModels) -> OfferedModel:
        row_id = f"{self._function_id}.{to_host_id(family.id)}"
        return OfferedModel(row_id, family, known.find(family.id) is not None)

    async def _write(self, plan: SyncPlan, rules: MetadataRules, inserted: set[str]) -> int:
        """Write row after row, and count those that were written."""
        written = 0
        for number, row in enumerate(plan.inserts, start=1):
            started = time.monotonic()
            if await insert_model_row(row, is_public=rules.new_are_public):
                inserted.add(row.id)
                written += 1
            await self._rest(number, plan, time.monotonic() - started)
        for number, (before, after) in enumerate(plan.updates, start=len(plan.inserts) + 1):
            started = time.monotonic()
            written += await update_model_row(before, after)
            await self._rest(number, plan, time.monotonic() - started)
        return written

    async def _rest(self, number: int, plan: SyncPlan, spent: float) -> None:
        if number % _ROWS_PER_REPORT == 0 or (number == plan.size > _ROWS_PER_REPORT):
            LOG.info("models: %d of %d settings written", number, plan.size)
        await asyncio.sleep(max(_PAUSE_SECONDS, _PAUSE_PER_WRITE * spent))


def _announce(plan: SyncPlan, rules: MetadataRules) -> None:
    if not plan.size:
        LOG.debug("models: the settings of all models are up to date")
        return
    LOG.info(
        "models: %s settings, %s, of %s; and change those of %s",
        "a sync would write" if rules.mode == "dry_run" else "this sync will write",
        "for everyone" if rules.new_are_public else "for admins",
        _counted([row.id for row in plan.inserts]),
        _counted([before.id for before, _ in plan.updates]),
    )
    if plan.gone:
        LOG.info("models: no longer at OpenRouter, their settings kept: %s", ", ".join(plan.gone))


def _counted(row_ids: list[str]) -> str:
    """How many there are, and the first of them."""
    more = ", ..." if len(row_ids) > _NAMES_SHOWN else ""
    return f"{len(row_ids)} models ({', '.join(row_ids[:_NAMES_SHOWN])}{more})"
