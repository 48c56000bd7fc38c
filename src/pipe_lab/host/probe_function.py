"""
title: Lab probe
version: 1
description: Answers with a count of what is alive in the server's process.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections import Counter


class Pipe:
    """A model whose answer is JSON."""

    def pipes(self) -> list[dict[str, str]]:
        """The one model of this function."""
        return [{"id": "probe", "name": "Lab probe"}]

    async def pipe(self, body: dict) -> str:
        """Count after a collection, so that only what is really held is seen."""
        gc.collect()
        tasks = Counter(_name(task) for task in asyncio.all_tasks())
        return json.dumps(
            {
                "tasks": dict(tasks),
                "threads": [thread.name for thread in threading.enumerate()],
                "objects": len(gc.get_objects()),
            }
        )


def _name(task: asyncio.Task) -> str:
    coroutine = task.get_coro()
    return getattr(coroutine, "__qualname__", type(coroutine).__name__)
