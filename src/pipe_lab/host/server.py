"""One Open WebUI server process on loopback: started, waited for, stopped."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

START_SECONDS = 180
STOP_SECONDS = 15
LOG_LINES = 40

# What a server may see of our own environment: programs, temporary files, the way to the network.
_INHERITED = (
    *("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR", "TZ"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)

# Nothing here asks the network for anything, and a file attached to a chat is read without an
# embedding model: its text goes into the prompt whole.
_QUIET = {
    "OFFLINE_MODE": "true",
    "ENABLE_VERSION_UPDATE_CHECK": "false",
    "ANONYMIZED_TELEMETRY": "false",
    "DO_NOT_TRACK": "true",
    "SCARF_NO_ANALYTICS": "true",
    "ENABLE_OLLAMA_API": "false",
    "ENABLE_OPENAI_API": "false",
    "ENABLE_COMMUNITY_SHARING": "false",
    "ENABLE_EVALUATION_ARENA_MODELS": "false",
    "RAG_EMBEDDING_ENGINE": "openai",
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "true",
    "UVICORN_WORKERS": "1",
    "NO_PROXY": "127.0.0.1,localhost",
    "no_proxy": "127.0.0.1,localhost",
}


class ServerError(Exception):
    """The server did not start; the text ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How one server is started."""

    data_folder: Path
    port: int = 0
    auth: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    """Set over everything else: a `DATABASE_URL` and key in common make workers of one site."""


class OpenWebUIServer:
    """A running Open WebUI; use it as an async context manager."""

    def __init__(self, python: Path, settings: ServerSettings) -> None:
        self.python = python
        self.settings = settings
        self.port = settings.port or free_port()
        self.log_path = settings.data_folder / "server.log"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that serves; the lab starts a single worker."""
        if self._process is None:
            raise ServerError("the server is not running")
        return self._process.pid

    async def __aenter__(self) -> OpenWebUIServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the process and return when it answers; on failure show the end of its log."""
        folder = self.settings.data_folder
        folder.mkdir(parents=True, exist_ok=True)
        environment = _environment(self.settings, self.url)
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(self.python.with_name("open-webui")),
                *("serve", "--host", "127.0.0.1", "--port", str(self.port)),
                cwd=folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=asyncio.subprocess.STDOUT,
                # Its own process group: Ctrl-C reaches the lab alone, which stops it in order.
                start_new_session=True,
            )
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_until_healthy(self._process)
        except BaseException as exc:
            await self.stop()
            if isinstance(exc, TimeoutError):
                raise ServerError(self._with_log("did not answer in time")) from exc
            raise

    async def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ask the process group to end, and end it when it does not."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            _signal_group(process.pid, how)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            pass
        finally:
            # Also when the wait itself is cancelled: an impatient second Ctrl-C.
            if process.returncode is None:
                _signal_group(process.pid, signal.SIGKILL)
        await process.wait()

    async def kill(self) -> None:
        """End it as a crash would: nothing is asked, nothing is finished."""
        _signal_group(self.pid, signal.SIGKILL)
        await self.wait()

    async def wait(self) -> int:
        """Wait until the process ends by itself, and return its exit code."""
        if self._process is None:
            raise ServerError("the server is not running")
        return await self._process.wait()

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """The last lines the server wrote."""
        if not self.log_path.exists():
            return ""
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    async def _wait_until_healthy(self, process: asyncio.subprocess.Process) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=5) as client:
            while True:
                if process.returncode is not None:
                    raise ServerError(self._with_log(f"ended with code {process.returncode}"))
                try:
                    if (await client.get("/health")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.2)

    def _with_log(self, what: str) -> str:
        return (
            f"Open WebUI on port {self.port} {what}. The end of {self.log_path}:\n{self.log_tail()}"
        )


def free_port() -> int:
    """A loopback port nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _environment(settings: ServerSettings, url: str) -> dict[str, str]:
    """The whole environment of the server; nothing of the caller's own settings leaks in."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        **_QUIET,
        "DATA_DIR": str(settings.data_folder),
        "WEBUI_SECRET_KEY": _secret_key(settings.data_folder),
        "WEBUI_AUTH": str(settings.auth),
        "CORS_ALLOW_ORIGIN": f"{url};{url.replace('127.0.0.1', 'localhost')}",
        "WEBUI_URL": url,
        "PYTHONUNBUFFERED": "1",
        **settings.environment,
    }


def _secret_key(folder: Path) -> str:
    """The key of this data folder: a kept folder must be readable after a restart."""
    path = folder / "secret_key"
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def _signal_group(pid: int, number: signal.Signals) -> None:
    # The process may end between the look and the signal.
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
