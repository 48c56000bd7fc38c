"""Session archives of a real server: written beside the chat, read with the pasted file itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import text_reply
from tests.live.stage import Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
PIPE = Path(__file__).resolve().parents[2] / "dist" / "pipe.py"


def unlocked(folder: Path, *options: str, passphrase: str = "a passphrase") -> Any:
    return subprocess.run(
        [sys.executable, str(PIPE), "unlock", "--json", *options, str(folder)],
        env={"SESSION_LOG_PASSPHRASE": passphrase},
        capture_output=True,
        text=True,
        check=False,
    )


def archives(folder: Path) -> list[Path]:
    return [*folder.rglob("*.orlog")]


async def test_a_chat_is_archived_while_that_is_on(
    stage: Stage, page: ChatPage, tmp_path: Path
) -> None:
    secret = "sk-or-v1-" + "0123456789abcdef" * 4
    await stage.set_valves(
        SESSION_LOG_STORE_ENABLED=True,
        SESSION_LOG_PASSPHRASE="a passphrase",
        SESSION_LOG_DIR=str(tmp_path),
    )
    stage.simulator.script(text_reply("Seven."))
    first = await page.ask(MODEL, f"What is four and three? My key is {secret}")

    async def is_missing() -> bool:
        return not archives(tmp_path)

    assert not await settled(is_missing)
    [path] = archives(tmp_path)
    assert path.parent.name == first.chat_id
    assert path.name.startswith(f"{first.reply.message_id}.")
    done = unlocked(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    session, *records = map(json.loads, done.stdout.splitlines())
    assert (session["outcome"], session["chat_id"]) == ("finished", first.chat_id)
    by_kind = {record["kind"]: record for record in records}
    assert "What is four and three?" in str(by_kind["request"]["body"])
    assert by_kind["answer"]["status"] == 200
    assert by_kind["item"]["text"] == "Seven."
    assert "timing" in by_kind and "finished" in by_kind
    sent = stage.completions()[-1].headers["authorization"].removeprefix("Bearer ")
    assert secret not in done.stdout and sent not in done.stdout
    refused = unlocked(tmp_path, passphrase="another")
    assert refused.returncode == 1 and "a key that is not known here" in refused.stderr

    await stage.set_valves(SESSION_LOG_STORE_ENABLED=False)
    stage.simulator.script(text_reply("Eight."))
    await page.ask(MODEL, "And one more?", after=first)
    assert archives(tmp_path) == [path]
