"""Session archives: what an answer was made of, handed over at its end and written beside the rest.

Nothing of it may cost an answer: what cannot be written is dropped, and the log says so once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..api.events import (
    ArgumentsDelta,
    Event,
    ItemFinished,
    Notice,
    ReasoningDelta,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RetryScheduled,
    SourcesFound,
    TextDelta,
)
from ..core.archive_valves import ArchiveRules
from ..core.context import RequestContext
from ..core.errors import PipeError
from ..core.json_codec import encode_json
from ..core.logging_system import LOG
from ..core.session_records import SessionRecords
from ..host.chats import is_saved_chat
from ..host.single_worker import only_worker
from .archive_file import archive_path, delete_old_archives, write_archive
from .payload_codec import PayloadCodec

_MOST_WAITING_ARCHIVES = 100
_MOST_WAITING_ARCHIVE_BYTES = 64 * 1024 * 1024
_ARCHIVE_SWEEP_LOCK_SECONDS = 600
_DAY_SECONDS = 24 * 3_600.0


NoteEvents = Callable[[list[Event]], None]
"""Notes what a batch tells."""


def note_nothing(batch: list[Event]) -> None:
    """What notes the Events of an answer that is not archived."""


@dataclass(frozen=True, slots=True)
class EndedSession:
    """What is to be written of one answer."""

    context: RequestContext
    records: SessionRecords
    ended: float
    codec: PayloadCodec

    def write(self) -> None:
        """Write the archive; raises `OSError`."""
        context = self.context
        root = Path(context.settings.archives.folder)
        # An answer can be gone on with, and each call of the pipe has a file of its own.
        name = context.message_id, context.request_id
        path = archive_path(root, (context.user_id, context.chat_id), name)
        write_archive(root, path, [encode_json(self._meta()), *self.records.lines], self.codec)

    def _meta(self) -> dict[str, Any]:
        context, records = self.context, self.records
        return {
            "kind": "session",
            "time": round(records.started, 3),
            "started": datetime.fromtimestamp(records.started, UTC).isoformat(" ", "seconds"),
            "seconds": round(self.ended - records.started, 3),
            "outcome": records.outcome,
            "request_id": context.request_id,
            "function_id": context.function_id,
            "model": context.model,
            "user_id": context.user_id,
            "session_id": context.session_id,
            "chat_id": context.chat_id,
            "message_id": context.message_id,
            "records": len(records.lines),
            "dropped": records.dropped,
        }


class SessionArchive:
    """Writes the archives of one copy of the pipe, one after another, and deletes the old ones."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        most_waiting: int = _MOST_WAITING_ARCHIVES,
    ) -> None:
        self._clock = clock
        self._most_waiting = most_waiting
        self._rules: ArchiveRules | None = None
        self._passphrase = ""
        self._codec: PayloadCodec | None = None
        self._waiting: deque[EndedSession] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @contextmanager
    def session(self, context: RequestContext) -> Generator[tuple[RequestContext, NoteEvents]]:
        """The context with records, and what notes Events there; at the end it is archived.

        Where the answer is none to be archived, the context as it is, and nothing is noted.
        """
        self._follow(context.settings.archives)
        is_message = is_saved_chat(context.chat_id) and context.message_id and not context.task
        if self._codec is None or not (is_message and context.user_id):
            yield context, note_nothing
            return
        secrets = self._passphrase, _revealed(context)
        records = SessionRecords(context.settings.archives.most_records, secrets)
        recorder = EventRecorder(records)
        try:
            yield replace(context, records=records), recorder.take
        finally:
            recorder.close()
            records.is_open = False
            self._take(EndedSession(context, records, self._clock(), self._codec))

    async def sweep(self) -> None:
        """Delete the archives that are old enough."""
        rules = self._rules or ArchiveRules()
        async with only_worker("session-archives", _ARCHIVE_SWEEP_LOCK_SECONDS) as is_ours:
            if is_ours:
                seconds = rules.retention_days * _DAY_SECONDS
                await asyncio.to_thread(
                    delete_old_archives, Path(rules.folder), self._clock(), seconds
                )

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = {task for task in (self._writer, self._sweeper) if task is not None}
        if tasks:
            await asyncio.wait(tasks)

    def _follow(self, rules: ArchiveRules) -> None:
        """Work by the rules of the newest call."""
        if self._rules == rules:
            return
        self._rules, self._codec = rules, None
        try:
            passphrase = rules.passphrase.reveal()
        except PipeError:
            LOG.warning("archives: none are written: the passphrase cannot be decrypted")
            return
        if not passphrase:
            LOG.warning("archives: none are written: SESSION_LOG_PASSPHRASE is empty")
            return
        # Read where lz4 is not installed, too.
        self._codec, self._passphrase = PayloadCodec(passphrase, use_lz4=False), passphrase
        if self._sweeper is None:
            # The tasks belong to no request: their log must not name the one that began them.
            self._sweeper = asyncio.create_task(self._sweep_on(), context=Context())

    def _take(self, ended: EndedSession) -> None:
        full = len(self._waiting) >= self._most_waiting
        if full or self._waiting_bytes + ended.records.size > _MOST_WAITING_ARCHIVE_BYTES:
            self._lose("they cannot be written as fast as answers end")
            return
        self._waiting.append(ended)
        self._waiting_bytes += ended.records.size
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on(), context=Context())

    async def _write_on(self) -> None:
        try:
            while self._waiting:
                await self._write_next()
        finally:  # cancelled, too: the server stops
            while self._waiting:
                await self._write_next()
            self._writer = None

    async def _write_next(self) -> None:
        ended = self._waiting.popleft()
        self._waiting_bytes -= ended.records.size
        try:
            await asyncio.to_thread(ended.write)
        except Exception as error:  # noqa: BLE001 - a disk that fails costs no answer anything
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            self._lose(f"{ended.context.settings.archives.folder}: {reason}")
            return
        if self._lost and not self._waiting:
            LOG.info("archives: they are written again; %d were lost", self._lost)
            self._lost = 0

    def _lose(self, reason: str) -> None:
        """Say once that answers go by without an archive."""
        if not self._lost:
            LOG.warning("archives: answers are not archived until this is over: %s", reason)
        self._lost += 1

    async def _sweep_on(self) -> None:
        share = random.uniform(0.05, 0.25)  # a server that restarts every day cleans up as well
        while True:
            rules = self._rules or ArchiveRules()
            await asyncio.sleep(rules.cleanup_interval * share)
            share = random.uniform(0.75, 1.25)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is tried again
                LOG.warning("archives: the clean-up failed: %s", type(error).__name__)


