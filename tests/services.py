"""Real PostgreSQL and Redis servers on loopback, and Open WebUI's database as the pipe finds it."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pipe_lab.host.server import free_port

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

PATIENCE = 30
"""Seconds until a server that should start or stop counts as broken."""

WITH_REDIS = "postgresql+redis"
DATABASES = (
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.service),
    pytest.param(WITH_REDIS, marks=pytest.mark.service),
)
"""For `parametrize(..., indirect=True)` on what builds on `engine`."""


class Service:
    """One server process in a folder of its own; it may be stopped and started again."""

    def __init__(self, name: str) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"pipe-{name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """What starts it."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it serves already."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, and return when it answers."""
        log = (self.folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, cwd=self.folder, user=_owner()
            )
        deadline = time.monotonic() + PATIENCE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.folder / "server.log").read_text(errors="replace"))
            time.sleep(0.05)

    def send(self, how: signal.Signals) -> None:
        """Send it a signal; one that ends it is for `stop`."""
        if self._process is not None:
            self._process.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it; what it has on disk stays for the next start."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(PATIENCE)
            self._process = None

    def remove(self) -> None:
        """Stop it, and leave nothing behind."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(Service):
    """A PostgreSQL server with as many databases as one asks for."""

    def __init__(self) -> None:
        super().__init__("postgresql")
        self._numbers = count(1)
        self._data = self.folder / "data"
        if (owner := _owner()) is not None:
            os.chown(self.folder, owner, -1)
        self._run("initdb", "-D", str(self._data), "-U", "lab", "-A", "trust", "-N", "-E", "UTF8")

    def command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
        }
        options = [part for pair in settings.items() for part in ("-c", "=".join(pair))]
        return [postgresql_program("postgres"), "-D", str(self._data), *self._at(), *options]

    def answers(self) -> bool:
        ready = [postgresql_program("pg_isready"), "-h", "127.0.0.1", *self._at()]
        return subprocess.run(ready, capture_output=True).returncode == 0

    def new_database(self) -> str:
        """The URL of an empty database, as Open WebUI's `DATABASE_URL` names one."""
        name = f"test_{next(self._numbers)}"
        self._run("createdb", "-h", "127.0.0.1", *self._at(), "-U", "lab", name)
        return f"postgresql://lab@127.0.0.1:{self.port}/{name}"

    def _at(self) -> Sequence[str]:
        return "-p", str(self.port)

    def _run(self, program: str, *arguments: str) -> None:
        command = [postgresql_program(program), *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder, user=_owner())


class RedisServer(Service):
    """A Redis server that keeps nothing on disk."""

    def __init__(self) -> None:
        super().__init__("redis")
        if (owner := _owner()) is not None:
            os.chown(self.folder, owner, -1)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Sequence[str]:
        return ["redis-server", "--bind", "127.0.0.1", "--port", str(self.port), "--save", ""]

    def answers(self) -> bool:
        ping = ["redis-cli", "-p", str(self.port), "ping"]
        return subprocess.run(ping, capture_output=True).stdout.strip() == b"PONG"


def postgresql_program(name: str) -> str:
    """Where one of PostgreSQL's programs is: Debian keeps the server's off the path."""
    kept_off = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(kept_off[-1]) if kept_off else "")


def _owner() -> int | None:
    """Who runs a server: PostgreSQL refuses to be run by root."""
    if os.geteuid():
        return None
    names = {user.pw_name: user.pw_uid for user in pwd.getpwall()}
    return names.get("postgres", names.get("nobody"))


@pytest.fixture(scope="session")
def postgresql() -> Generator[PostgreSQL]:
    """A PostgreSQL server for the whole run."""
    if not postgresql_program("initdb"):
        pytest.skip("PostgreSQL is not installed")
    server = PostgreSQL()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def redis_server() -> Generator[RedisServer]:
    """A Redis server for the whole run."""
    if not shutil.which("redis-server"):
        pytest.skip("Redis is not installed")
    server = RedisServer()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture
async def redis_client(redis_server: RedisServer) -> AsyncGenerator[Any]:
    """The empty Redis of Open WebUI's configuration, where the pipe looks for it."""
    client = client_of(redis_server.url)
    await client.flushall()
    with pytest.MonkeyPatch.context() as patch:
        for name, module in redis_modules(client).items():
            patch.setitem(sys.modules, name, module)
        yield client
    await client.aclose()


def client_of(url: str) -> Any:
    """A client as Open WebUI makes one (`utils/redis.py`)."""
    from redis.asyncio import ConnectionError, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    once = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
    return Redis.from_url(url, decode_responses=True, retry=once)


def redis_modules(client: Any) -> dict[str, ModuleType]:
    """Those of Open WebUI's modules that lead to a Redis."""
    found = ModuleType("open_webui.utils.redis")
    found.__dict__["get_redis_client"] = lambda async_mode: client
    packages = {name: ModuleType(name) for name in ("open_webui", "open_webui.utils")}
    return {**packages, found.__name__: found}


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, for SQLAlchemy's asyncio engine; where it says so, with a Redis."""
    if request.param == WITH_REDIS:
        request.getfixturevalue("redis_client")
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'webui.db'}"
    server: PostgreSQL = request.getfixturevalue("postgresql")
    return server.new_database().replace("postgresql:", "postgresql+psycopg:")


@pytest.fixture
async def engine(database_url: str) -> AsyncGenerator[AsyncEngine]:
    """Open WebUI's engine on that database, where the pipe looks for it."""
    # Loaded only here: it asks for more than SQLAlchemy, and most tests need neither.
    from sqlalchemy.ext.asyncio import create_async_engine

    made = create_async_engine(database_url)
    database, environment = ModuleType("open_webui.internal.db"), ModuleType("open_webui.env")
    database.__dict__["async_engine"] = made
    environment.__dict__.update(DATABASE_SCHEMA=None, VERSION="0.12.4", REDIS_KEY_PREFIX="lab")
    with pytest.MonkeyPatch.context() as patch:
        for module in (database, environment):
            patch.setitem(sys.modules, module.__name__, module)
        for name in ("open_webui", "open_webui.internal"):
            patch.setitem(sys.modules, name, ModuleType(name))
        yield made
        # A look at the table that no call waited for: its connection must come back first.
        if beside := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(beside, timeout=1)
    await made.dispose()
