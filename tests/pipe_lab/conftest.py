"""What the lab's tests share: a running simulator and a client with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from pipe_lab.simulator import Simulator


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
async def client(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer sk-test"}
    # Certificates take 50 ms to load, and loopback has none.
    http = httpx.AsyncClient(base_url=simulator.base_url, headers=headers, verify=False)
    async with http:
        yield http
