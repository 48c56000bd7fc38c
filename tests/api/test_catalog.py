"""The catalog's rows, or the reason why there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from open_webui_openrouter_pipe.api.catalog import (
    CatalogCopy,
    fetch_credit_left,
    fetch_models,
    fetch_provider_slugs,
    fetch_zdr_ids,
)
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
            return (await fetch_models(client, settings_for(url))).rows

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


async def test_the_models_of_the_key_have_an_address_of_their_own(
    settings_for: Callable[..., Settings],
) -> None:
    asked: list[httpx.URL] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        return httpx.Response(200, json={"data": [{"id": "a/b"}]})

    async with open_client(httpx.MockTransport(respond)) as client:
        settings = settings_for("https://a.example/v1", KEY_MODELS_ONLY=True)
        assert (await fetch_models(client, settings)).rows == [{"id": "a/b"}]
    assert asked == ["https://a.example/v1/models/user"]


async def test_the_catalog_at_hand_is_sent_again_only_when_it_has_changed(
    settings_for: Callable[..., Settings],
) -> None:
    states = ['"1"', '"1"', '"2"']

    def respond(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("v1/models"):
            return httpx.Response(404)
        etag = states.pop(0)
        if request.headers.get("if-none-match") == etag:
            return httpx.Response(304)
        return httpx.Response(200, json={"data": [{"id": etag}]}, headers={"ETag": etag})

    async with open_client(httpx.MockTransport(respond)) as client:
        settings = settings_for("https://a.example/v1")
        first = await fetch_models(client, settings)
        assert await fetch_models(client, settings, first) is first
        third = await fetch_models(client, settings, first)
    assert (third.rows, third.etag) == ([{"id": '"2"'}], '"2"')


async def test_a_server_that_names_no_state_is_asked_for_all_of_it(
    settings_for: Callable[..., Settings],
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert "if-none-match" not in request.headers
        return httpx.Response(200, json={"data": [{"id": "a/b"}]})

    async with open_client(httpx.MockTransport(respond)) as client:
        settings = settings_for("https://a.example/v1")
        kept = CatalogCopy([{"id": "old"}])
        assert (await fetch_models(client, settings, kept)).rows == [{"id": "a/b"}]


@pytest.mark.parametrize(
    ("answer", "ids"),
    [
        ({"data": [{"model_id": "a/b"}, {"model_id": "a/b"}, {"model_id": "c/d"}]}, {"a/b", "c/d"}),
        ({"data": [{"model_id": None}, {"tag": "x"}, None, "a/b"]}, set[str]()),
        ({"data": []}, set[str]()),
    ],
)
async def test_the_models_with_a_provider_that_keeps_no_data(
    settings_for: Callable[..., Settings], answer: Any, ids: set[str]
) -> None:
    def respond(request: httpx.Request) -> httpx.Response:
        assert request.url == "https://a.example/v1/endpoints/zdr"
        return httpx.Response(200, json=answer)

    async with open_client(httpx.MockTransport(respond)) as client:
        assert await fetch_zdr_ids(client, settings_for("https://a.example/v1")) == ids


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(200, json={"data": {}})])
async def test_an_unknown_list_of_private_models_is_not_an_empty_one(
    settings_for: Callable[..., Settings], answer: httpx.Response
) -> None:
    async with open_client(httpx.MockTransport(lambda _: answer)) as client:
        with pytest.raises(OpenRouterAPIError):
            await fetch_zdr_ids(client, settings_for("https://a.example/v1"))


ENDPOINTS = {"a/one": ["fireworks", "fireworks/fast"], "a/two": ["google-vertex/us", None]}
SLUGS = ["azure", "openai"]


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (["a/one", "a/two"], ["fireworks", "fireworks/fast", "google-vertex", "google-vertex/us"]),
        (["a/one", "a/gone"], SLUGS),
        ([f"a/{number}" for number in range(26)], SLUGS),
        ([], SLUGS),
    ],
)
async def test_the_providers_to_choose_from_are_those_of_the_models_where_these_are_few(
    settings_for: Callable[..., Settings], models: list[str], names: list[str]
) -> None:
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v1/")
        asked.append(path)
        if path == "providers":
            return httpx.Response(200, json={"data": [{"slug": slug} for slug in SLUGS]})
        tags = ENDPOINTS.get(path.removeprefix("models/").removesuffix("/endpoints"))
        if tags is None:
            return httpx.Response(404, json={"error": {"code": 404, "message": "gone"}})
        return httpx.Response(200, json={"data": {"endpoints": [{"tag": tag} for tag in tags]}})

    async with open_client(httpx.MockTransport(respond)) as client:
        settings = settings_for("https://a.example/v1")
        assert await fetch_provider_slugs(client, settings, models) == names
    assert len(asked) <= 3
