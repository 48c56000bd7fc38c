"""Artifacts: found by the chat and the person they belong to, by nobody else, and only for a while.

On SQLite, and with `-m service` on PostgreSQL.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec
from tests.storage.artifact_stores import DETAILS, TABLE, call, in_time, kept, open_store, rows, run

DAY = 24 * 3_600


async def test_another_worker_finds_what_was_kept(engine: AsyncEngine) -> None:
    async with open_store() as store, open_store() as other:
        first, second = await kept(store, call()), await kept(store, call(), ["two"])
        assert first < second
        assert await other.load(call(), [first, second]) == {first: DETAILS, second: ["two"]}
    columns = "pipe_id, user_id, chat_id, message_id, kind, codec"
    where = ("openrouter", "user-1", "chat-1", "message-1", "reasoning")
    assert await rows(engine, columns) == [
        (*where, "v1+zlib+aes256gcm"),
        (*where, "v1+plain+aes256gcm"),
    ]


async def test_an_id_that_no_database_takes_holds_up_nothing(engine: AsyncEngine) -> None:
    hostile = replace(call(), message_id="\ud800\0" + "x" * 300)
    async with open_store() as store:
        for context in (hostile, call()):
            await kept(store, context)
        found = {message_id for (message_id,) in await rows(engine, "message_id")}
        assert found == {"?" + "x" * 254, "message-1"}


async def test_an_id_made_up_in_one_chat_blinds_no_other(engine: AsyncEngine) -> None:
    async with open_store() as store, open_store() as other:
        artifact_id = await kept(store, call())
        assert await other.load(call(user="thief"), ["\ud800", "a\0"]) == {}
        assert await other.load(call(), [artifact_id]) == {artifact_id: DETAILS}


@pytest.mark.parametrize("elsewhere", [{"chat": "chat-2"}, {"user": "user-2"}, {"pipe": "other"}])
async def test_no_other_chat_user_or_pipe_finds_it(
    engine: AsyncEngine, elsewhere: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store, open_store() as other:
        artifact_id = store.keep(call(), "reasoning", DETAILS)
        assert await store.load(call(**elsewhere), [artifact_id]) == {}
        await store.settle([artifact_id])
        for _ in range(3):
            assert await other.load(call(**elsewhere), [artifact_id]) == {}
        assert await other.load(call(), [artifact_id]) == {artifact_id: DETAILS}
    assert caplog.text.count("not kept for this chat and user") == 2  # once for each store


async def test_a_row_put_into_another_chat_does_not_open_there(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        artifact_id = await kept(store, call())
        for column in ("chat_id", "user_id", "pipe_id"):
            await run(engine, f"UPDATE {TABLE} SET {column} = 'thief'")
        thief = call(chat="thief", user="thief", pipe="thief")
        assert await store.load(thief, [artifact_id]) == {}
        await run(engine, f"UPDATE {TABLE} SET id = 'another'")
        assert await store.load(thief, ["another"]) == {}
    assert caplog.text.count("put elsewhere") == 1


async def test_the_table_tells_nothing_without_the_passphrase(engine: AsyncEngine) -> None:
    async with open_store() as store:
        open_call = call(ARTIFACT_ENCRYPTION_KEY="", MIN_COMPRESS_BYTES=1_000_000)
        await kept(store, call(MIN_COMPRESS_BYTES=1_000_000))
        await kept(store, open_call)
    (sealed, key_id), (plain, no_key) = await rows(engine, "payload, key_id")
    assert b"gAAAA" not in bytes(sealed)
    assert b"gAAAA" in bytes(plain)
    assert (len(key_id), no_key) == (16, "")


async def test_a_new_passphrase_reads_the_old_ones_rows_while_it_is_named(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    new = {"ARTIFACT_ENCRYPTION_KEY": "a better passphrase"}
    async with open_store() as store:
        before = await kept(store, call())
        after = await kept(store, call(**new))
        rotated = call(**new, ARTIFACT_ENCRYPTION_OLD_KEYS="lost long ago, a passphrase")
        assert set(await store.load(rotated, [before, after])) == {before, after}
        assert await store.load(call(**new), [before, after]) == {after: DETAILS}
    assert "without 1 earlier thoughts: 1 × It was sealed with a key that is not known" in (
        caplog.text
    )


async def test_a_row_that_holds_something_else_is_done_without(
    engine: AsyncEngine, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_store() as store:
        artifact_id = await kept(store, call(ENABLE_REDIS_CACHE=False))
        identity = ("openrouter", "user-1", "chat-1", artifact_id)
        forged = PayloadCodec().seal(b"no JSON", identity)
        await run(engine, f"UPDATE {TABLE} SET payload = :forged", forged=forged)
        assert await store.load(call(ENABLE_REDIS_CACHE=False), [artifact_id]) == {}
    assert "It is not JSON" in caplog.text


async def test_a_passphrase_that_cannot_be_read_never_means_unencrypted(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")
    context = call()
    monkeypatch.setenv("WEBUI_SECRET_KEY", "two")
    async with open_store() as store:
        assert [store.keep(context, "reasoning", DETAILS) for _ in range(3)] == ["", "", ""]
    assert caplog.text.count("a passphrase is lost: WEBUI_SECRET_KEY has changed") == 1


@pytest.mark.parametrize("chat", ["", "temporary:1", "local:1", "channel:1"])
async def test_what_no_saved_chat_can_ask_for_is_not_kept(engine: AsyncEngine, chat: str) -> None:
    async with open_store() as store:
        assert store.keep(call(chat=chat), "reasoning", DETAILS) == ""
        assert store.keep(call(user=""), "reasoning", DETAILS) == ""
        assert store.keep(call(ARTIFACT_STORAGE="chat"), "reasoning", DETAILS) == ""


async def test_many_answers_at_once_lose_and_double_nothing(engine: AsyncEngine) -> None:
    async def turn(store: Any, number: int) -> tuple[int, str]:
        await asyncio.sleep(number % 7 / 1_000)
        artifact_id = store.keep(call(chat=f"chat-{number % 40}"), "reasoning", [number])
        await store.settle([artifact_id])
        return number, artifact_id

    async with open_store() as store, open_store() as other:
        found = await asyncio.gather(*(turn((store, other)[n % 2], n) for n in range(200)))
        for number, artifact_id in found:
            context = call(chat=f"chat-{number % 40}")
            assert await other.load(context, [artifact_id]) == {artifact_id: [number]}
    assert len(await rows(engine)) == 200


async def test_closing_writes_what_waits(engine: AsyncEngine) -> None:
    async with open_store() as store:
        ids = [store.keep(call(), "reasoning", [number]) for number in range(30)]
    assert [row.id for row in await rows(engine)] == sorted(ids)


async def test_use_lets_a_row_live_on_and_the_unused_one_goes(engine: AsyncEngine) -> None:
    now = [1_000_000_000.0]
    await run(engine, "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY)")
    await run(engine, "INSERT INTO chat VALUES ('chat-1')")
    async with open_store(clock=lambda: now[0]) as store:
        used, unused = await kept(store, call()), await kept(store, call())
        others = await kept(store, call(pipe="another pipe"))
        now[0] += 60 * DAY
        await store.load(call(ENABLE_REDIS_CACHE=False), [used])  # it may be read there for an hour
        later = now[0]

        async def is_noted() -> bool:
            return (used, later) in [tuple(row) for row in await rows(engine, "id, used_at")]

        await in_time(is_noted)
        now[0] += 60 * DAY
        await store.sweep()
        assert {row.id for row in await rows(engine)} == {used, others}
        assert unused not in await store.load(call(), [used, unused])


async def test_rows_go_with_their_chat(engine: AsyncEngine) -> None:
    now = [1_000_000_000.0]
    await run(engine, "CREATE TABLE chat (id VARCHAR(255) PRIMARY KEY)")
    await run(engine, "INSERT INTO chat VALUES ('chat-1')")
    async with open_store(clock=lambda: now[0]) as store, open_store(clock=lambda: now[0]) as other:
        stays = await kept(store, call())
        for number in range(450):
            store.keep(call(chat="deleted"), "reasoning", [number])
        await kept(store, call(chat="deleted"))
        now[0] += 7_200
        young = await kept(store, call(chat="not saved yet"))
        await asyncio.gather(store.sweep(), other.sweep())
        assert {row.id for row in await rows(engine)} == {stays, young}


async def test_nothing_goes_while_the_chats_cannot_be_read(engine: AsyncEngine) -> None:
    now = [1_000_000_000.0]
    async with open_store(clock=lambda: now[0]) as store:
        await kept(store, call())
        now[0] += 7_200
        with pytest.raises(Exception, match="chat"):
            await store.sweep()
    assert len(await rows(engine)) == 1
