"""A real MCP server on loopback, in a process of its own: `python -m pipe_lab.tools.mcp_server`."""

from __future__ import annotations

import asyncio
import base64
import itertools
import signal
import sys
from types import TracebackType

import httpx
from mcp.server import MCPServer
from mcp.server.mcpserver import Image
from mcp.server.mcpserver.exceptions import ToolError

from pipe_lab.host.server import free_port

START_SECONDS = 30

_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)


def serve(port: int) -> None:
    """Serve the tools over streamable HTTP until the process is ended."""
    server = MCPServer("lab", log_level="WARNING")
    runs = itertools.count(1)

    @server.tool()
    def add(a: int, b: int) -> str:
        """Add two numbers, and tell which run of this tool it was."""
        return f"{a + b} (run {next(runs)})"

    @server.tool()
    def dot() -> Image:
        """A picture of one pixel."""
        return Image(data=_DOT, format="png")

    @server.tool()
    def fail() -> str:
        """Fail."""
        raise ToolError("the lab's MCP tool is broken")

    server.run("streamable-http", host="127.0.0.1", port=port)


class MCPProcess:
    """The server's process; use it as an async context manager."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where a client connects."""
        return f"http://127.0.0.1:{self.port}/mcp"

    async def __aenter__(self) -> MCPProcess:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", __spec__.name if __spec__ else __name__, str(self.port)),
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_until_it_answers(self._process)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()

    async def _wait_until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while True:
                if process.returncode is not None:
                    raise RuntimeError(f"the MCP server ended with code {process.returncode}")
                try:
                    # Refused as it is no MCP request, but by a server that listens.
                    await client.get(self.url)
                    return
                except httpx.TransportError:
                    await asyncio.sleep(0.05)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
