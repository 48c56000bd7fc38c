"""Thinking kept in the database: the chat only refers to it, and the next turn has it again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect
from sqlalchemy.event import listen
from sqlalchemy.ext.asyncio import AsyncEngine

from pipe_lab.simulator import (
    Answer,
    FunctionCall,
    Message,
    Reasoning,
    Reply,
    Simulator,
    answer_reply,
    text_reply,
)
from tests.storage.artifact_stores import TABLE, call, in_time, kept, open_store, rows, run
from tests.turns.calls import CHAT, Json, body, make_pipe, next_text, start_chat
from tests.turns.test_rounds import QUIET, items, offer

# Its own table is no business of these tests.
ALONE = {**QUIET, "SPEND_LEDGER": False}
DATABASE = {**ALONE, "ARTIFACT_STORAGE": "database", "ARTIFACT_ENCRYPTION_KEY": "a passphrase"}


def thought(blob: str) -> Reasoning:
    return Reasoning(("Hm.",), "summary", blob, format="openai-responses-v1")


def thinking_reply(text: str = "Four.", blob: str = "gAAAA-one") -> Reply:
    return answer_reply(Answer((thought(blob), Message((text,)))))


async def ask(pipe: Any, extra: Json | None = None, **caller: str) -> list[Json]:
    """One turn of a saved chat: the items of its message."""
    answer = await pipe.pipe({**body(), **(extra or {})}, {**CHAT, **caller})
    return items([event async for event in answer])


def saved_answer(saved: list[Json]) -> Json:
    """The message that Open WebUI makes of the items for the next turn."""
    details = [detail for item in saved for detail in item.get("reasoning_details", [])]
    texts = [item["content"][0]["text"] for item in saved if item.get("type") == "message"]
    return {"role": "assistant", "content": "\n".join(texts), "reasoning_details": details}


def going_on(saved: list[Json]) -> Json:
    question = {"role": "user", "content": "Two and two?"}
    return {"messages": [question, saved_answer(saved), {"role": "user", "content": "And?"}]}


def blobs_sent(simulator: Simulator) -> list[str]:
    sent = simulator.requests[-1].body["input"]
    return [item["encrypted_content"] for item in sent if item.get("type") == "reasoning"]


def hurry_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes a moment after the first use."""
    monkeypatch.setattr("random.uniform", lambda least, most: 0.0001)


