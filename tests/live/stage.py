"""What every live test plays on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipe_lab.host.client import OpenWebUIClient
from pipe_lab.host.pipe_setup import FUNCTION_ID, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer
from pipe_lab.simulator import RecordedRequest, Simulator
from pipe_lab.tools.openapi_server import OpenAPIServer
from pipe_lab.tools.toolbox import Run, read_runs

T = TypeVar("T")

TASK_MODEL = "openai/gpt-4o-mini"
"""Writes titles and search queries, so that a test can script it apart from the chat's model."""

PATIENCE = 10
"""Seconds until something that should happen counts as not happening."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A server with the pipe in it, its administrator, and the simulator behind the pipe."""

    server: OpenWebUIServer
    admin: OpenWebUIClient
    simulator: Simulator
    # The bundle as it was when the suite began.
    source: str

    def completions(self) -> list[RecordedRequest]:
        """What the model was asked since the test began, without catalog and key requests."""
        paths = ("/responses", "/chat/completions")
        return [request for request in self.simulator.requests if request.path in paths]

    async def set_valves(self, **changes: object) -> None:
        """The valves of a test: the connection, and what is named here."""
        upstream = simulator_upstream(self.simulator)
        connection = {"API_KEY": upstream.api_key, "BASE_URL": upstream.base_url}
        await self.admin.set_valves(FUNCTION_ID, {**connection, **changes})


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What the tools of the lab have left behind."""

    runs_file: Path
    openapi: OpenAPIServer

    def runs(self) -> list[Run]:
        """The runs of the Python tools since the test began."""
        return read_runs(self.runs_file)


def conversation(request: RecordedRequest) -> list[tuple[str, str]]:
    """Who said what, as the model was told."""
    messages = [item for item in request.body["input"] if "role" in item]
    return [(message["role"], _said(message["content"])) for message in messages]


def thoughts_sent(request: RecordedRequest) -> list[Any]:
    """The encrypted reasoning in a request's input."""
    items = [item for item in request.body["input"] if item.get("type") == "reasoning"]
    return [item.get("encrypted_content") for item in items]


def _said(content: str | list[dict[str, Any]]) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


async def settled(ask: Callable[[], Awaitable[T]], patience: float = PATIENCE) -> T:
    """Ask another process until nothing is left to say, and return its last answer."""
    deadline = time.monotonic() + patience
    while (answer := await ask()) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return answer
