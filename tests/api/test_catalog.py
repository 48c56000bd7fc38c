"""The catalog's rows, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from open_webui_openrouter_pipe.api.catalog import fetch_credit_left, fetch_models
from open_webui_openrouter_pipe.api.http import open_client
from open_webui_openrouter_pipe.core.config import Settings
from open_webui_openrouter_pipe.core.errors import (
    ConnectionFailedError,
    OpenRouterAPIError,
    PipeError,
    SettingsError,
)

Fetch = Callable[..., Any]


@pytest.fixture
def fetch(settings_for: Callable[..., Settings]) -> Fetch:
    async def run(answer: httpx.Response | Exception, url: str = "https://a.example/v1") -> Any:
        def respond(request: httpx.Request) -> httpx.Response:
            if request.url.path.endswith(("/images/models", "/videos/models")):
                return httpx.Response(404, json={"error": {"code": 404, "message": "None"}})
            assert str(request.url) == "https://a.example/v1/models?output_modalities=text,image"
            assert request.headers["authorization"] == "Bearer sk-test"
            if isinstance(answer, Exception):
                raise answer
            return answer

        async with open_client(httpx.MockTransport(respond)) as client:
            return await fetch_models(client, settings_for(url))

    return run


async def test_the_rows_come_as_they_are(fetch: Fetch) -> None:
    rows = [{"id": "a/b", "new": 1}, {"id": "c/d"}]
    assert await fetch(httpx.Response(200, json={"data": [*rows, None, "x"]})) == rows
    assert await fetch(httpx.Response(200, json={"data": []})) == []


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (httpx.Response(401, json={"error": {"code": 401, "message": "User?"}}), "(401): User?"),
        (httpx.Response(200, json={"error": {"code": 500, "message": "Oh"}}), "(500): Oh"),
        (httpx.Response(200, json={"models": []}), "No reason was given"),
        (httpx.Response(502, html="<html>"), "(502): Bad Gateway"),
        (httpx.Response(301, headers={"Location": "/x"}), "(301): Moved Permanently"),
    ],
)
async def test_an_answer_without_rows_says_why(
    fetch: Fetch, answer: httpx.Response, cause: str
) -> None:
    with pytest.raises(OpenRouterAPIError) as caught:
        await fetch(answer)
    assert cause in caught.value.cause


@pytest.mark.parametrize(
    ("row", "left"),
    [({"limit_remaining": 8.75}, 8.75), ({"limit_remaining": None}, None), ({}, None)],
)
async def test_the_key_tells_what_is_left(
    settings_for: Callable[..., Settings], row: dict[str, Any], left: float | None
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/key"
        return httpx.Response(200, json={"data": row})

    async with open_client(httpx.MockTransport(respond)) as client:
        settings = settings_for("https://a.example/v1")
        assert await fetch_credit_left(client, settings) == left


async def test_a_web_page_says_that_the_address_is_wrong(fetch: Fetch) -> None:
    with pytest.raises(SettingsError, match=r"https://a\.example/v1 answers with a web page"):
        await fetch(httpx.Response(200, html="<p>Welcome</p>"))


@pytest.mark.parametrize(
    ("error", "url", "cause"),
    [
        (httpx.ConnectError("x"), "https://a.example/v1", ConnectionFailedError),
        (httpx.ReadError("x"), "https://a.example/v1", ConnectionFailedError),
        (httpx.ReadError("x"), "http://[::1", SettingsError),
    ],
)
async def test_a_broken_connection_has_its_cause(
    fetch: Fetch, error: Exception, url: str, cause: type[PipeError]
) -> None:
    with pytest.raises(cause):
        await fetch(error, url)
