"""The log: stamped per request, written by one thread off the loop, and never in the way."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator

import pytest

from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext, current_request
from open_webui_openrouter_pipe.core.logging_system import (
    LOG,
    SessionLogger,
    install_session_logger,
)


class Target(logging.Handler):
    """The host's handler: keeps what it is given and which thread brought it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.writers: list[threading.Thread] = []
        self.entered = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def emit(self, record: logging.LogRecord) -> None:
        self.entered.set()
        assert self.open.wait(10)
        if record.getMessage() == "break":
            raise OSError("disk full")
        self.records.append(record)
        self.writers.append(threading.current_thread())

    @property
    def messages(self) -> list[str]:
        return [record.getMessage() for record in self.records]


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
def connect(target: Target) -> Callable[..., tuple[logging.Logger, SessionLogger]]:
    """Make a logger whose records reach the target through a SessionLogger."""

    def build(queue_length: int = 100) -> tuple[logging.Logger, SessionLogger]:
        host, source = logging.Logger("host"), logging.Logger("source")
        host.addHandler(target)
        session = SessionLogger(host, queue_length=queue_length, idle_seconds=0.01)
        source.addHandler(session)
        return source, session

    return build


Connect = Callable[..., tuple[logging.Logger, SessionLogger]]


def context(name: str) -> RequestContext:
    return RequestContext(
        request_id=f"r-{name}",
        function_id="f",
        settings=take_snapshot(SystemValves()),
        model="m",
        user_id=f"u-{name}",
        session_id=f"s-{name}",
        chat_id=f"c-{name}",
    )


async def test_each_record_carries_the_ids_of_its_own_request(
    connect: Connect, target: Target
) -> None:
    log, session = connect()
    both = asyncio.Barrier(2)

    async def answer(name: str) -> None:
        current_request().set(context(name))
        await both.wait()
        log.info(name)

    await asyncio.gather(answer("a"), answer("b"))
    log.info("nobody")
    await asyncio.to_thread(session.flush)
    ids = {
        record.getMessage(): [
            record.__dict__[key] for key in ("request_id", "user_id", "session_id", "chat_id")
        ]
        for record in target.records
    }
    assert ids == {
        "a": ["r-a", "u-a", "s-a", "c-a"],
        "b": ["r-b", "u-b", "s-b", "c-b"],
        "nobody": ["", "", "", ""],
    }


def test_one_thread_writes_ends_when_idle_and_comes_back(connect: Connect, target: Target) -> None:
    log, session = connect()
    log.info("one")
    log.info("two")
    session.flush()
    [writer] = set(target.writers)
    assert writer is not threading.current_thread()
    writer.join(10)
    assert not writer.is_alive()
    log.info("three")
    session.flush()
    assert target.messages == ["one", "two", "three"]
    assert target.writers[2] is not writer


def test_a_record_says_what_was_true_when_it_was_made(connect: Connect, target: Target) -> None:
    log, session = connect()
    target.open.clear()
    items = ["a"]
    log.info("%s", items)
    items.append("b")
    target.open.set()
    session.flush()
    assert target.messages == ["['a']"]


def test_a_full_queue_drops_records_and_says_how_many(connect: Connect, target: Target) -> None:
    log, session = connect(queue_length=1)
    target.open.clear()
    log.info("written")
    assert target.entered.wait(10)
    for text in ("queued", "lost", "lost"):
        log.info(text)
    target.open.set()
    session.flush()
    assert target.messages == ["written", "openrouter pipe: 2 log records were dropped", "queued"]


@pytest.mark.parametrize(
    "spoil", [lambda log: log.info("break"), lambda log: log.info("%d", "no number")]
)
def test_neither_a_broken_handler_nor_a_broken_message_stops_the_log(
    spoil: Callable[[logging.Logger], None],
    connect: Connect,
    target: Target,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log, session = connect()
    spoil(log)
    log.info("after")
    session.flush()
    assert target.messages == ["after"]
    assert "Logging error" in capsys.readouterr().err


def test_an_exception_arrives_with_its_traceback(connect: Connect, target: Target) -> None:
    log, session = connect()
    try:
        raise KeyError("gone")
    except KeyError:
        log.exception("failed")
    session.flush()
    assert "KeyError: 'gone'" in logging.Formatter().format(target.records[0])


@pytest.fixture
def untouched_log() -> Iterator[None]:
    handlers, propagate = LOG.handlers[:], LOG.propagate
    yield
    LOG.handlers[:], LOG.propagate = handlers, propagate


@pytest.mark.usefixtures("untouched_log")
def test_a_newer_copy_takes_the_log_over(caplog: pytest.LogCaptureFixture) -> None:
    install_session_logger()
    newest = install_session_logger()
    assert LOG.handlers == [newest]
    LOG.warning("once")
    newest.flush()
    assert caplog.messages == ["once"]
