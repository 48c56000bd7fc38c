"""Thinking kept in Open WebUI's own database: across turns, and gone with its chat."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import Answer, Message, Reasoning, answer_reply, text_reply
from tests.live.stage import Stage, thoughts_sent

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

THINKER = "openrouter.openai.gpt-5"
BLOB = "gAAAAsecret.eyJlbmRwb2ludCJ9"


def rows(stage: Stage, chat_id: str) -> list[Any]:
    """What the table has of a chat."""
    with closing(sqlite3.connect(stage.server.settings.data_folder / "webui.db")) as database:
        asked = "SELECT id, codec, payload FROM openrouter_pipe_artifacts WHERE chat_id = ?"
        return database.execute(asked, (chat_id,)).fetchall()


async def test_the_second_turn_has_the_thinking_that_the_chat_only_refers_to(
    stage: Stage, page: ChatPage
) -> None:
    await stage.set_valves(ARTIFACT_STORAGE="database", ARTIFACT_ENCRYPTION_KEY="a passphrase")
    thought = Reasoning(("Hm.",), "summary", BLOB, format="openai-responses-v1")
    stage.simulator.script(answer_reply(Answer((thought, Message(("Four.",))))))
    stage.simulator.script(text_reply("Five."))
    stage.simulator.script(text_reply("Six."))

    first = await page.ask(THINKER, "Two and two?")
    await page.ask(THINKER, "And one more?", after=first)

    assert thoughts_sent(stage.completions()[-1]) == [BLOB]
    saved = await stage.admin.message(first.chat_id, first.reply.message_id)
    (details,) = [
        item["reasoning_details"] for item in saved["output"] if "reasoning_details" in item
    ]
    ((artifact_id, codec, payload),) = rows(stage, first.chat_id)
    assert details == [{"type": "openrouter_pipe.stored", "id": artifact_id, "sealed": 1}]
    assert BLOB not in str(await stage.admin.chat(first.chat_id))
    assert codec.endswith("aes256gcm") and BLOB.encode() not in payload

    copy = await stage.admin.post(f"/api/v1/chats/{first.chat_id}/clone", {})
    in_copy = replace(first, chat_id=copy["id"])
    turn = await page.ask(THINKER, "And one more?", after=in_copy)

    answered = await stage.admin.message(copy["id"], turn.reply.message_id)
    assert answered["content"] == "Six."
    assert thoughts_sent(stage.completions()[-1]) == []
