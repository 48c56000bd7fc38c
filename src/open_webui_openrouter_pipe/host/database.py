"""Open WebUI's database: tables of our own beside its, through its own engine and schema."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

LONGEST_TEXT = 255
"""Characters in a column of text."""

Stepped = TypeVar("Stepped")

FindEngine = Callable[[], "AsyncEngine | None"]


def find_engine() -> AsyncEngine | None:
    """Open WebUI's engine, which puts our tables into its schema; `None` outside of it."""
    try:
        from open_webui.env import DATABASE_SCHEMA  # pyright: ignore[reportMissingImports]
        from open_webui.internal.db import async_engine  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    if not DATABASE_SCHEMA:
        return async_engine
    return async_engine.execution_options(schema_translate_map={None: DATABASE_SCHEMA})


def storable_text(text: str) -> str:
    """A text that every database takes: a row that one refuses keeps out all that come after it."""
    return text.replace("\0", "")[:LONGEST_TEXT].encode("utf-8", "replace").decode()


async def whole_step(step: Coroutine[Any, Any, Stepped]) -> Stepped:
    """What the step gives; cancelled in the middle it would leave a connection behind."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class OwnTable:
    """One table of ours, made when it is first used; after a failure it is looked for again."""

    def __init__(self, table: Table, find: FindEngine = find_engine) -> None:
        self._table = table
        self._find = find
        self._is_there = False

    @property
    def has_database(self) -> bool:
        """Whether there is a database at all: there is none outside of Open WebUI."""
        return self._find() is not None

    async def exists(self) -> bool:
        """Whether some worker has made it; nothing is made. Raises as `begin` does."""
        engine = self._find()
        if engine is not None and not self._is_there:
            async with engine.connect() as connection:
                self._is_there = await connection.run_sync(self._is_in)
        return self._is_there

    def _is_in(self, connection: Connection) -> bool:
        schema = connection.schema_for_object(self._table)
        return connection.dialect.has_table(connection, self._table.name, schema)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: kept at the end of the block, undone where that raises.

        Raises `SQLAlchemyError` where the database does not do its work.
        """
        engine = self._find()
        if engine is None:
            raise LookupError("There is no database outside of Open WebUI.")
        if not self._is_there:
            await self._make(engine)
        try:
            async with engine.begin() as connection:
                yield connection
        except DBAPIError:
            self._is_there = False
            raise

    async def _make(self, engine: AsyncEngine) -> None:
        for is_last in (False, False, True):  # another worker may make it at the same moment
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(self._table.create, checkfirst=True)
                break
            except DBAPIError:
                if is_last:
                    raise
        self._is_there = True
