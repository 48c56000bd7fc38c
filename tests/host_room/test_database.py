"""Tables of our own in Open WebUI's database: made once, by whoever comes first."""

from __future__ import annotations

import asyncio
import sys

import pytest
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from open_webui_openrouter_pipe.host.database import OwnTable

NOTES = Table(
    "openrouter_pipe_test_notes",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("words", Text),
    Index("openrouter_pipe_test_notes_words", "words"),
)


async def write(table: OwnTable, number: int, words: str = "") -> None:
    async with table.begin() as connection:
        await connection.execute(NOTES.insert().values(id=number, words=words))


async def read(table: OwnTable) -> list[int]:
    async with table.begin() as connection:
        return list((await connection.execute(select(NOTES.c.id))).scalars())


async def test_a_table_is_made_with_its_indexes_when_it_is_first_used(engine: AsyncEngine) -> None:
    await write(OwnTable(NOTES), 1)
    async with engine.connect() as connection:
        indexes = await connection.run_sync(lambda c: inspect(c).get_indexes(NOTES.name))
    assert [index["name"] for index in indexes] == ["openrouter_pipe_test_notes_words"]
    assert await read(OwnTable(NOTES)) == [1]


async def test_workers_that_come_at_once_make_one_table(database_url: str) -> None:
    engines = [create_async_engine(database_url) for _ in range(8)]
    tables = [OwnTable(NOTES, lambda engine=engine: engine) for engine in engines]
    await asyncio.gather(*(write(table, number) for number, table in enumerate(tables)))
    assert sorted(await read(tables[0])) == list(range(8))
    for engine in engines:
        await engine.dispose()


async def test_what_fails_half_way_leaves_nothing(engine: AsyncEngine) -> None:
    table = OwnTable(NOTES)
    with pytest.raises(ZeroDivisionError):
        async with table.begin() as connection:
            await connection.execute(NOTES.insert().values(id=1))
            raise ZeroDivisionError
    assert await read(table) == []


async def test_a_table_that_was_dropped_comes_back(engine: AsyncEngine) -> None:
    table = OwnTable(NOTES)
    await write(table, 1)
    async with engine.begin() as connection:
        await connection.run_sync(NOTES.drop)
    with pytest.raises(DBAPIError):
        await write(table, 2)
    await write(table, 3)
    assert await read(table) == [3]


@pytest.mark.parametrize(
    "database_url", [pytest.param("postgresql", marks=pytest.mark.service)], indirect=True
)
async def test_open_webuis_schema_is_ours_too(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE SCHEMA chats"))
    sys.modules["open_webui.env"].__dict__["DATABASE_SCHEMA"] = "chats"
    await write(OwnTable(NOTES), 1)
    assert await read(OwnTable(NOTES)) == [1]
    async with engine.connect() as connection:
        found = await connection.execute(text(f"SELECT id FROM chats.{NOTES.name}"))
        assert found.scalars().all() == [1]


async def test_outside_of_open_webui_there_is_no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", None)
    table = OwnTable(NOTES)
    assert not table.has_database
    with pytest.raises(LookupError):
        await read(table)
