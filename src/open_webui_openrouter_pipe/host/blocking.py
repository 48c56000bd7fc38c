"""Python tools written without `async`: run off the event loop, which they would hold up."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from typing import Any

_THREAD_NAME = "openrouter-tool"
_MOST_THREADS = 500
"""In one process; a tool that never ends keeps its own."""


def is_blocking(function: Any) -> bool:
    """Whether Open WebUI's coroutine only wraps a plain function (`utils/tools.py`)."""
    wrapped = getattr(function, "__function__", None)
    return wrapped is not None and not inspect.iscoroutinefunction(wrapped)


async def call_off_loop(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Run the wrapped function in a thread of its own, so that a stuck one takes none away.

    Cancelled, this waits no longer; the thread cannot be ended and runs out by itself. Raises
    `RuntimeError` where too many have not.
    """
    if sum(thread.name == _THREAD_NAME for thread in threading.enumerate()) >= _MOST_THREADS:
        raise RuntimeError(
            f"{_MOST_THREADS} Python tools run or hang already. "
            "If they hang, the admin should restart the server."
        )
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def deliver(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(_run_through, function, arguments)
        except BaseException as raised:  # noqa: BLE001 - a tool is contained
            error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=work, name=_THREAD_NAME, daemon=True).start()
    result = await outcome
    return await result if inspect.isawaitable(result) else result


def _run_through(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Step the wrapper to its end at once: it awaits nothing."""
    coroutine = function(**arguments)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("It waits for something that only the server's event loop can give it.")
