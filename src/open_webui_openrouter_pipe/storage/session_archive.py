"""Session archives: what an answer was made of, handed over at its end and written beside the rest.

Nothing of it may cost an answer: what cannot be written is dropped, and the log says so once.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import fields, is_dataclass, replace
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

NoteEvents = Callable[[list[Event]], None]
"""Notes what a batch tells."""

_MOST_WAITING_ARCHIVE_BYTES = 64 * 1024 * 1024
_ARCHIVE_SWEEP_LOCK_SECONDS = 600
_EVENT_KINDS = {
    ResponseStarted: "started",
    SourcesFound: "sources",
    Notice: "notice",
    RetryScheduled: "retry",
    ResponseFinished: "finished",
    ResponseFailed: "failed",
}


def note_nothing(batch: list[Event]) -> None:
    """What notes the Events of an answer that is not archived."""


class AnswerRecorder:
    """Notes the Events of one answer; of an item that was cut off, what had come of it."""

    def __init__(self, context: RequestContext) -> None:
        self.context = context
        self.outcome = "stopped"
        """How the answer ended, where it did."""
        key, settings = "", context.settings
        with suppress(PipeError):
            key = settings.api_key.reveal()
        self.records = SessionRecords(settings.archives.most_records, key)
        self._open: dict[int, list[str]] = {}
        """The texts of the items that are still coming."""

    def take(self, batch: list[Event]) -> None:
        """Note what this batch tells."""
        for event in batch:
            if isinstance(event, TextDelta | ReasoningDelta | ArgumentsDelta):
                self._open.setdefault(event.output_index, []).append(event.text)
            elif isinstance(event, ItemFinished):
                self._open.pop(event.output_index, None)
                self.records.add("item", item=type(event.item).__name__, **_fields_of(event.item))
            elif kind := _EVENT_KINDS.get(type(event)):
                self.records.add(kind, **_fields_of(event))
                if isinstance(event, ResponseFinished | ResponseFailed):
                    self.outcome = kind

    def close(self) -> None:
        """Note what has no end, and nothing more."""
        for pieces in self._open.values():
            self.records.add("unfinished", text="".join(pieces))
        self.records.close()

    def write(self, codec: PayloadCodec) -> None:
        """Write the archive, the session itself as its first line; raises `OSError`."""
        context, records = self.context, self.records
        ids = ("request_id", "function_id", "model", "user_id", "session_id", "chat_id")
        session = {
            "kind": "session",
            "time": records.started,
            "seconds": round(records.ended - records.started, 3),
            "outcome": self.outcome,
            **{name: getattr(context, name) for name in (*ids, "message_id")},
            "records": len(records.lines),
            "dropped": records.dropped,
        }
        root = Path(context.settings.archives.folder)
        # An answer can be gone on with: each call of the pipe has a file of its own.
        name = context.message_id, context.request_id
        path = archive_path(root, (context.user_id, context.chat_id), name)
        write_archive(root, path, [encode_json(session), *records.lines], codec)


class SessionArchive:
    """Writes the archives of one copy of the pipe, one after another, and deletes the old ones."""

    def __init__(self, most_waiting: int = _MOST_WAITING_ARCHIVE_BYTES) -> None:
        self._most_waiting = most_waiting
        self._rules = ArchiveRules()
        self._codec: PayloadCodec | None = None
        self._waiting: deque[tuple[AnswerRecorder, PayloadCodec]] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @contextmanager
    def session(self, context: RequestContext) -> Generator[tuple[RequestContext, NoteEvents]]:
        """The context with records, and what notes Events there; at the end it is archived.

        Where nothing is archived, the context as it is, and nothing is noted.
        """
        self._follow(context.settings.archives)
        is_message = is_saved_chat(context.chat_id) and context.message_id and not context.task
        if self._codec is None or not (is_message and context.user_id):
            yield context, note_nothing
            return
        recorder = AnswerRecorder(context)
        try:
            yield replace(context, records=recorder.records), recorder.take
        finally:
            recorder.close()
            self._keep(recorder, self._codec)

    async def sweep(self) -> None:
        """Delete the archives that are old enough."""
        rules = self._rules
        async with only_worker("session-archives", _ARCHIVE_SWEEP_LOCK_SECONDS) as is_ours:
            if is_ours:
                before = time.time() - rules.retention_days * 24 * 3_600.0
                await asyncio.to_thread(delete_old_archives, Path(rules.folder), before)

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = {task for task in (self._writer, self._sweeper) if task is not None}
        if tasks:
            await asyncio.wait(tasks)

    def _follow(self, rules: ArchiveRules) -> None:
        """Work by the rules of the newest call; switched off, old archives are deleted still."""
        if self._sweeper is None:
            # The tasks belong to no request, and their log must not name the one that began them.
            self._sweeper = asyncio.create_task(self._sweep_on(), context=Context())
        if self._rules == rules:
            return
        self._rules, self._codec = rules, None
        if not rules.enabled:
            return
        try:
            passphrase = rules.passphrase.reveal()
        except PipeError:
            LOG.warning("archives: none are written: the passphrase cannot be decrypted")
            return
        if not passphrase:
            LOG.warning("archives: none are written: SESSION_LOG_PASSPHRASE is empty")
            return
        # Archives are read where lz4 is not installed, too.
        self._codec = PayloadCodec(passphrase, use_lz4=False)

    def _keep(self, recorder: AnswerRecorder, codec: PayloadCodec | None) -> None:
        if codec is None or self._waiting_bytes + recorder.records.size > self._most_waiting:
            self._lose("they cannot be written as fast as answers end")
            return
        self._waiting.append((recorder, codec))
        self._waiting_bytes += recorder.records.size
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
        recorder, codec = self._waiting[0]  # cancelled meanwhile, it is written once more
        reason = ""
        try:
            await asyncio.to_thread(recorder.write, codec)
        except OSError as error:
            reason = f"{self._rules.folder}: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - no archive may end the writing of the others
            reason = type(error).__name__
        self._waiting.popleft()
        self._waiting_bytes -= recorder.records.size
        if reason:
            self._lose(reason)
        elif self._lost and not self._waiting:
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
            await asyncio.sleep(self._rules.cleanup_interval * share)
            share = random.uniform(0.75, 1.25)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is tried again
                LOG.warning("archives: the clean-up failed: %s", type(error).__name__)


def _fields_of(event: Any) -> dict[str, Any]:
    """What is filled in of an Event, of an item, or of what stands in one."""
    values = ((each.name, getattr(event, each.name)) for each in fields(event))
    return {name: _told(value) for name, value in values if value not in ("", [], {}, None)}


def _told(value: Any) -> Any:
    match value:
        case PipeError():
            return value.cause
        case list():
            return [_told(each) for each in value]
        case _:
            return _fields_of(value) if is_dataclass(value) else value
