"""The lab's Open WebUI, whose own modules judge, and a pipe that asks a simulator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.runtime import process_state
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import SIMULATOR_KEY
from pipe_lab.host.reducer import HostFunctions
from pipe_lab.simulator import Simulator


@pytest.fixture(scope="session")
def host_python() -> Path:
    return ensure_open_webui()


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def pipe(simulator: Simulator) -> AsyncIterator[Pipe]:
    made = Pipe()
    made.valves = Pipe.Valves.model_validate(
        {"API_KEY": SIMULATOR_KEY, "BASE_URL": simulator.base_url}
    )
    yield made
    state = process_state()
    for runtime in state.current.values():
        runtime.retire()
    await asyncio.gather(*state.closing)


@pytest.fixture(scope="session")
def host_functions(host_python: Path) -> Iterator[HostFunctions]:
    with HostFunctions(host_python) as running:
        yield running
