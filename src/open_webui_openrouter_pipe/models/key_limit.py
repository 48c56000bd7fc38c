"""What is left of the API key's limit: asked beside the answers, never before one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from ..core.config import Settings
from ..core.errors import PipeError
from ..core.logging_system import LOG

FetchCredit = Callable[[Settings], Awaitable[float | None]]

_FRESH_SECONDS = 300.0


class KeyLimit:
    """The last known rest of one key's limit, in USD.

    `fetch_credit` is handed in; it raises a `PipeError` when OpenRouter does not tell.
    """

    def __init__(
        self, fetch_credit: FetchCredit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch_credit = fetch_credit
        self._clock = clock
        self._due_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None
        self.left: float | None = None
        """`None` while it is not known, and for a key without a limit."""

    def look(self, settings: Settings) -> None:
        """Begin to ask again when the last answer has grown old; nobody waits for it."""
        if self._refresh is None and self._clock() >= self._due_at:
            self._due_at = self._clock() + _FRESH_SECONDS
            self._refresh = asyncio.create_task(self._load(settings))

    async def close(self) -> None:
        """Stop a question that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    async def _load(self, settings: Settings) -> None:
        try:
            self.left = await self._fetch_credit(settings)
        except PipeError as error:
            LOG.info("key: the limit is not known: %s", error.cause)
        except Exception:  # noqa: BLE001 - a background job must not trouble an answer
            LOG.exception("key: the limit could not be read")
        finally:
            self._refresh = None
