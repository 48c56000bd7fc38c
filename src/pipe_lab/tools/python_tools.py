"""
title: Lab tools
version: 1
description: Tools that are slow, that fail, that return too much, and that write down each run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fastapi.responses import HTMLResponse  # pyright: ignore[reportMissingImports]
from pydantic import BaseModel

DOT = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGA"
    "hKmMIQAAAABJRU5ErkJggg=="
)
WEATHER = {"Paris": ("rain", 9), "Rome": ("sunny", 19)}
INLINE = {"Content-Disposition": "inline"}


class Tools:
    """What a model may call."""

    class Valves(BaseModel):
        """Where the runs are written down."""

        RUNS_FILE: str = ""

    def __init__(self) -> None:
        self.valves = self.Valves()

    async def add_numbers(self, a: int, b: int) -> str:
        """
        Add two numbers.
        :param a: The first one.
        :param b: The second one.
        """
        with self._run("add_numbers", a=a, b=b):
            return str(a + b)

    async def get_weather(self, city: str) -> dict[str, Any]:
        """
        The weather of today.
        :param city: Where.
        """
        with self._run("get_weather", city=city):
            sky, degrees = WEATHER.get(city, ("cloudy", 12))
            return {"city": city, "sky": sky, "degrees_celsius": degrees}

    async def wait_half_a_second(self, number: int) -> str:
        """
        Wait half a second.
        :param number: Which of several waits this is.
        """
        with self._run("wait_half_a_second", number=number):
            await asyncio.sleep(0.5)
            return f"waited {number}"

    async def raise_an_error(self) -> str:
        """Fail."""
        with self._run("raise_an_error"):
            raise RuntimeError("the lab's tool is broken")

    async def never_return(self) -> str:
        """Hang until somebody loses patience."""
        with self._run("never_return"):
            await asyncio.Event().wait()
            return "never"

    async def return_five_megabytes(self) -> str:
        """Return more than any model can read."""
        with self._run("return_five_megabytes"):
            return "BEGIN " + "filler " * 750_000 + "END"

    async def draw_a_dot(self) -> str:
        """Return a picture."""
        with self._run("draw_a_dot"):
            return DOT

    async def show_a_page(self) -> HTMLResponse:
        """Return a page that is shown to the person."""
        with self._run("show_a_page"):
            return HTMLResponse("<h1>A page of the lab</h1>", headers=INLINE)

    async def show_a_page_and_tell(self) -> tuple[HTMLResponse, str]:
        """Return a page for the person, and words about it for the model."""
        with self._run("show_a_page_and_tell"):
            return HTMLResponse("<h1>Told</h1>", headers=INLINE), "The page says: Told."

    async def return_a_pair(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return a tuple, of which only the first part is meant for the model."""
        with self._run("return_a_pair"):
            return {"answer": 42}, {"status": 200}

    async def speak_beside_the_answer(self, __event_emitter__: Any = None) -> str:
        """Tell the page of a status, a source and a file, and return."""
        with self._run("speak_beside_the_answer"):
            source = {"source": {"name": "Lab"}, "document": ["said"]}
            source["metadata"] = [{"source": "lab"}]
            file = {"type": "file", "url": "https://lab.example/a.txt", "name": "a.txt"}
            told = {"description": "Looking", "done": True}
            for kind, data in (
                ("status", told),
                ("citation", source),
                ("files", {"files": [file]}),
            ):
                await __event_emitter__({"type": kind, "data": data})
            return "spoken"

    @contextmanager
    def _run(self, tool: str, **arguments: Any) -> Iterator[None]:
        """Write down when the run begins and when it ends, however it does."""
        run = {"tool": tool, "arguments": arguments, "began": time.monotonic()}
        self._write(run)
        try:
            yield
        finally:
            self._write({**run, "ended": time.monotonic()})

    def _write(self, line: dict[str, Any]) -> None:
        with open(self.valves.RUNS_FILE, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
