"""Archives of whole turns: what was asked and answered is in them, and off there is nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.context import current_records
from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.storage.archive_file import read_archive
from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec
from pipe_lab.simulator import (
    Answer,
    FunctionCall,
    Simulator,
    answer_reply,
    error_reply,
    text_reply,
)
from tests.turns.calls import CHAT, chat, make_pipe, next_text, stalled, start_chat, whole
from tests.turns.test_rounds import QUIET, add, turn

PASSPHRASE = "a long passphrase"
KEY = "sk-gate-1"


def archiving_pipe(simulator: Simulator, folder: Path, **valves: Any) -> Pipe:
    archives = {
        "SESSION_LOG_STORE_ENABLED": True,
        "SESSION_LOG_PASSPHRASE": PASSPHRASE,
        "SESSION_LOG_DIR": str(folder),
    }
    return make_pipe(simulator, API_KEY=KEY, **{**QUIET, **archives, **valves})


def read_all(folder: Path) -> list[list[dict[str, Any]]]:
    paths = sorted(folder.rglob("*.orlog"), key=lambda path: path.stat().st_mtime_ns)
    return [read_archive(path, PayloadCodec(PASSPHRASE)) for path in paths]


async def archives(pipe: Pipe, folder: Path) -> list[list[dict[str, Any]]]:
    """All there are once the pipe is closed, the oldest first."""
    await pipe.close()
    return await asyncio.to_thread(read_all, folder)


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


async def test_an_answer_is_archived_with_its_requests_items_steps_and_end(
    simulator: Simulator, tmp_path: Path
) -> None:
    simulator.script(answer_reply(Answer((FunctionCall("add", "call_1", ('{"a": 1}',)),))))
    simulator.script(text_reply(f"Three. {KEY} and sk-or-v1-0123456789abcdef"))
    pipe = archiving_pipe(simulator, tmp_path)
    asked = {"messages": [{"role": "user", "content": "One and two?"}]}
    async with asyncio.timeout(10):
        async for _ in await turn(pipe, CHAT, asked, add=add):
            pass
    [[session, *records]] = await archives(pipe, tmp_path)
    kinds = Counter(record["kind"] for record in records)
    assert (kinds["request"], kinds["answer"], kinds["finished"]) == (2, 2, 1)
    assert session["outcome"] == "finished" and session["records"] == len(records)
    assert {name: session[name] for name in CHAT} == CHAT
    first, second = of_kind(records, "request")
    assert first["path"] == "/responses" and "One and two?" in str(first["body"]["input"])
    assert len(second["body"]["input"]) > len(first["body"]["input"])
    items = {record["item"]: record for record in of_kind(records, "item")}
    assert items["MessageItem"]["text"] == "Three. [redacted] and [redacted]"
    assert {"FunctionCallItem", "ToolOutputItem"} <= items.keys()
    steps = {record["name"] for record in of_kind(records, "timing")}
    assert {"admission", "first event", "tools", "turn"} <= steps
    assert KEY not in str(records)


async def test_failed_and_stopped_answers_are_archived_with_what_had_come(
    simulator: Simulator, tmp_path: Path
) -> None:
    pipe = archiving_pipe(simulator, tmp_path)
    simulator.script(error_reply(400, "No such thing"))
    await chat(pipe)
    simulator.script(stalled("One two three"))
    async with aclosing(await start_chat(pipe)) as answer:
        text = await next_text(answer)
    [failed, *failure], [stopped, *rest] = await archives(pipe, tmp_path)
    assert (failed["outcome"], stopped["outcome"]) == ("failed", "stopped")
    assert "No such thing" in of_kind(failure, "failed")[0]["error"]
    assert of_kind(failure, "answer")[0]["status"] == 400
    assert failed["request_id"] in of_kind(failure, "log")[-1]["text"]
    assert of_kind(rest, "unfinished")[0]["text"].startswith(text)


async def test_off_nothing_is_collected_or_written(simulator: Simulator, tmp_path: Path) -> None:
    pipe = archiving_pipe(simulator, tmp_path, SESSION_LOG_STORE_ENABLED=False)
    simulator.script(text_reply("Hello"))
    async with aclosing(await start_chat(pipe)) as answer:
        await next_text(answer)
        assert current_records() is None
    assert await archives(pipe, tmp_path) == []


@pytest.mark.parametrize("task", ["title_generation", None])
async def test_chores_and_api_clients_leave_no_archive(
    simulator: Simulator, tmp_path: Path, task: str | None
) -> None:
    pipe = archiving_pipe(simulator, tmp_path)
    simulator.script(text_reply("Hello"))
    await whole(pipe, task=task)
    assert await archives(pipe, tmp_path) == []
