"""An administrator or a user of the lab's Open WebUI, over its HTTP API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

_TIMEOUT = httpx.Timeout(60, connect=10)
_UPLOAD_SECONDS = 60

EVERYONE = {"principal_type": "user", "principal_id": "*", "permission": "read"}


class APIError(Exception):
    """Open WebUI refused a request; the text carries its answer."""

    def __init__(self, response: httpx.Response) -> None:
        request = response.request
        super().__init__(
            f"{request.method} {request.url.path}: {response.status_code} {response.text[:500]}"
        )
        self.status = response.status_code
        self.response = response


@dataclass(frozen=True, slots=True)
class Account:
    """A signed-in person."""

    id: str
    name: str
    email: str
    role: str
    token: str


@dataclass(frozen=True, slots=True)
class OpenAIConnection:
    """Open WebUI's own connection to an OpenAI-compatible API, beside the pipe."""

    base_url: str
    api_key: str
    # "responses" makes Open WebUI speak the Responses API; empty means Chat Completions.
    api_type: str = ""
    # Put before every model id of this connection, so that it never meets the pipe's ids.
    prefix: str = ""


class OpenWebUIClient:
    """One account's view of the server; use it as an async context manager."""

    def __init__(self, url: str, account: Account) -> None:
        self.url = url
        self.account = account
        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {account.token}"},
            timeout=_TIMEOUT,
            # The server hangs up after five idle seconds: never just when a request goes out.
            limits=httpx.Limits(keepalive_expiry=2),
            trust_env=False,
        )

    async def __aenter__(self) -> OpenWebUIClient:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    async def get(self, path: str, **query: Any) -> Any:
        """The JSON answer to a GET."""
        return _answer(await self.http.get(path, params=query))

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """The JSON answer to a POST."""
        return _answer(await self.http.post(path, json=body, params=query))

    # Functions

    async def create_function(self, function_id: str, name: str, source: str) -> None:
        """Paste a function into the editor, and enable it."""
        await self.post("/api/v1/functions/create", _function_form(function_id, name, source))
        await self.post(f"/api/v1/functions/id/{function_id}/toggle")

    async def function(self, function_id: str) -> dict[str, Any] | None:
        """The stored function, or None when there is none."""
        for stored in await self.get("/api/v1/functions/"):
            if stored["id"] == function_id:
                return await self.get(f"/api/v1/functions/id/{function_id}")
        return None

    async def update_function(self, function_id: str, name: str, source: str) -> None:
        """Save another text under the same id; Open WebUI loads it anew."""
        form = _function_form(function_id, name, source)
        await self.post(f"/api/v1/functions/id/{function_id}/update", form)

    async def install_function(self, function_id: str, name: str, source: str) -> str:
        """Create, update or leave the function, enabled in each case; says which it was."""
        stored = await self.function(function_id)
        if stored is None:
            await self.create_function(function_id, name, source)
            return "installed"
        unchanged = stored["content"] == source
        if not unchanged:
            await self.update_function(function_id, name, source)
        if not stored["is_active"]:
            await self.post(f"/api/v1/functions/id/{function_id}/toggle")
        return "unchanged" if unchanged else "updated"

    async def delete_function(self, function_id: str) -> None:
        """Remove the function."""
        _answer(await self.http.delete(f"/api/v1/functions/id/{function_id}/delete"))

    async def valves(self, function_id: str) -> dict[str, Any]:
        """The saved valves, as the administrator's form gets them."""
        return await self.get(f"/api/v1/functions/id/{function_id}/valves") or {}

    async def set_valves(self, function_id: str, values: Mapping[str, Any]) -> None:
        """Save exactly these valves; every other one takes its default."""
        await self.post(f"/api/v1/functions/id/{function_id}/valves/update", dict(values))

    async def valves_spec(self, function_id: str) -> dict[str, Any]:
        """The JSON schema the valves form is drawn from."""
        return await self.get(f"/api/v1/functions/id/{function_id}/valves/spec")

    async def set_user_valves(self, function_id: str, values: Mapping[str, Any]) -> None:
        """Save exactly these settings as this account's own."""
        await self.post(f"/api/v1/functions/id/{function_id}/valves/user/update", dict(values))

    # Models

    async def models(self) -> list[dict[str, Any]]:
        """The model picker's list, asked for anew."""
        return (await self.get("/api/models", refresh="true"))["data"]

    async def grant_model(self, model_id: str) -> None:
        """Let every signed-in user read one model."""
        grant = {"id": model_id, "access_grants": [EVERYONE]}
        await self.post("/api/v1/models/model/access/update", grant)

    async def set_model(self, model_id: str, **overlay: Any) -> None:
        """What an administrator sets for every chat with this model: `name`, `params`, `meta`."""
        form = {"id": model_id, "name": model_id, "meta": {}, "params": {}, **overlay}
        stored = await self.get("/api/v1/models/base")
        is_new = all(row["id"] != model_id for row in stored)
        await self.post(f"/api/v1/models/{'create' if is_new else 'model/update'}", form)

    async def reset_model(self, model_id: str) -> None:
        """Take back what was set for a model."""
        await self.post("/api/v1/models/model/delete", {"id": model_id})

    async def set_default_model(self, model_id: str) -> None:
        """What a new chat starts with, for everyone."""
        settings = await self.get("/api/v1/configs/models")
        await self.post("/api/v1/configs/models", {**settings, "DEFAULT_MODELS": model_id})

    async def set_connection(self, connection: OpenAIConnection | None) -> None:
        """Make this the only OpenAI connection, or have none."""
        urls = [connection.base_url] if connection else []
        keys = [connection.api_key] if connection else []
        configs: dict[str, Any] = {}
        if connection:
            configs["0"] = {
                "enable": True,
                "api_type": connection.api_type,
                "prefix_id": connection.prefix,
            }
        form = {
            "ENABLE_OPENAI_API": connection is not None,
            "OPENAI_API_BASE_URLS": urls,
            "OPENAI_API_KEYS": keys,
            "OPENAI_API_CONFIGS": configs,
        }
        await self.post("/openai/config/update", form)

    # Settings of the server

    async def change_settings(self, page: str, *, save_at: str = "", **changes: Any) -> None:
        """Save one page of the administrator's settings with these changes in it."""
        settings = await self.get(page)
        await self.post(page + save_at, {**settings, **changes})

    # People

    async def create_user(self, name: str, email: str, password: str) -> Account:
        """Add an ordinary user."""
        form = {"name": name, "email": email, "password": password, "role": "user"}
        return _account(await self.post("/api/v1/auths/add", form))

    # Chats

    async def chat(self, chat_id: str) -> dict[str, Any]:
        """A saved chat as the page would load it."""
        return (await self.get(f"/api/v1/chats/{chat_id}"))["chat"]

    async def message(self, chat_id: str, message_id: str) -> dict[str, Any]:
        """One saved message."""
        return (await self.chat(chat_id))["history"]["messages"][message_id]

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One API answer, whole."""
        return await self.post("/api/chat/completions", {**body, "stream": False})

    async def stream(self, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """One API answer, chunk by chunk; close the iterator to leave early."""
        request = self.http.stream("POST", "/api/chat/completions", json={**body, "stream": True})
        async with request as response:
            if response.is_error:
                await response.aread()
                raise APIError(response)
            async for line in response.aiter_lines():
                data = line.removeprefix("data:").strip()
                if line.startswith("data:") and data != "[DONE]":
                    yield json.loads(data)

    async def stop_chat(self, chat_id: str) -> dict[str, Any]:
        """The stop button."""
        return await self.post(f"/api/tasks/chat/{chat_id}/stop")

    # Files

    async def upload(self, path: Path) -> dict[str, Any]:
        """Attach a file as the page does, and wait until Open WebUI has read it."""
        content = await asyncio.to_thread(path.read_bytes)
        answer = await self.http.post("/api/v1/files/", files={"file": (path.name, content)})
        file_id = _answer(answer)["id"]
        async with asyncio.timeout(_UPLOAD_SECONDS):
            while True:
                stored = await self.get(f"/api/v1/files/{file_id}")
                if stored["data"].get("status") in ("completed", "failed"):
                    return stored
                await asyncio.sleep(0.1)


async def sign_up(url: str, name: str, email: str, password: str) -> Account:
    """Make an account; the first one on a server is its administrator."""
    form = {"name": name, "email": email, "password": password}
    return await _enter(url, "/api/v1/auths/signup", form)


async def sign_in(url: str, email: str, password: str) -> Account:
    """Enter with an account; without authentication anyone enters as the administrator."""
    return await _enter(url, "/api/v1/auths/signin", {"email": email, "password": password})


async def _enter(url: str, path: str, form: Mapping[str, str]) -> Account:
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=_TIMEOUT) as http:
        return _account(_answer(await http.post(path, json=form)))


def _account(answer: Mapping[str, Any]) -> Account:
    return Account(**{name: answer[name] for name in ("id", "name", "email", "role", "token")})


def _function_form(function_id: str, name: str, source: str) -> dict[str, Any]:
    meta = {"description": name, "manifest": {}}
    return {"id": function_id, "name": name, "content": source, "meta": meta}


def _answer(response: httpx.Response) -> Any:
    if response.is_error:
        raise APIError(response)
    return response.json()
