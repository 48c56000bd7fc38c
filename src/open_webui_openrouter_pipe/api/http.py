"""The HTTP client: one pool, the headers of every request, one place that reads httpx's errors."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from ..core.config import Settings
from ..core.errors import (
    ApiKeyError,
    ConnectionFailedError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)
from ..core.json_values import as_object, objects_in, text_of
from .transport import AiohttpTransport, UnknownHostError

COMPRESSION_PLUGIN = "context-compression"
"""Leaves out the middle of a chat that is too long for its model."""

# The app OpenRouter's statistics count this for; both headers are needed for that.
_ATTRIBUTION_HEADERS = {
    "HTTP-Referer": "https://openwebui.com/",
    "X-OpenRouter-Title": "Open WebUI",
    "X-OpenRouter-Categories": "general-chat",
}


class ApiClient(httpx.AsyncClient):
    """httpx's client, with the shortest way to the wire.

    One client serves everyone: no cookie may tie their requests together. An API does not
    redirect. And a line in the server's log for each request is what Open WebUI's own connection
    does not write either; all three would cost more than building the request.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(
            transport=transport,
            headers=_ATTRIBUTION_HEADERS,
            trust_env=False,  # the transport reads the proxy settings itself
        )
        self._wire = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: Any
    ) -> httpx.Response:
        """Send the request; with `stream` its caller reads the body, and closes the response."""
        response = await self._wire.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the client of one generation of the pipe; whoever makes it closes it."""
    return ApiClient(transport or AiohttpTransport())


def authorize(settings: Settings) -> dict[str, str]:
    """The header that names the account; raises `ApiKeyError` when there is no usable key."""
    key = settings.api_key.reveal()
    if not key:
        raise missing_key()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ApiKeyError(
            "The OpenRouter API key holds characters that no key has.",
            "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
        )
    return {"Authorization": f"Bearer {key}"}


def vendor_headers(settings: Settings, body: Mapping[str, Any]) -> dict[str, str]:
    """What the vendor of the model wants said in a header."""
    of_anthropic = text_of(body.get("model")).lstrip("~").startswith("anthropic/")
    thinks = as_object(body.get("reasoning")).get("effort") != "none"
    if of_anthropic and thinks and settings.interleaved_thinking:
        return {"x-anthropic-beta": "interleaved-thinking-2025-05-14"}
    return {}


def metadata_headers(body: Mapping[str, Any]) -> dict[str, str]:
    """Ask to be told when OpenRouter shortens the chat."""
    trims = any(each.get("id") == COMPRESSION_PLUGIN for each in objects_in(body.get("plugins")))
    return {"X-OpenRouter-Metadata": "enabled"} if trims else {}


def own_referer(settings: Settings) -> dict[str, str]:
    """The admin's own address of this app, where it can stand in a header."""
    address = settings.http_referer
    is_web = address.lower().startswith(("http://", "https://"))
    fits = address.isascii() and address.isprintable() and " " not in address
    return {"HTTP-Referer": address} if is_web and fits else {}


def missing_key() -> ApiKeyError:
    """What a request, or the list of models, says as long as no key is set."""
    return ApiKeyError(
        "No OpenRouter API key is set.",
        "The admin should enter `API_KEY` in the settings of the OpenRouter function "
        "(Admin Panel > Functions > OpenRouter > gear).",
    )


def timeouts(settings: Settings) -> dict[str, dict[str, float | None]]:
    """The request extension that bounds connecting, silence and the whole exchange (seconds)."""
    return {
        "timeout": {
            "connect": settings.connect_timeout,
            "read": settings.silence_timeout,
            "write": settings.silence_timeout,
            "total": settings.total_timeout,
        }
    }


@contextmanager
def as_pipe_errors(settings: Settings, *, answering: bool) -> Generator[None]:
    """Turn httpx's exceptions into causes; `answering` says that the answer had begun."""
    try:
        yield
    except httpx.HTTPError as error:
        raise _name_cause(error, settings, answering) from error
    except httpx.InvalidURL as error:
        raise _bad_address(settings) from error


def _name_cause(error: httpx.HTTPError, settings: Settings, answering: bool) -> PipeError:
    match error:
        case httpx.ConnectTimeout():
            return ConnectionFailedError(
                f"OpenRouter could not be reached within {settings.connect_timeout:.0f} seconds.",
                "Try again; if it stays so, the admin should check the server's network.",
                request_was_sent=False,
            )
        case httpx.TimeoutException():
            return UpstreamTimeoutError(
                "The answer took longer than the settings allow, or OpenRouter fell silent.",
                "Try again. The admin can raise `HTTP_SOCK_READ_SECONDS` "
                "or `HTTP_TOTAL_TIMEOUT_SECONDS`.",
            )
        case httpx.UnsupportedProtocol():
            return _bad_address(settings)
        case UnknownHostError():
            return ConnectionFailedError(
                f"The server of {_shown(settings.base_url)} cannot be found.",
                "The admin should check `BASE_URL` for a typing error, and the network's DNS.",
                request_was_sent=False,
                name_was_found=False,
            )
        case httpx.ConnectError():
            return ConnectionFailedError(
                f"No connection to {_shown(settings.base_url)}.",
                "Try again; if it stays so, the admin should check `BASE_URL` and the network.",
                request_was_sent=False,
            )
        case _ if answering:
            return StreamInterruptedError(
                "The connection to OpenRouter broke off before the answer was complete.",
                "What had arrived is kept. Try again for a whole answer.",
            )
        case _:
            return ConnectionFailedError(
                "OpenRouter hung up before it answered.", "Try again in a moment."
            )


def refuse_web_page(response: httpx.Response, settings: Settings) -> None:
    """Raise `SettingsError` when a page came: the address leads to something that is no API."""
    if response.is_success and "html" in response.headers.get("content-type", ""):
        raise SettingsError(
            f"{_shown(settings.base_url)} answers with a web page, not as OpenRouter's API does.",
            "The admin should correct `BASE_URL` in the settings of the OpenRouter function.",
        )


def _bad_address(settings: Settings) -> SettingsError:
    return SettingsError(
        f"`BASE_URL` is not an address that can be used: {_shown(settings.base_url)}",
        "The admin should correct it in the settings of the OpenRouter function; "
        "a user name or password in the address is not supported.",
    )


def _shown(base_url: str) -> str:
    """The address without what may be secret in it: credentials and a query."""
    head, _, rest = base_url.partition("?")[0].rpartition("@")
    scheme = head.partition("://")[0] + "://" if "://" in head else ""
    return scheme + rest
