"""The gate: slots in turn, a bounded queue, and no slot lost whoever is cancelled when."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.admission import Gate, enter_gate, leave_gate
from open_webui_openrouter_pipe.core.errors import BusyError

QUEUE_LIMIT = 3


async def queue_up(gate: Gate, count: int, limit: int = 1) -> list[asyncio.Task[None]]:
    """Callers that wait in this order."""
    tasks = [asyncio.create_task(enter_gate(gate, limit, QUEUE_LIMIT)) for _ in range(count)]
    await asyncio.sleep(0)  # each runs until it waits
    assert len(gate.waiting) == count
    return tasks


async def test_free_slots_are_given_at_once_and_the_queue_is_served_in_turn() -> None:
    gate = Gate()
    await enter_gate(gate, 2, QUEUE_LIMIT)
    await enter_gate(gate, 2, QUEUE_LIMIT)
    first, second = await queue_up(gate, 2, limit=2)
    leave_gate(gate)
    await first
    assert not second.done()
    assert (gate.running, len(gate.waiting)) == (2, 1)
    leave_gate(gate)
    await second


async def test_who_finds_the_queue_full_is_refused_with_the_numbers_and_changes_nothing() -> None:
    gate = Gate()
    await enter_gate(gate, 1, QUEUE_LIMIT)
    waiting = await queue_up(gate, QUEUE_LIMIT)
    with pytest.raises(BusyError, match="1 answers are being written and 3 requests wait"):
        await enter_gate(gate, 1, QUEUE_LIMIT)
    assert (gate.running, len(gate.waiting)) == (1, QUEUE_LIMIT)
    for task in waiting:
        leave_gate(gate)
        await task


async def test_a_waiter_that_is_closed_leaves_no_dead_place() -> None:
    gate = Gate()
    await enter_gate(gate, 1, QUEUE_LIMIT)
    waiter = enter_gate(gate, 1, QUEUE_LIMIT)
    waiter.send(None)
    waiter.close()
    leave_gate(gate)
    assert (gate.running, len(gate.waiting)) == (0, 0)


async def test_a_newcomer_does_not_overtake_who_was_just_let_in() -> None:
    gate = Gate()
    await enter_gate(gate, 1, QUEUE_LIMIT)
    [waiter] = await queue_up(gate, 1)
    leave_gate(gate)
    with pytest.raises(BusyError):
        await enter_gate(gate, 1, 0)
    await waiter
    assert gate.running == 1


@pytest.mark.parametrize("order", ["cancel", "cancel then leave", "leave then cancel"])
async def test_a_cancelled_waiter_passes_its_slot_on(order: str) -> None:
    gate = Gate()
    await enter_gate(gate, 1, QUEUE_LIMIT)
    cancelled, heir = await queue_up(gate, 2)
    if order == "leave then cancel":
        leave_gate(gate)
    cancelled.cancel()
    if order == "cancel then leave":
        leave_gate(gate)
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    if order == "cancel":
        assert len(gate.waiting) == 1
        leave_gate(gate)
    await heir
    assert (gate.running, len(gate.waiting)) == (1, 0)


async def test_a_limit_raised_while_running_lets_the_queue_in() -> None:
    gate = Gate()
    await enter_gate(gate, 1, QUEUE_LIMIT)
    waiting = await queue_up(gate, 2)
    await enter_gate(gate, 4, QUEUE_LIMIT)
    await asyncio.gather(*waiting)
    assert gate.running == 4


async def test_a_limit_lowered_while_running_holds_the_queue_until_enough_have_left() -> None:
    gate = Gate()
    for _ in range(3):
        await enter_gate(gate, 3, QUEUE_LIMIT)
    [waiter] = await queue_up(gate, 1, limit=1)
    leave_gate(gate)
    leave_gate(gate)
    assert len(gate.waiting) == 1
    leave_gate(gate)
    await waiter
    assert gate.running == 1


STEPS = st.sampled_from(["enter", "leave", "cancel", "tick"])


@given(st.lists(st.tuples(STEPS, st.integers(0, 9))))
def test_whatever_happens_slots_are_neither_lost_nor_doubled(steps: list[tuple[str, int]]) -> None:
    async def play() -> None:
        gate, tasks, left = Gate(), [], set()
        for step, number in steps:
            inside = [task for task in tasks if entered(task) and task not in left]
            match step:
                case "enter":
                    tasks.append(asyncio.create_task(enter_gate(gate, 1 + number % 2, QUEUE_LIMIT)))
                case "leave" if inside:
                    left.add(inside[number % len(inside)])
                    leave_gate(gate)
                case "cancel" if tasks:
                    tasks[number % len(tasks)].cancel()
                case _:
                    await asyncio.sleep(0)
            assert gate.running <= 2
            assert len(gate.waiting) <= QUEUE_LIMIT
        while gate.running or any(not task.done() for task in tasks):
            for task in [task for task in tasks if entered(task) and task not in left]:
                left.add(task)
                leave_gate(gate)
            await asyncio.sleep(0)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(result) for result in results} <= {
            type(None),
            BusyError,
            asyncio.CancelledError,
        }
        assert not gate.waiting

    def entered(task: asyncio.Task[None]) -> bool:
        return task.done() and not task.cancelled() and task.exception() is None

    asyncio.run(play())
