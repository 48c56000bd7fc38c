"""How many answers run at once: a slot, a place in a bounded queue, or a clear refusal."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from .errors import BusyError


@dataclass(slots=True)
class Gate:
    """The slots of one process, shared by every copy of the pipe in it.

    A copy may be older than the code that reads this, so it holds nothing but plain state.
    """

    limit: int = 1
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])


async def enter_gate(gate: Gate, limit: int, queue_limit: int) -> None:
    """Take a slot, waiting in turn; raises `BusyError` at once when the queue is full too."""
    gate.limit = limit
    _grant_free_slots(gate)
    if gate.running < limit and not gate.waiting:
        gate.running += 1
        return
    if len(gate.waiting) >= queue_limit:
        raise BusyError(
            f"This server is busy: {gate.running} answers are being written "
            f"and {len(gate.waiting)} requests wait.",
            "Try again in a moment. The admin can raise `MAX_CONCURRENT_REQUESTS` "
            "or `MAX_QUEUED_REQUESTS` in the settings of the OpenRouter function.",
        )
    place = asyncio.get_running_loop().create_future()
    gate.waiting.append(place)
    try:
        await place
    except BaseException:
        if place.done() and not place.cancelled():
            leave_gate(gate)  # the slot was granted in the same moment
        elif place in gate.waiting:  # else a slot came by in the same moment and passed it over
            gate.waiting.remove(place)
        raise


def leave_gate(gate: Gate) -> None:
    """Give the slot back and let the first in the queue in."""
    gate.running -= 1
    _grant_free_slots(gate)


def _grant_free_slots(gate: Gate) -> None:
    while gate.waiting and gate.running < gate.limit:
        place = gate.waiting.popleft()
        if not place.done():
            gate.running += 1
            place.set_result(None)
