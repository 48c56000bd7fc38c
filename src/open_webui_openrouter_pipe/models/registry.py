"""The catalog in memory: answers at once, refreshes itself behind, keeps the last good one."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace

from ..api.catalog import CatalogCopy
from ..core.config import Settings
from ..core.errors import InternalError, ModelUnavailableError, PipeError
from ..core.json_values import JsonObject
from ..core.logging_system import LOG
from .catalog_shelf import CatalogShelf
from .family import ModelFamily, read_family
from .known import NOTHING_KNOWN, know_models

FetchIds = Callable[[Settings], Awaitable[frozenset[str]]]
FetchCatalog = Callable[[Settings, CatalogCopy | None], Awaitable[CatalogCopy]]
"""Given the copy at hand, which it gives back when that is still the newest."""

# How long the first listing may wait for the first catalog (seconds).
FIRST_CATALOG_PATIENCE = 4.0
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 300.0
# Servers that started together shall not ask together: each comes up to a tenth too early.
_EARLIEST = 0.9


class OpenRouterModelRegistry:
    """The models of one account at one address.

    `fetch_catalog` is handed in; it raises a `PipeError` when there is no catalog to be had.
    """

    def __init__(
        self,
        fetch_catalog: FetchCatalog,
        clock: Callable[[], float] = time.monotonic,
        fetch_zdr_ids: FetchIds | None = None,
        shelf: CatalogShelf | None = None,
    ) -> None:
        self._fetch_catalog = fetch_catalog
        self._fetch_zdr_ids = fetch_zdr_ids
        self._clock = clock
        self._shelf = shelf or CatalogShelf()
        self._has_looked = False
        self.known = NOTHING_KNOWN
        """The last good catalog; the same object as long as nothing in it changes."""
        self._refresh: asyncio.Task[None] | None = None
        self._due_at = float("-inf")
        self._failures = 0
        self._has_waited = False
        self._is_closed = False
        self.error: PipeError | None = None
        """Why the last refresh brought nothing; `None` while all is well."""

    async def families(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> tuple[ModelFamily, ...]:
        """The models known now; only the very first call waits, `patience` seconds at most."""
        self._begin_when_due(settings)
        if not self.known.families and self._refresh is not None and not self._has_waited:
            await asyncio.wait({self._refresh}, timeout=patience)
            self._has_waited = self._has_waited or patience > 0
            self._begin_when_due(settings)  # what was kept may be old
        return self.known.families

    def find(self, model_id: str) -> ModelFamily | None:
        """What the catalog in memory says of a model; `None` for one it does not list."""
        return self.known.find(model_id)

    async def require_zdr_ids(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> None:
        """Wait, `patience` seconds at most, until it is known who keeps no data.

        Raises `ModelUnavailableError` where that is not learnt.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.known.zdr_ids is None:
                    self._begin_when_due(settings)
                    if self._refresh is None:
                        break
                    await asyncio.wait({self._refresh})
        if self.known.zdr_ids is None:
            why = f" {self.error.cause}" if self.error is not None else ""
            raise ModelUnavailableError(
                f"Who keeps no data could not be learnt from OpenRouter.{why}",
                "Try again in a moment. Zero data retention is demanded here, or by yourself.",
            )

    async def close(self) -> None:
        """Stop a refresh that is under way, and begin no other."""
        self._due_at, self._is_closed = float("inf"), True
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    def _begin_when_due(self, settings: Settings) -> None:
        is_due = self._clock() >= self._due_at or self._lacks_zdr_ids(settings)
        if self._refresh is None and is_due:
            self._refresh = asyncio.create_task(self._load(settings))

    async def _load(self, settings: Settings) -> None:
        try:
            if not self._has_looked:
                self._has_looked = True
                if await self._take_kept(settings, await self._shelf.read()):
                    return
            async with self._shelf.turn():
                await self._renew(settings)
            self.error, self._failures = None, 0
        except PipeError as error:
            self._postpone(error)
        except Exception:  # noqa: BLE001 - a background job must not end the registry
            LOG.exception("catalog: the refresh failed")
            self._postpone(
                InternalError(
                    "The catalog could not be read.",
                    "The admin finds the details in the server's log.",
                )
            )
        finally:
            self._refresh = None

    def _lacks_zdr_ids(self, settings: Settings) -> bool:
        """Whether a setting, changed since the last refresh, asks for a list never fetched."""
        lacks = self._wants_zdr_ids(settings) and self.known.zdr_ids is None
        return lacks and self.error is None and not self._is_closed

    def _wants_zdr_ids(self, settings: Settings) -> bool:
        return settings.catalog.zdr_may_matter and self._fetch_zdr_ids is not None

    async def _renew(self, settings: Settings) -> None:
        """Take what another worker has fetched meanwhile, else fetch it."""
        kept = await self._shelf.read()
        if kept is not None and self._is_fresh(kept, settings):
            await self._take_kept(settings, kept)
        else:
            await self._fetch(settings, kept)

    async def _take_kept(self, settings: Settings, kept: CatalogCopy | None) -> bool:
        """Use a kept catalog, be it old; whether there was one."""
        if kept is None:
            return False
        await self._take(kept.rows, kept.zdr_ids)
        if self._is_fresh(kept, settings):
            self._rest(settings.catalog.refresh - kept.age)
        return True

    def _is_fresh(self, kept: CatalogCopy, settings: Settings) -> bool:
        lacks_ids = self._wants_zdr_ids(settings) and kept.zdr_ids is None
        return 0 <= kept.age < _EARLIEST * settings.catalog.refresh and not lacks_ids

    async def _fetch(self, settings: Settings, kept: CatalogCopy | None) -> None:
        newest = await self._fetch_catalog(settings, kept)
        await self._take(newest.rows, self.known.zdr_ids)
        if self._fetch_zdr_ids is not None and self._wants_zdr_ids(settings):
            self._know(self.known.families, await self._fetch_zdr_ids(settings))
        self._rest(settings.catalog.refresh)
        await self._shelf.keep(replace(newest, zdr_ids=self.known.zdr_ids))

    async def _take(self, rows: list[JsonObject], zdr_ids: frozenset[str] | None) -> None:
        families = await asyncio.to_thread(_families_in, rows)
        if not families:
            raise InternalError("OpenRouter's catalog is empty.", "Try again later.")
        self._know(families, zdr_ids)

    def _know(self, families: Iterable[ModelFamily], zdr_ids: frozenset[str] | None) -> None:
        newest = know_models(families, zdr_ids)
        known = self.known
        if (newest.families, newest.zdr_ids) != (known.families, known.zdr_ids):
            self.known = newest

    def _rest(self, seconds: float) -> None:
        if not self._is_closed:
            self._due_at = self._clock() + seconds * random.uniform(_EARLIEST, 1.0)

    def _postpone(self, error: PipeError) -> None:
        wait = min(_FIRST_RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        level = logging.INFO if self.error is not None else logging.WARNING
        self.error = error
        self._failures += 1
        self._rest(wait)
        LOG.log(level, "catalog: %s The next try is in %.0f seconds.", error.cause, wait)


def _families_in(rows: list[JsonObject]) -> tuple[ModelFamily, ...]:
    return tuple(family for row in rows if (family := read_family(row)) is not None)
