"""The artifact store: takes what later turns need at once, and writes it beside the answers.

Nothing of it may cost an answer: while the database fails nothing new is taken (the chat then
carries it itself), what was taken waits in memory, and what cannot be loaded is done without.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from sqlalchemy.exc import IntegrityError

from ..core.context import RequestContext
from ..core.errors import PipeError, SealedPayloadError
from ..core.ids import new_ulid
from ..core.json_codec import decode_json, encode_json
from ..core.logging_system import LOG
from ..core.storage_valves import ArtifactRules
from ..core.valve_types import split_list
from ..host.chats import is_saved_chat
from ..host.database import OwnTable, storable_text
from ..host.redis import SharedRedis
from ..host.single_worker import only_worker
from .artifact_cache import ArtifactCache
from .artifact_table import (
    ARTIFACTS,
    ArtifactHome,
    Places,
    home_of,
    insert_artifacts,
    note_use,
    purge_orphans,
    purge_unused,
    select_payloads,
)
from .payload_codec import PayloadCodec, read_label
from .write_behind import WriteBehind

_MOST_WAITING_BYTES = 32 * 1024 * 1024
_MOST_NAMED = 900
"""Rows in one query: SQLite took no more than 999 values for long."""
_WRITE_SECONDS = 30.0
_LOAD_SECONDS = 3.0
_BLIND_SECONDS = 10.0
"""After a failure no turn waits for the database so long."""
_SETTLE_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0
_LAST_TRIES = 5
"""While the store closes, a second apart."""
_USE_IS_NEWS_SECONDS = 24 * 3_600
_SWEEP_LOCK_SECONDS = 600
_NEWS_SECONDS = 0.25
"""Between two looks at rows that other workers are to write."""
_STRAY_SECONDS = 30.0
"""Between two looks for rows that a worker has left in Redis."""
_BREATH_SECONDS = 0.05
"""Between two small transactions of the clean-up, for the writers of chats."""
_MOST_WARNED_CHATS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class WaitingArtifact:
    """One that is taken and not in the table yet."""

    id: str
    home: ArtifactHome
    message_id: str
    kind: str
    content: bytes
    codec: PayloadCodec
    created_at: float
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def row(self) -> dict[str, Any]:
        """The row for the table; sealing may take a while."""
        payload = self.codec.seal(self.content, self.home.identity(self.id))
        label = read_label(payload)
        return {
            "id": self.id,
            "pipe_id": self.home.pipe_id,
            "user_id": self.home.user_id,
            "chat_id": self.home.chat_id,
            "message_id": self.message_id,
            "kind": self.kind,
            "codec": str(label),
            "key_id": label.key_id,
            "payload": payload,
            "created_at": int(self.created_at),
            "used_at": int(self.created_at),
        }


class ArtifactStore:
    """Keeps artifacts in a table beside Open WebUI's own; one task writes, another cleans up."""

    def __init__(
        self,
        table: OwnTable | None = None,
        clock: Callable[[], float] = time.time,
        redis: SharedRedis | None = None,
    ) -> None:
        self._table = table or OwnTable(ARTIFACTS)
        self._clock = clock
        redis = redis or SharedRedis()
        self._cache = ArtifactCache(redis)
        self._behind = WriteBehind(redis, self._cache)
        self._may_stray = False
        """Whether there may be rows in Redis to be written."""
        self._rules = ArtifactRules()
        self._pipe_id = ""
        self._codec: PayloadCodec | None = None
        self._waiting: dict[str, WaitingArtifact] = {}
        self._waiting_bytes = 0
        self._offered: dict[str, WaitingArtifact] = {}
        """Of these, what Redis is about to be given."""
        self._used: set[str] = set()
        """Artifacts in the table whose use is to be noted there."""
        self._failures = 0
        self._blind_until = 0.0
        self._reported: set[str] = set()
        """What fails at present, and has been told."""
        self._warned_chats: set[str] = set()
        self._closing = asyncio.Event()
        self._news = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._finder: asyncio.Task[None] | None = None
        self._hander: asyncio.Task[None] | None = None

    def attend(self, context: RequestContext) -> None:
        """Clean up from now on, also where nothing new is kept."""
        self._follow(context)

    def keep(self, context: RequestContext, kind: str, content: Any) -> str:
        """Take something for the context's chat and give its id; empty where that must keep it."""
        rules = context.settings.artifacts
        if not (rules.in_database and context.user_id and is_saved_chat(context.chat_id)):
            return ""
        if self._failures or not self._table.has_database:
            return ""
        self._follow(context)
        written = encode_json(content)
        if self._codec is None or self._waiting_bytes + len(written) > _MOST_WAITING_BYTES:
            return ""
        now = self._clock()
        artifact = WaitingArtifact(
            new_ulid(now),
            home_of(context),
            storable_text(context.message_id),
            kind,
            written,
            self._codec,
            now,
        )
        self._waiting[artifact.id] = artifact
        self._waiting_bytes += len(written)
        if self._behind.is_open(rules):
            self._offered[artifact.id] = artifact
            self._hander = self._hander or asyncio.create_task(self._hand_over_on())
        self._news.set()
        self._ensure_writer()
        return artifact.id

    async def settle(self, ids: Iterable[str]) -> None:
        """Wait until every worker finds them; not for long, in vain, while the database fails."""
        waiting = [self._waiting[each].written for each in ids if each in self._waiting]
        if waiting and not self._failures:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    for written in waiting:
                        await written.wait()

    async def load(self, context: RequestContext, ids: Sequence[str]) -> dict[str, Any]:
        """What was kept under these ids for the context's chat and user, as far as it opens."""
        self._follow(context)
        home = home_of(context)
        # The ids come from the chat: one that the database refuses would blind all for a while.
        wanted = [each for each in dict.fromkeys(ids) if each == storable_text(each)]
        found: dict[str, Any] = {
            each: decode_json(waiting.content)
            for each in wanted
            if (waiting := self._waiting.get(each)) is not None and waiting.home == home
        }
        problems: Counter[str] = Counter()
        if missing := [each for each in wanted if each not in found]:
            found |= await self._cached(home, missing[-_MOST_NAMED:])
        if missing := [each for each in missing if each not in found]:
            rows = await self._read(home, missing[-_MOST_NAMED:], problems)
            if rows:
                opened = await asyncio.to_thread(self._opened, home, rows, problems)
                await self._cache.keep((home, *row[:2]) for row in rows if row[0] in opened)
                found |= opened
            self._note_used(rows)
        self._warn_of(home.chat_id, len(wanted) - len(found), problems)
        return found

    async def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._news.set()
        others = [each for each in (self._sweeper, self._finder, self._hander) if each is not None]
        for task in others:
            task.cancel()
        if self._writer is not None:
            others.append(self._writer)
        if others:
            await asyncio.wait(others)

    async def sweep(self) -> None:
        """Delete what was not used for long, and what belongs to deleted chats."""
        now = self._clock()
        unused_since = now - self._rules.cleanup_days * 24 * 3_600.0
        async with only_worker("artifacts", _SWEEP_LOCK_SECONDS) as is_ours:
            if not (is_ours and await self._table.exists()):
                return
            await self._purge(lambda c: purge_unused(c, self._pipe_id, unused_since))
            await self._purge(lambda c: purge_orphans(c, now))

    async def _purge(self, purge_some: Callable[[Any], Awaitable[Places]]) -> None:
        gone: Places | None = None
        while gone is None or gone:
            async with self._table.begin() as connection:
                gone = await purge_some(connection)
            await self._cache.forget(gone)
            await asyncio.sleep(_BREATH_SECONDS)

    def _follow(self, context: RequestContext) -> None:
        """Work by the rules of the newest call."""
        rules = context.settings.artifacts
        self._pipe_id = context.function_id
        self._cache.seconds = rules.cache_seconds
        if self._sweeper is None and self._table.has_database:
            self._sweeper = asyncio.create_task(self._sweep_on())
            self._finder = asyncio.create_task(self._find_on())
        if self._rules == rules and self._codec is not None:
            return
        self._rules, self._codec = rules, None
        try:
            key, old_keys = rules.key.reveal(), split_list(rules.old_keys.reveal())
        except PipeError:
            self._report("writing", "a passphrase is lost: WEBUI_SECRET_KEY has changed")
            return
        self._codec = PayloadCodec(
            key, old_keys, compress_from=rules.compress_from, use_lz4=rules.use_lz4
        )

    def _ensure_writer(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on())

    async def _write_on(self) -> None:
        """Write batch after batch until nothing waits; after a failure again, a while later."""
        try:
            while self._waiting or self._used or self._may_stray:
                self._news.clear()
                written = await self._write_batch(self._rules.batch_size)
                if written is None:
                    if self._closing.is_set() and self._failures >= _LAST_TRIES:
                        break
                    await self._pause()
                elif not written and self._waiting:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), _NEWS_SECONDS)
        finally:  # cancelled, too: the server stops
            everything = len(self._waiting)
            if everything and await self._write_batch(everything, is_last=True) is None:
                LOG.warning("artifacts: %d could not be written and are lost", len(self._waiting))
            self._writer = None

    async def _write_batch(self, size: int, is_last: bool = False) -> int | None:
        """How many were written; `None` where the database fails."""
        is_last = is_last or self._closing.is_set()  # without Redis, then
        ours = [a for a in self._waiting.values() if is_last or not self._is_elsewhere(a.id)]
        batch = ours[:size]
        used = list(islice(self._used, _MOST_NAMED))
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                rows = await asyncio.to_thread(lambda: [artifact.row() for artifact in batch])
                takes, self._may_stray = self._may_stray and not is_last, False
                taken = await self._behind.take(size) if takes else []
                await self._insert(rows + taken, used)
        except Exception as error:  # noqa: BLE001 - a database that fails costs no answer anything
            self._failures += 1
            self._may_stray = True
            self._behind.note_failure(self._rules.most_flush_failures)
            self._report("writing", describe_fault(error))
            return None
        self._drop(row["id"] for row in rows + taken)
        self._used.difference_update(used)
        self._failures = 0
        count = len(rows) + len(taken) + len(used)
        if count:
            self._report("writing", "")
        if takes:
            await self._behind.acknowledge()
            self._may_stray = self._may_stray or bool(taken)
        await self._cache.keep_rows(rows)
        return count

    def _is_elsewhere(self, artifact_id: str) -> bool:
        """Whether it is on its way through Redis."""
        return artifact_id in self._offered or self._behind.holds(artifact_id)

    async def _hand_over_on(self) -> None:
        """Give Redis what it may have, while the database may keep the writer waiting."""
        try:
            while batch := list(islice(self._offered.values(), self._rules.batch_size)):
                rows = await asyncio.to_thread(lambda some=batch: [each.row() for each in some])
                if await self._behind.hand_over(rows, self._rules):
                    self._may_stray = True
                    for artifact in batch:
                        artifact.written.set()
                for artifact in batch:
                    del self._offered[artifact.id]
                self._news.set()
                self._ensure_writer()
        finally:
            self._offered.clear()
            self._hander = None

    async def _insert(self, rows: Sequence[dict[str, Any]], used: Sequence[str]) -> None:
        if not (rows or used):
            return
        for is_last in (False, True):  # another worker may write the same row at the same moment
            try:
                async with self._table.begin() as connection:
                    if rows:
                        await insert_artifacts(connection, rows)
                    if used:
                        await note_use(connection, used, self._clock())
                return
            except IntegrityError:
                if is_last:
                    raise

    def _drop(self, ids: Iterable[str]) -> None:
        """They stand in the table."""
        for each in ids:
            self._behind.forget(each)
            if artifact := self._waiting.pop(each, None):
                self._waiting_bytes -= len(artifact.content)
                artifact.written.set()

    async def _pause(self) -> None:
        if self._closing.is_set():
            await asyncio.sleep(1.0)
            return
        doubled = 2 ** min(self._failures, 10)
        seconds = min(_FIRST_PAUSE_SECONDS * doubled, _LONGEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _sweep_on(self) -> None:
        share = random.uniform(0.05, 0.25)  # a server that restarts every day cleans up as well
        while True:
            await asyncio.sleep(self._rules.cleanup_interval * share)
            share = random.uniform(0.75, 1.25)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is tried again
                LOG.warning("artifacts: the clean-up failed: %s", describe_fault(error))

    async def _find_on(self) -> None:
        """Write what workers that died have left in Redis."""
        while True:
            if self._cache.seconds and self._behind.may_take:
                self._may_stray = True
                self._ensure_writer()
            await asyncio.sleep(_STRAY_SECONDS * random.uniform(0.75, 1.25))

    async def _cached(self, home: ArtifactHome, ids: Sequence[str]) -> dict[str, Any]:
        """Those that Redis has and that open; the table has them all."""
        cached = await self._cache.read(home, ids)
        rows = [(each, payload, 0) for each, payload in cached]
        return await asyncio.to_thread(self._opened, home, rows, Counter()) if rows else {}

    async def _read(
        self, home: ArtifactHome, ids: Sequence[str], problems: Counter[str]
    ) -> list[tuple[str, bytes, int]]:
        if self._clock() < self._blind_until or not self._table.has_database:
            return []
        try:
            async with asyncio.timeout(_LOAD_SECONDS), self._table.begin() as connection:
                rows = await select_payloads(connection, home, ids)
        except Exception as error:  # noqa: BLE001 - the turn goes on without
            self._blind_until = self._clock() + _BLIND_SECONDS
            self._report("loading", describe_fault(error))
            return []
        self._report("loading", "")
        if len(rows) < len(ids):
            problems["not kept for this chat and user"] = len(ids) - len(rows)
        return rows

    def _opened(
        self, home: ArtifactHome, rows: Sequence[tuple[str, bytes, int]], problems: Counter[str]
    ) -> dict[str, Any]:
        opened: dict[str, Any] = {}
        codec = self._codec  # another call may have other rules by now
        for artifact_id, payload, _ in rows:
            try:
                if codec is None:
                    raise SealedPayloadError("Its passphrase cannot be read.")
                opened[artifact_id] = decode_json(codec.open(payload, home.identity(artifact_id)))
            except SealedPayloadError as error:
                problems[error.cause] += 1
            except ValueError:
                problems["It is not JSON."] += 1
        return opened

    def _note_used(self, rows: Sequence[tuple[str, bytes, int]]) -> None:
        before = self._clock() - _USE_IS_NEWS_SECONDS
        self._used.update(artifact_id for artifact_id, _, used_at in rows if used_at < before)
        if self._used:
            self._ensure_writer()

    def _warn_of(self, chat_id: str, lost: int, problems: Counter[str]) -> None:
        """Once for each chat: a copy of one has lost its thinking for good."""
        if not problems or chat_id in self._warned_chats:
            return
        if len(self._warned_chats) >= _MOST_WARNED_CHATS:
            self._warned_chats.clear()
        self._warned_chats.add(chat_id)
        reasons = "; ".join(
            f"{count} \N{MULTIPLICATION SIGN} {reason}" for reason, count in problems.items()
        )
        LOG.warning("artifacts: the turn goes on without %d earlier thoughts: %s", lost, reasons)

    def _report(self, what: str, fault: str) -> None:
        """Say once that it fails, and once that it works again."""
        if bool(fault) == (what in self._reported):
            return
        if fault:
            self._reported.add(what)
            LOG.warning("artifacts: %s fails, answers go on without: %s", what, fault)
        else:
            self._reported.discard(what)
            LOG.info("artifacts: %s works again", what)


def describe_fault(error: Exception) -> str:
    """The first line of what went wrong, without the values that SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    first = next(iter(str(cause).splitlines()), "")
    return f"{type(cause).__name__}: {first}" if first else type(cause).__name__
