"""How long each step of a turn takes: one JSON line a step, in a file, when the admin asks for it.

Off, every call costs the reading of one boolean.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, aclosing, nullcontext
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast

from .context import current_records, current_request
from .json_codec import encode_json
from .logging_system import LOG, SessionLogger

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_UNTIMED = nullcontext()


class TimingFile(logging.Handler):
    """Appends one line a record; it runs in the log worker's thread, never on the event loop."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._is_broken = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; a file that cannot be written is reported once."""
        line = {
            "time": record.created,
            "request_id": getattr(record, "request_id", ""),
            "name": record.getMessage(),
            "milliseconds": getattr(record, "milliseconds", None),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(encode_json(line) + b"\n")
        except OSError as error:
            if not self._is_broken:
                self._is_broken = True
                LOG.warning("timing: the file cannot be written: %s", error)


class TimingLog:
    """The switch of the timing log, and its way to the file."""

    def __init__(self) -> None:
        self.enabled = False
        self._path = ""
        self._lines: SessionLogger | None = None

    def follow(self, path: str, *, archiving: bool = False) -> None:
        """Write to this file from now on, if any, and into the archives of requests, if wanted."""
        self.enabled = bool(path) or archiving
        if path == self._path:
            return
        self._path = path
        self._lines = _open_lines(path) if path else None

    def write(self, name: str, started: float) -> None:
        """Note that the step which began at `started` (`time.perf_counter`) is over."""
        milliseconds = round((time.perf_counter() - started) * 1_000, 3)
        if (records := current_records()) is not None:
            records.add("timing", name=name, milliseconds=milliseconds)
        if self._lines is not None:
            entry = {"msg": name, "levelno": logging.INFO, "milliseconds": milliseconds}
            self._lines.emit(logging.makeLogRecord(entry))

    def flush(self) -> None:
        """Wait until everything noted so far is written."""
        if self._lines is not None:
            self._lines.flush()


TIMING = TimingLog()


def timing_mark(name: str) -> None:
    """Note a moment: milliseconds since the request began."""
    if TIMING.enabled and (context := current_request().get()) is not None:
        TIMING.write(name, context.started_at)


def timing_scope(name: str) -> AbstractContextManager[None]:
    """Note how long the `with` block takes, however it ends."""
    return TimingScope(name) if TIMING.enabled else _UNTIMED


class TimingScope(AbstractContextManager[None]):
    """One running block."""

    __slots__ = ("_name", "_started")

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        TIMING.write(self._name, self._started)


def timed(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Note how long each call takes; of a generator, from its first step to its end."""
    name = function.__qualname__
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            with timing_scope(name):
                return await function(*args, **kwargs)

        return cast("Callable[Parameters, Result]", awaited)

    @wraps(function)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not TIMING.enabled:
            return function(*args, **kwargs)
        if inspect.isasyncgenfunction(function):
            items = cast("AsyncGenerator[Any]", function(*args, **kwargs))
            return cast("Result", _timed_items(name, items))
        if inspect.isgeneratorfunction(function):
            steps = cast("Generator[Any, Any, Any]", function(*args, **kwargs))
            return cast("Result", _timed_steps(name, steps))
        with TimingScope(name):
            return function(*args, **kwargs)

    return called


async def _timed_items(name: str, items: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    with timing_scope(name):
        async with aclosing(items):
            async for item in items:
                yield item


def _timed_steps(name: str, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    with timing_scope(name):
        return (yield from steps)


def _open_lines(path: str) -> SessionLogger:
    file = logging.Logger("openrouter-pipe-timing")
    file.addHandler(TimingFile(path))
    return SessionLogger(file)
