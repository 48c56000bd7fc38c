"""The pipe alone, without Open WebUI: CPU per delta and per request, size and load time."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from typing import Any

from pipe_lab.load_pipe import load_pipe

DELTAS = 20_000
REQUESTS = 100
LISTINGS = 200
ROUNDS = 5
_CHAT = {"chat_id": "bench", "message_id": "bench", "session_id": "bench"}


async def cpu_per_delta(bundle: Path, base_url: str, api_key: str) -> float:
    """CPU seconds of this process for one delta of a long answer in a chat."""
    pipe = load_pipe(bundle, {"API_KEY": api_key, "BASE_URL": base_url})
    samples = [await _cpu_of_answer(pipe, DELTAS) / DELTAS for _ in range(ROUNDS + 1)]
    await pipe.close()
    return median(samples[1:])


async def cpu_per_request(bundle: Path, base_url: str, api_key: str) -> float:
    """CPU seconds of this process for one short answer in a chat, from call to end."""
    pipe = load_pipe(bundle, {"API_KEY": api_key, "BASE_URL": base_url})
    samples = [await _cpu_of_answer(pipe, 1) for _ in range(REQUESTS)]
    await pipe.close()
    return median(samples)


async def _cpu_of_answer(pipe: Any, deltas: int) -> float:
    body = {
        "model": f"openrouter.lab.stream-{deltas}",
        "messages": [{"role": "user", "content": "go"}],
        "stream": True,
    }
    started = time.process_time()
    answer = await pipe.pipe(body, _CHAT)
    failure = [piece async for piece in answer if "error" in piece]
    spent = time.process_time() - started
    if failure:
        raise RuntimeError(f"the answer failed: {failure[0]['error']}")
    return spent


async def listing_seconds(bundle: Path, base_url: str, api_key: str) -> tuple[float, int]:
    """Seconds for the list of models once it is in memory, and how many models it has."""
    pipe = load_pipe(bundle, {"API_KEY": api_key, "BASE_URL": base_url})
    listed = await pipe.pipes()
    samples: list[float] = []
    for _ in range(LISTINGS):
        started = time.perf_counter()
        await pipe.pipes()
        samples.append(time.perf_counter() - started)
    await pipe.close()
    return median(samples), len(listed)


def load_seconds(bundle: Path) -> float:
    """Seconds for what Open WebUI does with the text: compile it, run it, construct the pipe."""
    samples: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        load_pipe(bundle, {})
        samples.append(time.perf_counter() - started)
    return median(samples)
