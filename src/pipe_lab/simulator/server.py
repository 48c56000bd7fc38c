"""The simulator itself: an HTTP server that records what it gets and answers like OpenRouter."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

import orjson
from aiohttp import web

from .body_checks import check_body
from .books import charged_in, generation_in
from .catalog import build_catalog
from .catalog_routes import catalog_reply
from .completions import Completions
from .control import control_routes
from .delivery import deliver
from .error_bodies import error_plain
from .prompt_cache import PromptCache
from .recording import RecordedRequest
from .replies import Reply
from .studio import Studio

BASE_PATH = "/api/v1"
COMPLETION_PATHS = ("/responses", "/chat/completions")
_PUBLIC_PATHS = ("/models", "/model/", "/providers", "/endpoints", "/images/m", "/videos/m")
_MAX_BODY = 100 * 1024 * 1024
# A process that serves a person for days must not remember every picture.
_KEPT_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class _Scripted:
    reply: Reply
    model: str | None
    path: str | None

    def serves(self, request: RecordedRequest) -> bool:
        if self.path is None and request.path not in COMPLETION_PATHS:
            return False
        if self.path is not None and self.path != request.path:
            return False
        asked = request.body.get("model") if isinstance(request.body, dict) else None
        return self.model is None or self.model == asked


class Simulator:
    """An OpenRouter on loopback: `async with Simulator() as simulator`."""

    def __init__(self, port: int = 0, pace: float = 0.0) -> None:
        """`port` 0 takes any free one; `pace` is the pause between two words for a person."""
        self.requests: list[RecordedRequest] = []
        self.catalog: list[dict[str, Any]] = build_catalog()
        self.require_key = True
        self.open_streams = 0
        # USD charged for every answer that was written to its end, or that its client has left.
        self.books = Decimal(0)
        # What `GET /generation` tells, by id.
        self._generations: dict[str, dict[str, Any]] = {}
        self.pace = pace
        # A number here makes every answer a stream of so many deltas (for benchmarks).
        self.deltas: int | None = None
        self.port = port
        self.studio = Studio()
        self._cache = PromptCache()
        self._accepted_keys: set[str] = set()
        self._script: list[_Scripted] = []
        self._changed = asyncio.Event()
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def base_url(self) -> str:
        """What a client takes for `https://openrouter.ai/api/v1`."""
        return f"http://127.0.0.1:{self.port}{BASE_PATH}"

    async def __aenter__(self) -> Self:
        """Start to listen."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_route("*", BASE_PATH + "{path:/.*}", self._serve)
        app.router.add_routes(control_routes(self))
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        self._runner = runner
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop; streams that still run are cut."""
        self.release()
        if self._runner is not None:
            await self._runner.cleanup()

    def script(self, reply: Reply, *, model: str | None = None, path: str | None = None) -> None:
        """Serve the next call with this reply; without `path`, the next completion."""
        self._script.append(_Scripted(reply, model, path))

    def accept_key(self, key: str) -> None:
        """From now on only keys named here are accepted."""
        self._accepted_keys.add(key)

    def release(self) -> None:
        """Let every stalled stream go on."""
        self._released.set()
        self._released = asyncio.Event()

    def reset(self) -> None:
        """Forget what was scripted and recorded."""
        self._script.clear()
        self.requests.clear()
        self.studio = Studio()
        self.books = Decimal(0)
        self.release()
        self._notify()

    async def wait_for(
        self,
        condition: Callable[[Self], bool],
        timeout: float = 5,  # noqa: ASYNC109
    ) -> None:
        """Return as soon as the condition holds; raises `TimeoutError` if it never does."""
        async with asyncio.timeout(timeout):
            while not condition(self):
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        recorded = await _record(request)
        self.requests.append(recorded)
        del self.requests[:-_KEPT_REQUESTS]
        release = self._released
        reply = self._reply_to(recorded)
        streams = reply.events is not None
        self.open_streams += streams
        self._notify()
        try:
            response = await deliver(reply, request, release)
            recorded.finished = True
            return response
        except (asyncio.CancelledError, ConnectionError):
            recorded.disconnected = True
            raise
        finally:
            self.open_streams -= streams
            self._charge(recorded, reply)
            self._notify()

    def _charge(self, request: RecordedRequest, reply: Reply) -> None:
        self.books += charged_in(reply)
        if request.path in COMPLETION_PATHS:
            told = generation_in(reply, cancelled=request.disconnected)
            self._generations[told["id"]] = told
        if len(self._generations) > _KEPT_REQUESTS:
            del self._generations[next(iter(self._generations))]

    def _reply_to(self, request: RecordedRequest) -> Reply:
        refusal = self._key_refusal(request)
        if refusal is not None:
            return refusal
        for place, scripted in enumerate(self._script):
            if scripted.serves(request):
                del self._script[place]
                return self._malformed(request) or scripted.reply
        return self._answer(request)

    def _key_refusal(self, request: RecordedRequest) -> Reply | None:
        public = request.path.startswith(_PUBLIC_PATHS)
        if not self.require_key or (public and request.path != "/models/user"):
            return None
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return Reply(status=401, body=error_plain(401, "Missing Authentication header"))
        known = key in self._accepted_keys if self._accepted_keys else _plausible(key)
        if not known:
            return Reply(status=401, body=error_plain(401, "User not found."))
        return None

    def _malformed(self, request: RecordedRequest) -> Reply | None:
        # A script answers whatever is asked, but never a body that the real one would refuse.
        completes = request.path in COMPLETION_PATHS
        return check_body(request.path, request.body) if completes else None

    def _answer(self, request: RecordedRequest) -> Reply:
        reply = self.studio.reply_to(request, self.catalog)
        if reply is not None:
            return reply
        if request.path in COMPLETION_PATHS and request.method == "POST":
            desk = Completions(self.catalog, self._cache, self.pace, self.deltas)
            reply = desk.reply_to(request)
        elif request.path == "/generation":
            told = self._generations.get(request.query.get("id", ""))
            reply = Reply(body={"data": told}) if told else None
        elif request.method == "GET":
            reply = catalog_reply(request, self.catalog)
        return reply or Reply(status=404, body=error_plain(404, "Not Found"))


def _plausible(key: str) -> bool:
    return key.startswith("sk-") and "bad" not in key


async def _record(request: web.Request) -> RecordedRequest:
    raw = await request.read()
    try:
        body = orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        body = None
    return RecordedRequest(
        method=request.method,
        path=request.match_info["path"],
        query=dict(request.query),
        headers={key.lower(): value for key, value in request.headers.items()},
        body=body,
        raw=raw,
    )
