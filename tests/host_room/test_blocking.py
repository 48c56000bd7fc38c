"""Tools written without `async`: off the event loop, with their result, their error, their end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

from open_webui_openrouter_pipe.host.blocking import call_off_loop, is_blocking

ASKING: ContextVar[str] = ContextVar("asking", default="")


def wrapped(function: Callable[..., Any]) -> Any:
    """As Open WebUI wraps a tool (`utils/tools.py`)."""

    async def new_function(**arguments: Any) -> Any:
        result = function(**arguments)
        return await result if asyncio.iscoroutinefunction(function) else result

    new_function.__dict__["__function__"] = function
    return new_function


async def modern(q: str) -> str:
    return q


def plain(q: str) -> tuple[str, bool, str]:
    return q, threading.current_thread() is threading.main_thread(), ASKING.get()


def test_only_a_wrapped_plain_function_blocks() -> None:
    assert is_blocking(wrapped(plain))
    assert not is_blocking(wrapped(modern))
    assert not is_blocking(modern)


async def test_it_runs_in_another_thread_as_the_same_request() -> None:
    ASKING.set("ada")
    assert await call_off_loop(wrapped(plain), {"q": "x"}) == ("x", False, "ada")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), StopIteration()])
async def test_what_it_raises_arrives(error: BaseException) -> None:
    def broken() -> None:
        raise error

    with pytest.raises(ValueError if isinstance(error, ValueError) else RuntimeError):
        await call_off_loop(wrapped(broken), {})


async def test_a_coroutine_it_returns_is_waited_for() -> None:
    assert await call_off_loop(wrapped(lambda q: modern(q)), {"q": "x"}) == "x"


async def test_a_wrapper_that_waits_for_the_loop_is_told_apart() -> None:
    async def waits() -> None:
        await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="event loop"):
        await call_off_loop(waits, {})


async def test_cancelled_it_waits_no_longer_and_its_late_end_disturbs_nobody() -> None:
    begun, let_go, ended = threading.Event(), threading.Event(), threading.Event()
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, fault: faults.append(fault))

    def stuck() -> None:
        begun.set()
        let_go.wait()
        ended.set()

    turn = asyncio.create_task(call_off_loop(wrapped(stuck), {}))
    assert await asyncio.to_thread(begun.wait, 10)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    let_go.set()
    assert ended.wait(10)
    for thread in threading.enumerate():
        if thread.name == "openrouter-tool":
            thread.join(10)
    await asyncio.sleep(0)  # its last word is on the loop
    assert faults == []


async def test_tools_that_never_end_do_not_fill_the_process_with_threads() -> None:
    let_go = threading.Event()
    runs: list[asyncio.Task[Any]] = []
    try:
        for _ in range(500):
            runs.append(asyncio.create_task(call_off_loop(wrapped(let_go.wait), {"timeout": 60})))
            await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="run or hang already"):
            await call_off_loop(wrapped(plain), {"q": "x"})
    finally:
        let_go.set()
    assert all(await asyncio.gather(*runs))
