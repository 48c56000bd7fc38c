"""A simulator in another process, with the same words as one in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self
from urllib.parse import urlsplit

import httpx

from .control import CONTROL_PATH, request_from_json
from .recording import RecordedRequest
from .replies import Reply, reply_to_json

# Between two looks at the other process, which cannot call us (seconds).
_LOOK_AGAIN = 0.02


class RemoteSimulator:
    """`async with RemoteSimulator(base_url)`: scripts and asks a simulator elsewhere."""

    def __init__(self, base_url: str) -> None:
        """`base_url` is the line that the simulator's process prints."""
        self.base_url = base_url
        # What the last `refresh()` or `wait_for()` saw.
        self.requests: list[RecordedRequest] = []
        self.open_streams = 0
        parts = urlsplit(base_url)
        control = f"{parts.scheme}://{parts.netloc}{CONTROL_PATH}"
        self._http = httpx.AsyncClient(base_url=control, verify=False)

    async def __aenter__(self) -> Self:
        """Nothing to do yet."""
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def script(
        self, reply: Reply, *, model: str | None = None, path: str | None = None
    ) -> None:
        """Serve the next call with this reply; without `path`, the next completion."""
        wanted = {"reply": reply_to_json(reply), "model": model, "path": path}
        (await self._http.post("/script", json=wanted)).raise_for_status()

    async def release(self) -> None:
        """Let every stalled stream go on."""
        (await self._http.post("/release")).raise_for_status()

    async def reset(self) -> None:
        """Forget what was scripted and recorded."""
        (await self._http.post("/reset")).raise_for_status()

    async def refresh(self) -> Self:
        """Read what was recorded and how many streams are open."""
        state = (await self._http.get("/state")).raise_for_status().json()
        recorded = (await self._http.get("/requests")).raise_for_status().json()
        self.open_streams = state["open_streams"]
        self.requests = [request_from_json(fields) for fields in recorded]
        return self

    async def wait_for(
        self,
        condition: Callable[[Self], bool],
        timeout: float = 5,  # noqa: ASYNC109
    ) -> None:
        """Return as soon as the condition holds; raises `TimeoutError` if it never does."""
        async with asyncio.timeout(timeout):
            while not condition(await self.refresh()):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_AGAIN)
