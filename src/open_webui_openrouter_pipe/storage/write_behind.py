"""Rows that Redis holds on their way to the table: no answer waits for the database.

They lie in a stream that all workers read as one consumer group, and are taken out of it after the
commit. A worker that dies leaves them to the others; a Redis that loses them leaves them to the
worker that has put them there. Only both at once lose a row; one written twice stands there once.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from redis.exceptions import ResponseError

from ..core.json_codec import decode_json, encode_json
from ..core.logging_system import LOG
from ..core.storage_valves import ArtifactRules
from ..host.database import storable_text
from ..host.redis import SharedRedis, redis_key
from .artifact_cache import ArtifactCache, may_be_shared, payload_in, payload_text
from .artifact_table import ARTIFACTS

_STREAM_GROUP = _STREAM_CONSUMER = "workers"
"""One consumer for all: an entry goes to one of them, and who claims it only counts the time."""
_ABANDONED_MS = 60_000
"""Longer than a worker that lives takes to write what it has taken."""
_OVERDUE_SECONDS = 2.0
"""What the workers have not written until then is written by the one that took it in."""
_TAKE_SECONDS = 2.0
"""For a whole batch; no answer waits for it."""
_STREAM_REST_SECONDS = 300.0
_LARGEST_INTEGER = 2**63

ArtifactRow = dict[str, Any]


class WriteBehind:
    """The stream, as one worker uses it."""

    def __init__(self, redis: SharedRedis, cache: ArtifactCache) -> None:
        self._redis = redis
        self._cache = cache
        self._handed: dict[str, float] = {}
        """When Redis took an artifact of this worker's that may not be in the table yet."""
        self._taken: dict[str, ArtifactRow | None] = {}
        """Entries of the stream by their id; `None` for what is no row."""
        self._failures = 0
        self._rests_until = 0.0
        self._is_long = False

    def holds(self, artifact_id: str) -> bool:
        """Whether the workers may be expected to write it from the stream."""
        handed_at = self._handed.get(artifact_id)
        return handed_at is not None and time.monotonic() < handed_at + _OVERDUE_SECONDS

    def is_open(self, rules: ArtifactRules) -> bool:
        """Whether a row may be handed over now."""
        is_wanted = rules.write_behind and time.monotonic() >= self._rests_until
        return is_wanted and all(map(self._redis.may_be_asked, ("writing", "writing behind")))

    async def hand_over(self, rows: Sequence[ArtifactRow], rules: ArtifactRules) -> bool:
        """Whether Redis has them all now, to be read and to be written; else they are written here.

        They can be read first: whoever sees one in the table may find it in the cache or not.
        """
        fit = all(may_be_shared(row["payload"]) for row in rows)
        if not (fit and await self._cache.keep_rows(rows)):
            return False
        entries = [{**row, "payload": payload_text(row["payload"])} for row in rows]
        texts = [encode_json(entry).decode() for entry in entries]

        def add(pipeline: Any) -> None:
            for text in texts:
                pipeline.xadd(_stream_key(), {"row": text})

        now, ids = time.monotonic(), [row["id"] for row in rows]
        self._handed.update(dict.fromkeys(ids, now))  # it may come back before Redis has answered
        if await self._is_too_long(rules) or not await self._redis.send("writing behind", add):
            for each in ids:
                self.forget(each)
            return False
        return True

    @property
    def may_take(self) -> bool:
        """Whether there is a stream to take rows from at all."""
        return self._redis.may_be_asked("taking rows")

    async def take(self, count: int) -> list[ArtifactRow]:
        """Rows of the stream for this worker to write: the last ones again until they are done."""
        if not self._taken and time.monotonic() >= self._rests_until:
            answer = await self._redis.ask(
                "taking rows", lambda client: _take_entries(client, count), _TAKE_SECONDS
            )
            self._taken = {each: _row_in(fields) for each, fields in _entries_in(answer or [])}
        return [row for row in self._taken.values() if row is not None]

    async def acknowledge(self) -> None:
        """What was taken stands in the table."""
        self._failures = 0
        taken, self._taken = self._taken, {}
        if not taken:
            return
        if strange := [each for each, row in taken.items() if row is None]:
            LOG.warning("redis: %d entries are not rows of artifacts and are dropped", len(strange))

        def drop(pipeline: Any) -> None:
            pipeline.xack(_stream_key(), _STREAM_GROUP, *taken)
            pipeline.xdel(_stream_key(), *taken)

        await self._redis.send("taking rows", drop)

    def forget(self, artifact_id: str) -> None:
        """It stands in the table."""
        self._handed.pop(artifact_id, None)

    def note_failure(self, limit: int) -> None:
        """After so many in a row what was taken is left to later, and new rows pass Redis by."""
        self._failures += bool(self._taken)
        if self._failures >= limit:
            LOG.warning("redis: rows taken from it could not be written, new ones pass it by")
            self._taken, self._failures = {}, 0
            self._rests_until = time.monotonic() + _STREAM_REST_SECONDS

    async def _is_too_long(self, rules: ArtifactRules) -> bool:
        length = await self._redis.ask("taking rows", lambda c: c.xlen(_stream_key())) or 0
        was_long, self._is_long = self._is_long, length >= rules.most_pending
        if self._is_long and not was_long:
            LOG.warning("redis: %d rows wait in it, new ones pass it by", length)
        return self._is_long


def _stream_key() -> str:
    return redis_key("artifacts", "v1")


async def _take_entries(client: Any, count: int) -> Any:
    if not await client.xlen(_stream_key()):
        return []
    try:
        return await _claim_and_read(client, count)
    except ResponseError as error:
        if "NOGROUP" not in str(error):
            raise
    with suppress(ResponseError):  # another worker has just made it
        await client.xgroup_create(_stream_key(), _STREAM_GROUP, id="0")
    return await _claim_and_read(client, count)


async def _claim_and_read(client: Any, count: int) -> Any:
    pipeline = client.pipeline(transaction=False)
    pipeline.xautoclaim(_stream_key(), _STREAM_GROUP, _STREAM_CONSUMER, _ABANDONED_MS, "0-0", count)
    pipeline.xreadgroup(_STREAM_GROUP, _STREAM_CONSUMER, {_stream_key(): ">"}, count)
    return await pipeline.execute()


def _entries_in(answer: Any) -> Generator[tuple[str, Any]]:
    """The entries of an answer: how deep they lie depends on the protocol that is spoken."""
    parts = cast("dict[Any, Any]", answer).values() if isinstance(answer, dict) else answer
    for part in parts:
        match part:
            case (str() as entry_id, dict() as fields) if isinstance(part, tuple):
                yield entry_id, fields
            case list() | dict():
                yield from _entries_in(part)
            case _:
                pass


def _row_in(fields: Mapping[str, Any]) -> ArtifactRow | None:
    """The row of an entry, if the table takes it: one that it refuses would hold up the others."""
    try:
        row = decode_json(fields["row"])
        row["payload"] = payload_in(row["payload"])
    except (LookupError, TypeError, ValueError):
        return None
    columns = ARTIFACTS.columns
    is_whole = may_be_shared(row["payload"]) and row.keys() == set(columns.keys())
    fits = is_whole and all(_column_takes(row[each.name], each) for each in columns)
    return row if fits else None


def _column_takes(value: Any, column: Any) -> bool:
    match value:
        case str():
            length = getattr(column.type, "length", None) or 0
            return value == storable_text(value) and len(value) <= length
        case int():
            return column.type.python_type is int and abs(value) < _LARGEST_INTEGER
        case _:
            return isinstance(value, column.type.python_type)
