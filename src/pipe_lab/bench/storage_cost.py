"""What keeping things costs: a turn with its thinking in the database, the ledger, the archives."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from pipe_lab.load_pipe import load_pipe
from pipe_lab.simulator import Answer, Message, Reasoning, Reply, answer_reply
from pipe_lab.simulator.remote import RemoteSimulator

from .pairs import Comparison, compare

ROUNDS = 150
REQUESTS = 2_000
ARCHIVES = 50
LINE = b'{"kind":"item","text":"%s"}'
SEAL_BYTES = 12_000
_WHO = {"user_id": "bench", "session_id": "bench"}
_PASSPHRASE = "a passphrase for the benchmark"


@dataclass(frozen=True, slots=True)
class Bench:
    """A pipe in each of the two modes, the simulator and the database behind them."""

    pipes: Mapping[str, Any]
    simulator: RemoteSimulator
    engine: AsyncEngine

    async def turns(self, *, later: bool) -> Comparison:
        """Seconds of a first turn, or of a second one, in both modes by turns."""
        return await compare(
            {name: lambda name=name: self._seconds(name, later) for name in self.pipes}, ROUNDS
        )

    async def table(self) -> tuple[float, float]:
        """How many rows a turn has, and the bytes of a row's payload."""
        turns = "count(DISTINCT chat_id || message_id)"
        query = f"SELECT count(*), {turns}, sum(length(payload)) FROM openrouter_pipe_artifacts"
        async with self.engine.begin() as connection:
            rows, turns, size = (await connection.execute(text(query))).one()
        return rows / turns, int(size) / rows

    async def _seconds(self, mode: str, later: bool) -> float:
        chat = {**_WHO, "chat_id": f"{mode}-{time.perf_counter_ns()}"}
        question = {"role": "user", "content": "Two and two?"}
        _, details = await self._turn(mode, [question], chat) if later else (0.0, [])
        thought = {"role": "assistant", "content": "Four.", "reasoning_details": details}
        messages = [question, thought, question] if later else [question]
        seconds, details = await self._turn(mode, messages, chat)
        is_referred = details[0]["type"].startswith("openrouter_pipe.")
        if is_referred != (mode == "database"):
            raise RuntimeError(f"{mode}: the thinking is kept elsewhere")
        return seconds

    async def _turn(
        self, mode: str, messages: list[Any], chat: dict[str, str]
    ) -> tuple[float, list[Any]]:
        await self.simulator.script(_thinking_reply())
        body = {"model": f"{mode}.openai.gpt-5", "messages": messages, "stream": True}
        metadata = {**chat, "message_id": f"message-{len(messages)}"}
        started = time.perf_counter()
        answer = await self.pipes[mode].pipe({**body}, metadata)
        events = [event async for event in answer]
        seconds = time.perf_counter() - started
        items = (event.get("item") or {} for event in events)
        details = [detail for item in items for detail in item.get("reasoning_details") or ()]
        return seconds, details


def _thinking_reply() -> Reply:
    seal = f"gAAAAA{urlsafe_b64encode(os.urandom(SEAL_BYTES * 3 // 4)).decode()}"
    thought = Reasoning(("Hm.",), "summary", seal, format="openai-responses-v1")
    return answer_reply(Answer((thought, Message(("Four.",)))))


@asynccontextmanager
async def storage_bench(
    bundle: Path, base_url: str, api_key: str, database_url: str = ""
) -> AsyncIterator[Bench]:
    """The bench on a SQLite file of its own, or on another database that is empty."""
    with tempfile.TemporaryDirectory(prefix="pipe-bench-") as folder:
        engine = create_async_engine(database_url or f"sqlite+aiosqlite:///{folder}/webui.db")
        _stand_in_for_open_webui(engine)
        # The closing line would ask for the chat, and there is none.
        common = {"API_KEY": api_key, "BASE_URL": base_url, "SHOW_FINAL_USAGE_STATUS": False}
        kept = {"ARTIFACT_STORAGE": "database", "ARTIFACT_ENCRYPTION_KEY": _PASSPHRASE}
        pipes = {
            "chat": load_pipe(bundle, common, "chat"),
            "database": load_pipe(bundle, {**common, **kept}, "database"),
        }
        if engine.dialect.name == "sqlite":  # as Open WebUI opens it
            async with engine.connect() as connection:
                await connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        async with RemoteSimulator(base_url) as simulator:
            yield Bench(pipes, simulator, engine)
        for pipe in pipes.values():
            await pipe.close()
        await engine.dispose()


def _stand_in_for_open_webui(engine: AsyncEngine) -> None:
    """The engine where the pipe looks for it."""
    names = ("open_webui", "open_webui.internal", "open_webui.internal.db", "open_webui.env")
    for name in names:
        sys.modules[name] = ModuleType(name)
    sys.modules["open_webui.internal.db"].__dict__["async_engine"] = engine
    sys.modules["open_webui.env"].__dict__.update(DATABASE_SCHEMA=None, VERSION="0.12.4")


async def ledger_cpu() -> float:
    """CPU seconds of one request in the ledger: noted, and its share of what is written."""
    pipe = sys.modules["function_chat"].__dict__
    settings = pipe["take_snapshot"](pipe["SystemValves"]())
    context = pipe["RequestContext"](
        request_id="bench", function_id="chat", settings=settings, model="a/one", user_id="bench"
    )
    usage = pipe["Usage"](input_tokens=5, output_tokens=2, cost=0.01)
    end, ledger = pipe["RequestEnd"]("finished", usage, "Lab"), pipe["SpendLedger"]()
    started = time.process_time()
    for _ in range(REQUESTS):
        ledger.note(context, end, None)
    await ledger.close()
    return (time.process_time() - started) / REQUESTS


def archive_rates() -> tuple[float, float, float]:
    """Bytes of records a second, written and read, and what share of them the disk holds."""
    pipe = sys.modules["function_chat"].__dict__
    codec = pipe["PayloadCodec"](_PASSPHRASE, use_lz4=False)
    words = [f"{number:x}{'aeiou'[number % 5]}" for number in range(3_000, 9_000)]
    chance = random.Random(7)
    lines = [LINE % " ".join(chance.choices(words, k=200)).encode() for _ in range(300)]
    size = ARCHIVES * sum(map(len, lines))
    with tempfile.TemporaryDirectory(prefix="pipe-bench-") as folder:
        root = Path(folder)
        paths = [
            pipe["archive_path"](root, ("user", "chat"), (f"{number}", "request"))
            for number in range(ARCHIVES + 1)
        ]
        pipe["write_archive"](root, paths.pop(), lines, codec)  # derives the key
        started = time.perf_counter()
        for path in paths:
            pipe["write_archive"](root, path, lines, codec)
        written = time.perf_counter()
        for path in paths:
            pipe["read_archive"](path, codec)
        read = time.perf_counter()
        share = sum(path.stat().st_size for path in paths) / size
    return size / (written - started), size / (read - written), share
