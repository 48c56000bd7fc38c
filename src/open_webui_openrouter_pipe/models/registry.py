"""The catalog in memory: answers at once, refreshes itself behind, keeps the last good one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..core.config import Settings
from ..core.errors import InternalError, PipeError
from ..core.logging_system import LOG
from .family import ModelFamily, read_family

FetchRows = Callable[[Settings], Awaitable[list[dict[str, Any]]]]

# How long the first listing may wait for the first catalog (seconds).
FIRST_CATALOG_PATIENCE = 4.0
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 300.0


class OpenRouterModelRegistry:
    """The models of one account at one address.

    `fetch_rows` is handed in; it raises a `PipeError` when there is no catalog to be had.
    """

    def __init__(self, fetch_rows: FetchRows, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch_rows = fetch_rows
        self._clock = clock
        self._families: tuple[ModelFamily, ...] = ()
        self._by_id: dict[str, ModelFamily] = {}
        self._refresh: asyncio.Task[None] | None = None
        self._due_at = float("-inf")
        self._failures = 0
        self._has_waited = False
        self.error: PipeError | None = None
        """Why the last refresh brought nothing; `None` while all is well."""

    async def families(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> tuple[ModelFamily, ...]:
        """The models known now; only the very first call waits, `patience` seconds at most."""
        if self._refresh is None and self._clock() >= self._due_at:
            self._refresh = asyncio.create_task(self._load(settings))
        if not self._families and self._refresh is not None and not self._has_waited:
            await asyncio.wait({self._refresh}, timeout=patience)
            self._has_waited = True
        return self._families

    @property
    def known(self) -> tuple[ModelFamily, ...]:
        """The models known now; another tuple after each refresh that brought one."""
        return self._families

    def find(self, model_id: str) -> ModelFamily | None:
        """What the catalog in memory says of a model; `None` for one it does not list."""
        return self._by_id.get(model_id)

    async def close(self) -> None:
        """Stop a refresh that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    async def _load(self, settings: Settings) -> None:
        try:
            self._take(await self._fetch_rows(settings))
            self._due_at = self._clock() + settings.catalog_refresh
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

    def _take(self, rows: list[dict[str, Any]]) -> None:
        families = tuple(family for row in rows if (family := read_family(row)) is not None)
        if not families:
            raise InternalError("OpenRouter's catalog is empty.", "Try again later.")
        self._families = families
        self._by_id = {family.id: family for family in families}

    def _postpone(self, error: PipeError) -> None:
        wait = min(_FIRST_RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        self.error = error
        self._failures += 1
        self._due_at = self._clock() + wait
        LOG.warning("catalog: %s The next try is in %.0f seconds.", error.cause, wait)
