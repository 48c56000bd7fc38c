"""The log: every record names its request, and one worker writes them off the event loop."""

from __future__ import annotations

import logging
import queue
import threading

from .context import current_records, current_request

LOG = logging.getLogger("open_webui_openrouter_pipe")

_QUEUE_LENGTH = 10_000
_IDLE_SECONDS = 5.0


class SessionLogger(logging.Handler):
    """Stamps each record with request, session, user and chat, and hands it to one worker thread.

    The thread starts with the first record and ends by itself when none has come for a while,
    so a replaced copy of the pipe leaves nothing behind. With `collecting`, a request that is to be
    archived gets its records too.
    """

    def __init__(
        self,
        target: logging.Logger,
        *,
        queue_length: int = _QUEUE_LENGTH,
        idle_seconds: float = _IDLE_SECONDS,
        collecting: bool = False,
    ) -> None:
        super().__init__()
        self._target = target
        self._idle_seconds = idle_seconds
        self._collecting = collecting
        self._records: queue.Queue[logging.LogRecord] = queue.Queue(queue_length)
        self._worker: threading.Thread | None = None
        self._worker_lock = threading.Lock()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record; when the worker cannot keep up the record is dropped and counted."""
        try:
            _stamp(record)
            # The arguments may change before the worker reads them.
            record.msg, record.args = record.getMessage(), None
            if self._collecting:
                _collect(record)
            self._records.put_nowait(record)
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001 - a message that cannot be written never costs an answer
            self.handleError(record)
        else:
            self._ensure_worker()

    def flush(self) -> None:
        """Wait until everything queued so far is written."""
        self._records.join()

    def _ensure_worker(self) -> None:
        with self._worker_lock:
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._write_records, name="openrouter-pipe-log", daemon=True
                )
                self._worker.start()

    def _write_records(self) -> None:
        while True:
            try:
                record = self._records.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._worker_lock:
                    if self._records.empty():
                        self._worker = None
                        return
                continue
            try:
                self._target.handle(record)
                self._report_dropped()
            except Exception:  # noqa: BLE001 - the worker outlives a broken handler of the host
                self.handleError(record)
            finally:
                self._records.task_done()

    def _report_dropped(self) -> None:
        if dropped := self._dropped:
            self._dropped -= dropped
            self._target.warning("openrouter pipe: %d log records were dropped", dropped)


def _stamp(record: logging.LogRecord) -> None:
    context = current_request().get()
    record.request_id = context.request_id if context else ""
    record.session_id = context.session_id if context else ""
    record.user_id = context.user_id if context else ""
    record.chat_id = context.chat_id if context else ""


def _collect(record: logging.LogRecord) -> None:
    """Note the record with its request, where that is to be archived."""
    if (records := current_records()) is not None:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        fields = {"trace": trace} if trace else {}
        records.add("log", level=record.levelname, text=record.msg, **fields)


def install_session_logger() -> SessionLogger:
    """Put our handler on our logger, in place of the one an earlier copy of the pipe put there."""
    handler = SessionLogger(logging.getLogger(), collecting=True)
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    return handler
