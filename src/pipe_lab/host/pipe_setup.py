"""Put the pipe into a server: install it, point it at an upstream, make the page ready to chat."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pipe_lab.simulator import Simulator

from .client import OpenWebUIClient
from .install import open_webui_version

ROOT = Path(__file__).resolve().parents[3]
BUNDLE = ROOT / "dist" / "pipe.py"
FUNCTION_ID = "openrouter"
SIMULATOR_KEY = "sk-or-v1-lab-0000000000000000"

# What a first chat starts with, when the upstream has it; else the first model of the list.
_FIRST_CHOICES = ("openai.gpt-4o-mini", "openai.gpt-4o")


@dataclass(frozen=True, slots=True)
class Upstream:
    """Who answers: OpenRouter itself, or the simulator."""

    name: str
    api_key: str
    # Empty means the pipe's own default.
    base_url: str


@asynccontextmanager
async def choose_upstream(pace: float = 0.0) -> AsyncIterator[Upstream]:
    """OpenRouter when there is a key for it; else a simulator, for as long as the block lasts."""
    if key := os.environ.get("OPENROUTER_API_KEY"):
        base_url = os.environ.get("OPENROUTER_API_BASE_URL", "")
        yield Upstream(f"OpenRouter ({base_url or 'openrouter.ai'})", key, base_url)
        return
    async with Simulator(pace=pace) as simulator:
        yield simulator_upstream(simulator)


def simulator_upstream(simulator: Simulator) -> Upstream:
    """The upstream a running simulator is."""
    name = "the simulator (set OPENROUTER_API_KEY to use OpenRouter)"
    return Upstream(name, SIMULATOR_KEY, simulator.base_url)


async def install_pipe(client: OpenWebUIClient, upstream: Upstream, source: str) -> str:
    """Install or update the pipe and point it at the upstream; says what it did."""
    outcome = await client.install_function(FUNCTION_ID, "OpenRouter", source)
    valves = await client.valves(FUNCTION_ID)
    connection = {"API_KEY": upstream.api_key, "BASE_URL": upstream.base_url}
    await client.set_valves(FUNCTION_ID, {**valves, **connection})
    return outcome


async def prepare_page(client: OpenWebUIClient) -> str:
    """Choose the model a new chat starts with, and spare its reader the release notes.

    Says which model it is, or, when the pipe offers none, the reason the pipe itself gives.
    """
    settings = {"version": open_webui_version(), "showChangelog": False}
    await client.post("/api/v1/users/user/settings/update", {"ui": settings})
    listed = {model["id"]: model["name"] for model in await client.models()}
    if f"{FUNCTION_ID}.notice" in listed:
        return listed[f"{FUNCTION_ID}.notice"]
    wanted = (f"{FUNCTION_ID}.{choice}" for choice in _FIRST_CHOICES)
    chosen = next((model for model in wanted if model in listed), next(iter(listed), ""))
    await client.set_default_model(chosen)
    return f"A new chat starts with {chosen}."