async def test_what_is_kept_is_cleaned_up_although_no_more_is(
    simulator: Simulator, engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store() as store:
        await kept(store, call(chat="deleted"))
    await run(engine, "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY)")
    await run(engine, f"UPDATE {TABLE} SET created_at = created_at - 7200")
    archive = tmp_path / "user-1" / "chat-1" / "message.request.orlog"
    await asyncio.to_thread(archive.parent.mkdir, parents=True)
    archive.touch()
    os.utime(archive, (0, 0))
    hurry_clean_up(monkeypatch)
    pipe = make_pipe(simulator, **ALONE, SESSION_LOG_DIR=str(tmp_path))
    simulator.script(text_reply("Yes."))
    await ask(pipe)

    async def is_clean() -> bool:
        return not await rows(engine) and not archive.exists()

    await in_time(is_clean)
    await pipe.close()


async def test_a_clean_up_makes_no_table(
    simulator: Simulator, engine: AsyncEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry_clean_up(monkeypatch)
    asked: list[str] = []
    listen(engine.sync_engine, "after_cursor_execute", lambda *about: asked.append(about[2]))
    pipe = make_pipe(simulator, **ALONE, SESSION_LOG_DIR=str(tmp_path))
    simulator.script(text_reply("Yes."))
    await ask(pipe)

    async def has_looked() -> bool:
        return len(asked) > 2

    await in_time(has_looked)
    await pipe.close()
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    assert names == []


async def test_the_next_turn_sends_what_the_chat_only_refers_to(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, **DATABASE)
    simulator.script(thinking_reply())
    saved = await ask(pipe)
    assert "gAAAA-one" not in str(saved)
    (reference,) = saved[0]["reasoning_details"]
    assert [row.id for row in await rows(engine)] == [reference["id"]]
    simulator.script(text_reply("Five."))
    await ask(pipe, going_on(saved))
    assert blobs_sent(simulator) == ["gAAAA-one"]
    assert reference["id"] not in str(simulator.requests[-1].body)


async def test_the_row_is_there_before_the_answer_ends(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    simulator.script(thinking_reply())
    answer = await make_pipe(simulator, **DATABASE).pipe(body(), CHAT)
    async for event in answer:
        if event["type"] == "response.completed":
            assert len(await rows(engine)) == 1
            return
    raise AssertionError("the answer did not end")


async def test_a_stopped_answer_leaves_no_reference_without_its_row(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, **DATABASE)
    simulator.script(thinking_reply("One two three four"))
    answer = await start_chat(pipe)
    await next_text(answer)
    await answer.aclose()
    await pipe.close()
    assert len(await rows(engine)) == 1


async def test_the_rounds_of_one_answer_use_the_thinking_itself(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    async def add(a: int = 0) -> str:
        return f"{a + 1}"

    call = FunctionCall("add", "call_1", ('{"a":1}',))
    simulator.script(answer_reply(Answer((thought("first"), call))))
    simulator.script(answer_reply(Answer((thought("second"), Message(("Two.",))))))
    offered, entries = offer(add=add)
    answer = await make_pipe(simulator, **DATABASE).pipe(
        {**body(), **offered}, CHAT, __tools__=entries
    )
    saved = items([event async for event in answer])
    assert blobs_sent(simulator) == ["first"]
    assert len(await rows(engine)) == 2
    assert "first" not in str([item.get("reasoning_details") for item in saved])


async def test_the_order_within_an_answer_survives(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, **DATABASE)
    parts = (Message(("One.",)), thought("between"), Message(("Two.",)))
    simulator.script(answer_reply(Answer(parts)))
    simulator.script(text_reply("Three."))
    await ask(pipe, going_on(await ask(pipe)))
    sent = simulator.requests[-1].body["input"][1:4]
    assert [item.get("encrypted_content") or item["content"] for item in sent] == [
        "One.",
        "between",
        "Two.",
    ]


@pytest.mark.parametrize("caller", [{"chat_id": "a copy"}, {"user_id": "another"}])
async def test_a_copied_chat_goes_on_without(
    simulator: Simulator, engine: AsyncEngine, caller: dict[str, str]
) -> None:
    pipe = make_pipe(simulator, **DATABASE)
    simulator.script(thinking_reply())
    saved = await ask(pipe)
    simulator.script(text_reply("Five."))
    after = await ask(pipe, going_on(saved), **caller)
    assert saved_answer(after)["content"] == "Five."
    assert blobs_sent(simulator) == []


@pytest.mark.parametrize(("kept", "sent"), [("disabled", []), ("next_reply", ["gAAAA-one"])])
async def test_how_long_thinking_goes_back_is_the_settings_choice_here_too(
    simulator: Simulator, engine: AsyncEngine, kept: str, sent: list[str]
) -> None:
    pipe = make_pipe(simulator, **DATABASE, PERSIST_REASONING_TOKENS=kept)
    simulator.script(thinking_reply())
    saved = await ask(pipe)
    for expected in (sent, []):
        simulator.script(text_reply("Five."))
        more = going_on(saved)
        if expected == []:
            more["messages"] += [{"role": "assistant", "content": "Five."}, more["messages"][0]]
        await ask(pipe, more)
        assert blobs_sent(simulator) == expected


async def test_without_a_database_that_works_the_chat_carries_its_thinking(
    simulator: Simulator,
) -> None:
    pipe = make_pipe(simulator, **DATABASE)  # and no Open WebUI around it
    simulator.script(thinking_reply())
    simulator.script(text_reply("Five."))
    await ask(pipe, going_on(await ask(pipe)))
    assert blobs_sent(simulator) == ["gAAAA-one"]


async def test_in_the_chat_by_default_and_no_table_is_made(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, **ALONE)
    simulator.script(thinking_reply())
    saved = await ask(pipe)
    assert saved[0]["reasoning_details"][-1]["data"] == "gAAAA-one"
    async with engine.connect() as connection:
        assert await connection.run_sync(lambda c: inspect(c).get_table_names()) == []


async def test_what_was_kept_is_found_after_a_return_to_the_chat(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    simulator.script(thinking_reply())
    saved = await ask(make_pipe(simulator, **DATABASE))
    simulator.script(text_reply("Five."))
    back = {**DATABASE, "ARTIFACT_STORAGE": "chat"}
    await ask(make_pipe(simulator, **back), going_on(saved))
    assert blobs_sent(simulator) == ["gAAAA-one"]
