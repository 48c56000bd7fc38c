"""Put the lab's tools into an Open WebUI, and read what its Python tools wrote down."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from pipe_lab.host.client import OpenWebUIClient

PYTHON_TOOLS = "lab_tools"
OPENAPI_TOOLS = "server:lab_openapi"
MCP_TOOLS = "server:mcp:lab_mcp"
"""How a chat asks for each kind, in `tool_ids`."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a Python tool; a run that did not end has no end."""

    tool: str
    arguments: Mapping[str, Any]
    began: float
    ended: float | None = None


async def install_python_tools(client: OpenWebUIClient, runs_file: Path) -> None:
    """Paste the tools into the editor, and tell them where to write."""
    source = resources.files("pipe_lab.tools").joinpath("python_tools.py").read_text("utf-8")
    meta = {"description": "Tools of the lab", "manifest": {}}
    form = {"id": PYTHON_TOOLS, "name": "Lab tools", "content": source, "meta": meta}
    await client.post("/api/v1/tools/create", form)
    valves = {"RUNS_FILE": str(runs_file)}
    await client.post(f"/api/v1/tools/id/{PYTHON_TOOLS}/valves/update", valves)


async def connect_tool_servers(client: OpenWebUIClient, *, openapi: str, mcp: str) -> None:
    """Enter both servers in the administrator's settings, by their addresses."""
    connections = [
        _connection(openapi, "openapi", OPENAPI_TOOLS),
        _connection(mcp, "mcp", MCP_TOOLS),
    ]
    await client.post("/api/v1/configs/tool_servers", {"TOOL_SERVER_CONNECTIONS": connections})


def read_runs(runs_file: Path) -> list[Run]:
    """Every run so far, in the order in which they began."""
    if not runs_file.exists():
        return []
    runs: dict[float, Run] = {}
    for line in runs_file.read_text(encoding="utf-8").splitlines():
        run = Run(**json.loads(line))
        runs[run.began] = run
    return list(runs.values())


def _connection(url: str, kind: str, tools: str) -> dict[str, Any]:
    name = tools.rpartition(":")[2]
    return {
        "url": url,
        "path": "openapi.json",
        "type": kind,
        "auth_type": "none",
        "key": "",
        "config": {"enable": True},
        "info": {"id": name, "name": name, "description": ""},
    }