class EventRecorder:
    """Notes the Events of one answer; of an item that was cut off, what had come of it."""

    def __init__(self, records: SessionRecords) -> None:
        self._records = records
        self._open: defaultdict[tuple[int, str], list[str]] = defaultdict(list)

    def take(self, batch: list[Event]) -> None:
        """Note what this batch tells."""
        for event in batch:
            self._note(event)

    def close(self) -> None:
        """Note what has no end."""
        for (_, kind), pieces in self._open.items():
            self._records.add("unfinished", item=kind, text="".join(pieces))
        self._open.clear()

    def _note(self, event: Event) -> None:
        note = self._records.add
        match event:
            case TextDelta(index, text) | ArgumentsDelta(index, text):
                self._open[index, type(event).__name__.removesuffix("Delta")].append(text)
            case ReasoningDelta(index, _, text):
                self._open[index, "Reasoning"].append(text)
            case ItemFinished(index, item):
                for kind in ("Text", "Arguments", "Reasoning"):
                    self._open.pop((index, kind), None)
                note("item", item=type(item).__name__.removesuffix("Item"), **_fields_of(item))
            case ResponseStarted(response_id, model):
                note("started", response_id=response_id, model=model)
            case SourcesFound(sources):
                note("sources", sources=sources)
            case Notice(text):
                note("notice", text=text)
            case RetryScheduled(error, wait):
                note("retry", cause=error.cause, seconds=wait)
            case _:
                self._note_end(event)

    def _note_end(self, event: Event) -> None:
        match event:
            case ResponseFinished(response_id, model, usage, reason):
                self._records.outcome = "incomplete" if reason else "finished"
                fields = {"response_id": response_id, "model": model, "reason": reason}
                self._records.add("finished", **fields, usage=usage and asdict(usage))
            case ResponseFailed(error, usage):
                self._records.outcome = "failed"
                self._records.add("failed", cause=error.cause, usage=usage and asdict(usage))
            case _:
                pass


def _fields_of(item: Any) -> dict[str, Any]:
    fields = asdict(item)
    return {name: value for name, value in fields.items() if value not in ("", [], {}, None)}


def _revealed(context: RequestContext) -> str:
    """The API key, where it can be read."""
    with suppress(PipeError):
        return context.settings.api_key.reveal()
    return ""
