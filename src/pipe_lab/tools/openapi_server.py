"""A tool server as Open WebUI's users run them: HTTP routes, described by an OpenAPI document."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from aiohttp import web

_NUMBER = {"type": "integer"}
_MULTIPLY = {
    "operationId": "multiply",
    "summary": "Multiply two numbers.",
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {"a": _NUMBER, "b": _NUMBER},
                    "required": ["a", "b"],
                }
            }
        },
    },
    "responses": {"200": {"description": "The product."}},
}
_SHOW_MAP = {
    "operationId": "show_map",
    "summary": "Show a map of a city.",
    "parameters": [
        {"name": "city", "in": "path", "required": True, "schema": {"type": "string"}},
    ],
    "responses": {"200": {"description": "A page."}},
}
DOCUMENT = {
    "openapi": "3.1.0",
    "info": {"title": "Lab", "version": "1"},
    "paths": {"/multiply": {"post": _MULTIPLY}, "/maps/{city}": {"get": _SHOW_MAP}},
}


class OpenAPIServer:
    """The server, in this process; use it as an async context manager."""

    def __init__(self) -> None:
        self.port = 0
        # What was asked, in order: (operation, arguments).
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """The address that an administrator enters."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> OpenAPIServer:
        app = web.Application()
        app.add_routes(
            [
                web.get("/openapi.json", self._describe),
                web.post("/multiply", self._multiply),
                web.get("/maps/{city}", self._show_map),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _describe(self, _: web.Request) -> web.Response:
        return web.json_response(DOCUMENT)

    async def _multiply(self, request: web.Request) -> web.Response:
        numbers = await request.json()
        self.calls.append(("multiply", numbers))
        return web.json_response({"product": numbers["a"] * numbers["b"]})

    async def _show_map(self, request: web.Request) -> web.Response:
        city = request.match_info["city"]
        self.calls.append(("show_map", {"city": city}))
        page = f"<h1>A map of {city}</h1>"
        inline = {"Content-Disposition": "inline"}
        return web.Response(text=page, content_type="text/html", headers=inline)
