"""Pauses between reads, in which the network gathers what would else come piece by piece."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext

from .events import Event, ReasoningDelta, TextDelta

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
WINDOW_SECONDS = 0.03
_LATENESS_FACTOR = 4.0
_LONGEST_EXTENSION_SECONDS = 0.3

Hold = Callable[[], AbstractContextManager[None]]
"""Leaves the connection unread while the `with` block runs."""


class Pacer:
    """Lets a window pass after text was shown, so that the next read brings all that came in it.

    The connection is not read meanwhile: the system gathers its bytes at no cost of ours.
    The first words are not held back, and while the model is silent there is no timer. Where the
    server is so busy that it wakes late, windows grow: it then sends fewer, larger pieces.
    """

    __slots__ = ("_clock", "_hold", "_late", "_sleep")

    def __init__(
        self,
        hold: Hold = nullcontext,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hold = hold
        self._sleep = sleep
        self._clock = clock
        self._late = 0.0

    async def pause(self, batch: list[Event]) -> None:
        """Wait, if this batch showed text."""
        if not any(isinstance(event, TextDelta | ReasoningDelta) for event in batch):
            return
        window = WINDOW_SECONDS + min(_LATENESS_FACTOR * self._late, _LONGEST_EXTENSION_SECONDS)
        begun = self._clock()
        with self._hold():
            await self._sleep(window)
        self._late = max(self._clock() - begun - window, 0.0)
