"""The simulator in a process of its own, so that it costs the measured process nothing."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def simulator_process() -> AsyncIterator[str]:
    """Start it, yield its base URL, and stop it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipe_lab.simulator", "--pace", "0"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.terminate()
        await process.wait()
