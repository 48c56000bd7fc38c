"""The table of artifacts: what later turns need, each row bound to its pipe, user and chat."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    exists,
    insert,
    select,
    update,
)

from ..core.context import RequestContext
from ..host.database import LONGEST_TEXT

# A chat that has just begun may not be in its table yet.
_YOUNG_SECONDS = 3_600
_PURGE_BATCH = 200

ARTIFACTS = Table(
    "openrouter_pipe_artifacts",
    MetaData(),
    Column("id", String(26), primary_key=True),
    Column("pipe_id", String(LONGEST_TEXT), nullable=False),
    Column("user_id", String(LONGEST_TEXT), nullable=False),
    Column("chat_id", String(LONGEST_TEXT), nullable=False),
    Column("message_id", String(LONGEST_TEXT), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("codec", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Index("openrouter_pipe_artifacts_by_chat", "chat_id"),
    Index("openrouter_pipe_artifacts_by_use", "pipe_id", "used_at"),
)
"""Times are whole seconds since 1970."""

# Open WebUI's own table; that is all we read of it.
_CHATS = Table("chat", MetaData(), Column("id", String(LONGEST_TEXT), primary_key=True))


@dataclass(frozen=True, slots=True)
class ArtifactHome:
    """Where an artifact belongs: it is found, and opens, nowhere else."""

    pipe_id: str
    user_id: str
    chat_id: str

    def identity(self, artifact_id: str) -> tuple[str, ...]:
        """What binds the payload of one artifact to its place."""
        return self.pipe_id, self.user_id, self.chat_id, artifact_id


Places = list[tuple[ArtifactHome, str]]
"""Artifacts, each by its home and id."""


def home_of(context: RequestContext) -> ArtifactHome:
    """Where the artifacts of a call belong."""
    return ArtifactHome(context.function_id, context.user_id, context.chat_id)


def home_of_row(row: Any) -> ArtifactHome:
    """Where a row of the table, or one for it, belongs."""
    return ArtifactHome(row["pipe_id"], row["user_id"], row["chat_id"])


async def insert_artifacts(connection: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Add the rows; those that are there already, from a writing in doubt, are left alone."""
    by_id = {row["id"]: row for row in rows}
    known = select(ARTIFACTS.c.id).where(ARTIFACTS.c.id.in_(list(by_id)))
    there = set((await connection.execute(known)).scalars())
    if missing := [row for row in by_id.values() if row["id"] not in there]:
        await connection.execute(insert(ARTIFACTS), missing)


async def select_payloads(
    connection: Any, home: ArtifactHome, ids: Iterable[str]
) -> list[tuple[str, bytes, int]]:
    """Id, payload and last use of those artifacts that belong there."""
    rows = select(ARTIFACTS.c.id, ARTIFACTS.c.payload, ARTIFACTS.c.used_at).where(
        ARTIFACTS.c.id.in_(list(ids)),
        ARTIFACTS.c.chat_id == home.chat_id,
        ARTIFACTS.c.user_id == home.user_id,
        ARTIFACTS.c.pipe_id == home.pipe_id,
    )
    return [(row.id, bytes(row.payload), row.used_at) for row in await connection.execute(rows)]


async def note_use(connection: Any, ids: Iterable[str], now: float) -> None:
    """Their time to live begins anew."""
    used = update(ARTIFACTS).where(ARTIFACTS.c.id.in_(list(ids)))
    await connection.execute(used.values(used_at=int(now)))


async def purge_unused(connection: Any, pipe_id: str, before: float) -> Places:
    """Delete some of a pipe's artifacts not used since then, and tell which."""
    unused = ARTIFACTS.c.pipe_id == pipe_id, ARTIFACTS.c.used_at < int(before)
    return await _purge_some(connection, *unused)


async def purge_orphans(connection: Any, now: float) -> Places:
    """Delete some artifacts whose chat is gone, and tell which."""
    has_chat = exists().where(_CHATS.c.id == ARTIFACTS.c.chat_id)
    old_enough = ARTIFACTS.c.created_at < int(now - _YOUNG_SECONDS)
    return await _purge_some(connection, old_enough, ~has_chat)


async def _purge_some(connection: Any, *which: Any) -> Places:
    columns = ARTIFACTS.c.id, ARTIFACTS.c.pipe_id, ARTIFACTS.c.user_id, ARTIFACTS.c.chat_id
    some = select(*columns).where(*which).limit(_PURGE_BATCH)
    rows = (await connection.execute(some)).mappings().all()
    if rows:
        gone = ARTIFACTS.c.id.in_([row["id"] for row in rows])
        await connection.execute(delete(ARTIFACTS).where(gone))
    return [(home_of_row(row), row["id"]) for row in rows]
