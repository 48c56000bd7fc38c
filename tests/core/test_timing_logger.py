"""The timing log: each step a line with its request, written off the loop; off, nothing at all."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext, current_request
from open_webui_openrouter_pipe.core.logging_system import LOG
from open_webui_openrouter_pipe.core.timing_logger import (
    TIMING,
    timed,
    timing_mark,
    timing_scope,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "timing.jsonl"


@pytest.fixture
def request_known() -> Iterator[None]:
    context = RequestContext(
        request_id="r-1", function_id="f", settings=take_snapshot(SystemValves()), model="m"
    )
    token = current_request().set(context)
    yield
    current_request().reset(token)


@pytest.fixture
def timing(path: Path, request_known: None) -> Iterator[None]:
    TIMING.follow(str(path))
    yield
    TIMING.flush()
    TIMING.follow("")


def read_lines(path: Path) -> list[dict[str, Any]]:
    TIMING.flush()
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path: Path) -> list[Path]:
    return [*path.parent.parent.iterdir()]


def names(path: Path) -> list[str]:
    return [line["name"].rpartition(".")[2] for line in read_lines(path)]


@pytest.mark.usefixtures("timing")
def test_a_step_is_one_line_with_its_request(path: Path) -> None:
    with timing_scope("step"):
        timing_mark("moment")
    moment, step = read_lines(path)
    assert (moment["name"], step["name"]) == ("moment", "step")
    assert {line["request_id"] for line in (moment, step)} == {"r-1"}
    assert moment["milliseconds"] >= 0 and step["milliseconds"] >= 0
    assert step["time"] > 1e9


@pytest.mark.usefixtures("timing")
def test_a_step_that_fails_is_noted_too(path: Path) -> None:
    @timed
    def fails() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        fails()
    with pytest.raises(LookupError), timing_scope("scope"):
        raise LookupError
    assert names(path) == ["fails", "scope"]


@timed
def plain(number: int, *, more: int = 0) -> int:
    """Adds."""
    return number + more


@timed
async def awaited(number: int) -> int:
    await asyncio.sleep(0)
    return number


@timed
async def items(count: int) -> AsyncGenerator[int]:
    try:
        for number in range(count):
            yield number
    finally:
        timing_mark("items closed")


@timed
def steps(count: int) -> Generator[int, str, str]:
    heard = ""
    for number in range(count):
        heard += yield number
    return heard


async def use_all() -> list[Any]:
    walk = steps(2)
    seen: list[Any] = [plain(1, more=2), await awaited(4), next(walk), walk.send("a")]
    with pytest.raises(StopIteration) as end:
        walk.send("b")
    async for item in (numbers := items(3)):
        seen.append(item)
        if item == 1:
            break
    await numbers.aclose()
    return [*seen, end.value.value]


USED = [3, 4, 0, 1, 0, 1, "ab"]


@pytest.mark.usefixtures("timing")
async def test_functions_coroutines_and_generators_work_as_before_and_are_timed(path: Path) -> None:
    assert await use_all() == USED
    assert names(path) == ["plain", "awaited", "steps", "items closed", "items"]


async def test_off_nothing_is_wrapped_or_written(path: Path, request_known: None) -> None:
    assert await use_all() == USED
    assert isinstance(items(1), AsyncGenerator) and items(1).__name__ == "items"
    assert timing_scope("one") is timing_scope("two")
    timing_mark("moment")
    assert written(path) == []


def test_a_timed_function_keeps_its_name_and_documentation() -> None:
    assert (plain.__name__, plain.__doc__) == ("plain", "Adds.")
    assert asyncio.iscoroutinefunction(awaited)


@pytest.mark.usefixtures("timing")
def test_the_log_follows_the_settings(path: Path) -> None:
    timing_mark("one")
    assert names(path) == ["one"]
    TIMING.follow("")
    timing_mark("two")
    TIMING.follow(str(path))
    timing_mark("three")
    assert names(path) == ["one", "three"]


@pytest.mark.usefixtures("timing")
def test_one_thread_writes_as_long_as_the_file_stays(path: Path) -> None:
    timing_mark("one")
    writers = set(threading.enumerate())
    TIMING.follow(str(path))
    timing_mark("two")
    assert set(threading.enumerate()) <= writers
    assert names(path) == ["one", "two"]


@pytest.mark.usefixtures("timing")
def test_a_moment_without_a_request_is_not_noted(path: Path) -> None:
    current_request().set(None)
    timing_mark("nobody's")
    with timing_scope("a step"):
        pass
    assert names(path) == ["a step"]


@pytest.mark.usefixtures("request_known")
def test_a_file_that_cannot_be_written_costs_no_answer_and_is_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whatever handlers earlier turns have put there: the report must come by one way only.
    monkeypatch.setattr(LOG, "handlers", [caplog.handler])
    monkeypatch.setattr(LOG, "propagate", False)
    (tmp_path / "logs").write_text("no folder")
    TIMING.follow(str(tmp_path / "logs" / "timing.jsonl"))
    with timing_scope("step"):
        timing_mark("moment")
    TIMING.flush()
    TIMING.follow("")
    assert (tmp_path / "logs").read_text() == "no folder"
    [reported] = [text for text in caplog.messages if text.startswith("timing:")]
    assert "cannot be written" in reported
