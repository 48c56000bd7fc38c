"""A process without traces of other turns, and an OpenRouter to talk to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from open_webui_openrouter_pipe.core import retry
from open_webui_openrouter_pipe.host import departure
from open_webui_openrouter_pipe.runtime import process_state
from pipe_lab.simulator import Simulator
from tests.turns.calls import eventually, open_sockets


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A retry that nobody told when to come goes out at once; who hangs up is noticed at once."""
    monkeypatch.setattr(retry, "_FIRST_WAIT_SECONDS", 0.0)
    monkeypatch.setattr(departure, "_LOOK_SECONDS", 0.01)


@pytest.fixture(autouse=True)
async def nothing_left() -> AsyncGenerator[None]:
    """After each test no slot is taken, no task runs and no socket is open."""
    state = process_state()
    state.current.clear()
    sockets = open_sockets()
    yield
    assert (state.gate.running, len(state.gate.waiting)) == (0, 0)
    for runtime in state.current.values():
        runtime.retire()
    state.current.clear()
    await eventually(lambda: len(asyncio.all_tasks()) == 1 and open_sockets() <= sockets)


@pytest.fixture
async def simulator(nothing_left: None) -> AsyncGenerator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
def without_key_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
