"""The client's headers, the key's way into them, and the cause behind each of httpx's errors."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
import respx

from open_webui_openrouter_pipe.api.http import (
    as_pipe_errors,
    authorize,
    open_client,
    own_referer,
    timeouts,
    vendor_headers,
)
from open_webui_openrouter_pipe.core.config import Settings
from open_webui_openrouter_pipe.core.errors import (
    ConnectionFailedError,
    PipeError,
    SettingsError,
    StreamInterruptedError,
    UpstreamTimeoutError,
)

MakeSettings = Callable[..., Settings]


async def test_every_request_says_which_app_it_comes_from() -> None:
    router = respx.MockRouter()
    asked = router.get("https://openrouter.example/x").respond(200)
    async with open_client(httpx.MockTransport(router.async_handler)) as client:
        await client.get("https://openrouter.example/x")
    sent = asked.calls.last.request.headers
    assert sent["http-referer"] == "https://openwebui.com/"
    assert sent["x-openrouter-title"] == "Open WebUI"
    assert sent["x-openrouter-categories"] == "general-chat"


@pytest.mark.parametrize(
    ("address", "header"),
    [
        ("", {}),
        ("https://chat.example/", {"HTTP-Referer": "https://chat.example/"}),
        ("chat.example", {}),
        ("https://café.example/", {}),
        ("https://chat.example/\r\nX-Other: 1", {}),
    ],
)
def test_the_admin_may_name_the_address_of_the_app(
    address: str, header: dict[str, str], settings_for: MakeSettings
) -> None:
    assert own_referer(settings_for("", HTTP_REFERER_OVERRIDE=address)) == header


@pytest.mark.parametrize(
    "address", ["https://admin:hunter2@gate.example/v1", "https://gate.example/v1?key=hunter2"]
)
@pytest.mark.parametrize("error", [httpx.ConnectError("x"), httpx.UnsupportedProtocol("x")])
def test_no_message_shows_what_is_secret_in_the_address(
    address: str, error: Exception, settings_for: MakeSettings
) -> None:
    with pytest.raises(PipeError) as caught, as_pipe_errors(settings_for(address), answering=False):
        raise error
    assert "https://gate.example/v1" in caught.value.for_person()
    assert "hunter2" not in caught.value.for_person()


def test_the_key_becomes_a_bearer_header(settings_for: MakeSettings) -> None:
    assert authorize(settings_for("", API_KEY="sk-violet")) == {"Authorization": "Bearer sk-violet"}


@pytest.mark.parametrize(
    ("key", "cause"),
    [
        ("", "No OpenRouter API key is set"),
        ("sk-a b", "characters that no key has"),
        ("sk-a\r\nX: y", "characters that no key has"),
        ("sk-ключ", "characters that no key has"),
    ],
)
def test_a_missing_or_impossible_key_asks_for_the_admin(
    key: str, cause: str, settings_for: MakeSettings
) -> None:
    with pytest.raises(SettingsError, match=cause) as caught:
        authorize(settings_for("", API_KEY=key))
    assert not key or key not in caught.value.for_person()


def test_the_settings_bound_connecting_silence_and_the_whole(settings_for: MakeSettings) -> None:
    settings = settings_for("", HTTP_CONNECT_TIMEOUT_SECONDS=3, HTTP_SOCK_READ_SECONDS=40)
    assert timeouts(settings)["timeout"] == {
        "connect": 3.0,
        "read": 40.0,
        "write": 40.0,
        "total": None,
    }


@pytest.mark.parametrize(
    ("error", "before", "after"),
    [
        (httpx.ConnectTimeout("x"), ConnectionFailedError, ConnectionFailedError),
        (httpx.ReadTimeout("x"), UpstreamTimeoutError, UpstreamTimeoutError),
        (httpx.WriteTimeout("x"), UpstreamTimeoutError, UpstreamTimeoutError),
        (httpx.PoolTimeout("x"), UpstreamTimeoutError, UpstreamTimeoutError),
        (httpx.ConnectError("x"), ConnectionFailedError, ConnectionFailedError),
        (httpx.UnsupportedProtocol("x"), SettingsError, SettingsError),
        (httpx.InvalidURL("x"), SettingsError, SettingsError),
        (httpx.ReadError("x"), ConnectionFailedError, StreamInterruptedError),
        (httpx.RemoteProtocolError("x"), ConnectionFailedError, StreamInterruptedError),
        (httpx.ProxyError("x"), ConnectionFailedError, StreamInterruptedError),
        (httpx.DecodingError("x"), ConnectionFailedError, StreamInterruptedError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_each_error_has_its_cause(
    error: Exception,
    before: type[PipeError],
    after: type[PipeError],
    settings_for: MakeSettings,
) -> None:
    for answering, cause in ((False, before), (True, after)):
        with (
            pytest.raises(cause) as caught,
            as_pipe_errors(settings_for("https://a.example"), answering=answering),
        ):
            raise error
        assert type(caught.value) is cause
        assert caught.value.next_step
        assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (httpx.ConnectError("x"), False),
        (httpx.ConnectTimeout("x"), False),
        (httpx.ReadError("x"), True),
        (httpx.RemoteProtocolError("x"), True),
        (httpx.ProxyError("x"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_a_connection_that_never_was_proves_that_nothing_was_sent(
    error: Exception, sent: bool, settings_for: MakeSettings
) -> None:
    with (
        pytest.raises(ConnectionFailedError) as caught,
        as_pipe_errors(settings_for("https://a.example"), answering=False),
    ):
        raise error
    assert caught.value.request_was_sent is sent


def test_other_errors_pass_through(settings_for: MakeSettings) -> None:
    with pytest.raises(KeyError), as_pipe_errors(settings_for(""), answering=True):
        raise KeyError("ours")


CLAUDE = "anthropic/claude-sonnet-4.5"


@pytest.mark.parametrize(
    ("body", "switch", "sent"),
    [
        ({"model": CLAUDE}, True, True),
        ({"model": "~anthropic/claude-latest", "reasoning": {"effort": "low"}}, True, True),
        ({"model": CLAUDE, "reasoning": {"effort": "none"}}, True, False),
        ({"model": CLAUDE}, False, False),
        ({"model": "openai/gpt-5"}, True, False),
        ({}, True, False),
    ],
)
def test_claude_may_think_between_its_calls(
    body: dict[str, object], switch: bool, sent: bool, settings_for: MakeSettings
) -> None:
    chosen = settings_for("", ENABLE_ANTHROPIC_INTERLEAVED_THINKING=switch)
    header = {"x-anthropic-beta": "interleaved-thinking-2025-05-14"}
    assert vendor_headers(chosen, body) == (header if sent else {})
