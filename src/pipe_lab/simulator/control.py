"""Routes under `/__lab__/` with which another process scripts and asks the simulator."""

from __future__ import annotations

import base64
from dataclasses import asdict
from typing import Any, Protocol

import orjson
from aiohttp import web

from .recording import RecordedRequest
from .replies import Reply, reply_from_json

CONTROL_PATH = "/__lab__"


class Controlled(Protocol):
    """What these routes need of a simulator."""

    requests: list[RecordedRequest]
    open_streams: int

    def script(self, reply: Reply, *, model: str | None = None, path: str | None = None) -> None:
        """Serve the next call with this reply."""

    def release(self) -> None:
        """Let every stalled stream go on."""

    def reset(self) -> None:
        """Forget what was scripted and recorded."""


def control_routes(simulator: Controlled) -> list[web.RouteDef]:
    """The routes that control one simulator."""

    async def script(request: web.Request) -> web.Response:
        wanted = orjson.loads(await request.read())
        reply = reply_from_json(wanted["reply"])
        simulator.script(reply, model=wanted.get("model"), path=wanted.get("path"))
        return _json({})

    async def requests(_: web.Request) -> web.Response:
        return _json([request_to_json(recorded) for recorded in simulator.requests])

    async def state(_: web.Request) -> web.Response:
        counts = {"open_streams": simulator.open_streams, "requests": len(simulator.requests)}
        return _json(counts)

    async def release(_: web.Request) -> web.Response:
        simulator.release()
        return _json({})

    async def reset(_: web.Request) -> web.Response:
        simulator.reset()
        return _json({})

    return [
        web.post(f"{CONTROL_PATH}/script", script),
        web.get(f"{CONTROL_PATH}/requests", requests),
        web.get(f"{CONTROL_PATH}/state", state),
        web.post(f"{CONTROL_PATH}/release", release),
        web.post(f"{CONTROL_PATH}/reset", reset),
    ]


def request_to_json(recorded: RecordedRequest) -> dict[str, Any]:
    """A recorded request as plain JSON."""
    return {**asdict(recorded), "raw": base64.b64encode(recorded.raw).decode()}


def request_from_json(fields: dict[str, Any]) -> RecordedRequest:
    """The way back from `request_to_json`."""
    return RecordedRequest(**{**fields, "raw": base64.b64decode(fields["raw"])})


def _json(value: Any) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
