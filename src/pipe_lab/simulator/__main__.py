"""`python -m pipe_lab.simulator`: the simulator as a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable

from .server import Simulator

_PACE_MS = 15.0


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT; the first line printed is the base URL."""
    options = _parse(arguments)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve(options))


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipe_lab.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes any free port")
    parser.add_argument(
        "--pace", type=float, default=_PACE_MS, help="milliseconds between two words (default 15)"
    )
    parser.add_argument(
        "--deltas", type=int, default=None, help="answer everything with so many deltas"
    )
    return parser.parse_args(arguments)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    simulator = Simulator(options.port, options.pace / 1000)
    simulator.deltas = options.deltas
    async with simulator:
        print(simulator.base_url)
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    main()
