"""`make bench`: what the pipe costs beside Open WebUI's own OpenAI connection, in one run."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenAIConnection, OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import BUNDLE, FUNCTION_ID, SIMULATOR_KEY, Upstream, install_pipe
from pipe_lab.host.server import OpenWebUIServer, ServerSettings

from . import in_process
from .pairs import Comparison, compare
from .server_cost import LOADS, Load, Site, cpu_seconds
from .simulator_process import simulator_process
from .waiting import first_word_in_chat, first_word_over_api, model_list

CPU_PAIRS = 7
WAITING_PAIRS = 25
OWN = "own"
"""The prefix of the models that come through Open WebUI's own connection."""
_SHORT_ANSWER = "lab/stream-200"


async def bench() -> None:
    """Measure everything and print it as it comes."""
    async with simulator_process() as base_url:
        await _print_in_process(base_url)
        async with _running_site(base_url) as site:
            await _print_server_cost(site)
            await _print_waiting(site)
            await _print_model_list(site, base_url)


async def _print_in_process(base_url: str) -> None:
    _head("the pipe alone", "measured", "goal")
    per_delta = await in_process.cpu_per_delta(BUNDLE, base_url, SIMULATOR_KEY) * 1e6
    per_request = await in_process.cpu_per_request(BUNDLE, base_url, SIMULATOR_KEY) * 1e3
    _row("CPU per delta", f"{per_delta:.1f} µs", "10 µs")
    _row("CPU per request", f"{per_request:.2f} ms", "")
    _row("size of the bundle", f"{BUNDLE.stat().st_size / 1024:.0f} KB", "300 KB")
    _row("compile + exec", f"{in_process.load_seconds(BUNDLE):.3f} s", "0.2 s")


async def _print_server_cost(site: Site) -> None:
    _head("CPU of the server", "own", "pipe", "pipe/own", "goal")
    for load in LOADS:
        own, pipe = _model_ids(load.model)
        comparison = await compare(
            lambda load=load, own=own: cpu_seconds(site, load, own),
            lambda load=load, pipe=pipe: cpu_seconds(site, load, pipe),
            CPU_PAIRS,
        )
        _ratio_row(load, comparison)


async def _print_waiting(site: Site) -> None:
    own, pipe = _model_ids(_SHORT_ANSWER)
    _head("time to the first word", "own", "pipe", "added", "")
    for name, measure in (("in a chat", first_word_in_chat), ("over the API", first_word_over_api)):
        comparison = await compare(
            lambda measure=measure: measure(site, own),
            lambda measure=measure: measure(site, pipe),
            WAITING_PAIRS,
        )
        _row(name, *_milliseconds(comparison), f"{comparison.difference * 1e3:+.1f} ms")


async def _print_model_list(site: Site, base_url: str) -> None:
    _head("GET /api/models, warm", "own", "pipe", "pipe/own", "")
    comparison = Comparison(
        await _model_list_samples(site, own=base_url), await _model_list_samples(site, own=None)
    )
    _row("the list of models", *_milliseconds(comparison), f"{comparison.ratio:.2f}")


async def _model_list_samples(site: Site, own: str | None) -> list[float]:
    """With only one of the two offering its models."""
    client = site.client
    await client.set_connection(_connection(own) if own else None)
    if own:
        await client.post(f"/api/v1/functions/id/{FUNCTION_ID}/toggle")
    await client.models()
    samples = [await model_list(client) for _ in range(WAITING_PAIRS)]
    if own:
        await client.post(f"/api/v1/functions/id/{FUNCTION_ID}/toggle")
    return samples


@asynccontextmanager
async def _running_site(base_url: str) -> AsyncIterator[Site]:
    """A fresh Open WebUI with both contenders pointed at the same simulator."""
    python = await asyncio.to_thread(ensure_open_webui)
    with tempfile.TemporaryDirectory(prefix="pipe-bench-") as folder:
        settings = ServerSettings(Path(folder))
        async with OpenWebUIServer(python, settings) as server:
            account = await sign_up(server.url, "Bench", "bench@localhost", "bench-password")
            async with OpenWebUIClient(server.url, account) as client, ChatPage(client) as page:
                upstream = Upstream("the simulator", SIMULATOR_KEY, base_url)
                await install_pipe(client, upstream, BUNDLE.read_text(encoding="utf-8"))
                await client.set_connection(_connection(base_url))
                await client.models()
                yield Site(server.pid, client, page)


def _connection(base_url: str) -> OpenAIConnection:
    return OpenAIConnection(base_url, SIMULATOR_KEY, prefix=OWN)


def _model_ids(model: str) -> tuple[str, str]:
    return f"{OWN}.{model}", f"{FUNCTION_ID}.{model.replace('/', '.', 1)}"


def _head(*cells: str) -> None:
    print(f"\n| {' | '.join(cells)} |\n|{'---|' * len(cells)}", flush=True)


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _ratio_row(load: Load, comparison: Comparison) -> None:
    own, pipe = (median(samples) for samples in (comparison.own, comparison.pipe))
    goal = f"≤ {load.goal:.2f}"
    _row(load.name, f"{own:.2f} s", f"{pipe:.2f} s", f"{comparison.ratio:.2f}", goal)


def _milliseconds(comparison: Comparison) -> tuple[str, str]:
    own, pipe = (sorted(samples) for samples in (comparison.own, comparison.pipe))
    return f"{own[len(own) // 2] * 1e3:.1f} ms", f"{pipe[len(pipe) // 2] * 1e3:.1f} ms"


if __name__ == "__main__":
    asyncio.run(bench())
    sys.exit(0)
