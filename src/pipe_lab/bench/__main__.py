"""`make bench`: what the pipe costs beside Open WebUI's own OpenAI connection, in one run.

`python -m pipe_lab.bench storage [URL]`: what keeping things costs, on SQLite or that database.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenAIConnection, OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import BUNDLE, FUNCTION_ID, SIMULATOR_KEY, Upstream, install_pipe
from pipe_lab.host.server import OpenWebUIServer, ServerSettings

from . import in_process
from .pairs import Comparison, Measure, compare
from .server_cost import LOADS, Load, Site, cpu_seconds
from .simulator_process import simulator_process
from .storage_cost import archive_rates, ledger_cpu, storage_bench
from .waiting import first_word_in_chat, first_word_over_api, model_list

CPU_ROUNDS = 5
WAITING_ROUNDS = 25
SYNC_SECONDS = 180
NULL_ID, BARE_ID = "null", "bare"
MODELS = {
    "own": "own.lab/stream-200",
    "pipe": f"{FUNCTION_ID}.lab.stream-200",
    "null": f"{NULL_ID}.floor",
    "bare": f"{BARE_ID}.lab.stream-200",
}
"""One model of each contender; the prompt says how the simulator answers."""


async def bench() -> None:
    """Measure everything and print it as it comes."""
    async with simulator_process() as base_url:
        await _print_in_process(base_url)
        async with _running_site(base_url) as site:
            await _print_server_cost(site)
            await _print_waiting(site)
            await _print_model_list(site, base_url)


async def bench_storage(database_url: str = "") -> None:
    """Measure what is kept, and print it."""
    async with (
        simulator_process() as base_url,
        storage_bench(BUNDLE, base_url, SIMULATOR_KEY, database_url) as running,
    ):
        _head("a turn that thinks", "chat p50", "chat p95", "database adds p50", "adds p95")
        for name, later in (("the first", False), ("a later one", True)):
            comparison = await running.turns(later=later)
            halves = [comparison.quantile("chat", share) for share in (0.5, 0.95)]
            added = [
                comparison.quantile("database", share) - chat
                for share, chat in zip((0.5, 0.95), halves, strict=True)
            ]
            cells = [f"{seconds * 1e3:.1f} ms" for seconds in halves]
            _row(name, *cells, *(f"{seconds * 1e3:+.1f} ms" for seconds in added))
        rows, size = await running.table()
        written, read, share = archive_rates()
        _head("what is kept", "measured", "goal")
        _row("rows of a turn", f"{rows:.2f}", "1")
        _row("payload of a row", f"{size:,.0f} bytes", "")
        _row("ledger, CPU of a request", f"{await ledger_cpu() * 1e3:.3f} ms", "0.3 ms")
        _row("archives written", f"{written / 1e6:.0f} MB/s", "")
        _row("archives read", f"{read / 1e6:.0f} MB/s", "")
        _row("archives on the disk", f"{share:.0%} of their records", "")


async def _print_in_process(base_url: str) -> None:
    _head("the pipe alone", "measured", "goal")
    per_delta = await in_process.cpu_per_delta(BUNDLE, base_url, SIMULATOR_KEY) * 1e6
    per_request = await in_process.cpu_per_request(BUNDLE, base_url, SIMULATOR_KEY) * 1e3
    _row("CPU per delta", f"{per_delta:.1f} µs", "7.5 µs")
    _row("CPU per request", f"{per_request:.2f} ms", "1.5 ms")
    listing, models = await in_process.listing_seconds(BUNDLE, base_url, SIMULATOR_KEY)
    _row(f"the list of {models} models, warm", f"{listing * 1e3:.2f} ms", "2 ms")
    _row("size of the bundle", f"{BUNDLE.stat().st_size / 1024:.0f} KB", "500 KB")
    _row("compile + exec", f"{in_process.load_seconds(BUNDLE):.3f} s", "0.2 s")


async def _print_server_cost(site: Site) -> None:
    _head(
        *("CPU of the server", "own", "pipe", "null pipe", "bare pipe"),
        *("pipe/own", "goal", "bare/own", "above the floor"),
    )
    for load in LOADS:
        contenders = {name: _spending(site, load, model) for name, model in MODELS.items()}
        comparison = await compare(contenders, CPU_ROUNDS)
        seconds = [f"{comparison.median(name):.2f} s" for name in MODELS]
        ratio = f"{comparison.ratio('pipe', 'own'):.2f}"
        bare = f"{comparison.ratio('bare', 'own'):.2f}"
        _row(load.name, *seconds, ratio, f"≤ {load.goal:.2f}", bare, _above_floor(comparison))


def _spending(site: Site, load: Load, model: str) -> Measure:
    return lambda: cpu_seconds(site, load, model)


def _above_floor(comparison: Comparison) -> str:
    """What the pipe costs above the null pipe, as a share of what the own connection does."""
    own = comparison.difference("own", "null")
    return f"{comparison.difference('pipe', 'null') / own:.0%} (≤ 30%)" if own > 0 else "-"


async def _print_waiting(site: Site) -> None:
    _head("time to the first word", "own", "pipe", "added", "goal")
    for name, measure in (("in a chat", first_word_in_chat), ("over the API", first_word_over_api)):
        contenders = {key: _waiting(measure, site, MODELS[key]) for key in ("own", "pipe")}
        comparison = await compare(contenders, WAITING_ROUNDS)
        added = f"{comparison.difference('pipe', 'own') * 1e3:+.1f} ms"
        _row(name, *_milliseconds(comparison), added, "+3 ms")


def _waiting(measure: Callable[[Site, str], Awaitable[float]], site: Site, model: str) -> Measure:
    return lambda: measure(site, model)


async def _print_model_list(site: Site, base_url: str) -> None:
    _head("GET /api/models, warm", "neither", "own", "pipe", "pipe/own", "goal")
    comparison = Comparison(
        {
            "neither": await _model_list_samples(site, connection=None, has_pipe=False),
            "own": await _model_list_samples(site, _connection(base_url), has_pipe=False),
            "pipe": await _model_list_samples(site, connection=None, has_pipe=True),
        }
    )
    neither = f"{comparison.median('neither') * 1e3:.1f} ms"
    ratio = f"{comparison.ratio('pipe', 'own'):.2f}"
    _row("the list of models", neither, *_milliseconds(comparison), ratio, "≤ 1.20")


async def _model_list_samples(
    site: Site, connection: OpenAIConnection | None, *, has_pipe: bool
) -> list[float]:
    """With only one of the two offering its models, or neither."""
    client = site.client
    await client.set_connection(connection)
    if not has_pipe:
        await client.post(f"/api/v1/functions/id/{FUNCTION_ID}/toggle")
    await client.models()
    samples = [await model_list(client) for _ in range(WAITING_ROUNDS)]
    if not has_pipe:
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
                for function_id in (NULL_ID, BARE_ID):
                    source = resources.files("pipe_lab.bench").joinpath(f"{function_id}_pipe.py")
                    await client.install_function(
                        function_id, f"{function_id} pipe", source.read_text("utf-8")
                    )
                valves = {"API_KEY": SIMULATOR_KEY, "BASE_URL": base_url}
                await client.set_valves(BARE_ID, valves)
                await client.set_connection(_connection(base_url))
                await _let_everyone_in(client)
                yield Site(server.pid, client, page)


async def _let_everyone_in(client: OpenWebUIClient) -> None:
    """A row that everyone may read, for each contender: without one only admins see a model.

    The pipe writes its rows itself; that is over before anything is measured.
    """
    offered = {model["id"] for model in await client.models()}
    missing = {model_id for model_id in offered if model_id.startswith(f"{FUNCTION_ID}.")}
    async with asyncio.timeout(SYNC_SECONDS):
        while missing:
            await asyncio.sleep(1)
            missing -= {row["id"] for row in await client.get("/api/v1/models/base")}
    for name, model_id in MODELS.items():
        if name != "pipe":
            await client.set_model(model_id)
        await client.grant_model(model_id)
    await client.models()


def _connection(base_url: str) -> OpenAIConnection:
    return OpenAIConnection(base_url, SIMULATOR_KEY, prefix="own")


def _head(*cells: str) -> None:
    print(f"\n| {' | '.join(cells)} |\n|{'---|' * len(cells)}", flush=True)


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def _milliseconds(comparison: Comparison) -> list[str]:
    return [f"{comparison.median(name) * 1e3:.1f} ms" for name in ("own", "pipe")]


if __name__ == "__main__":
    asyncio.run(bench_storage(*sys.argv[2:]) if sys.argv[1:2] == ["storage"] else bench())
