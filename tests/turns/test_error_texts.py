"""The admin's own words for a failure, in every form of answer; the key in none of them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.config import SystemValves
from open_webui_openrouter_pipe.core.logging_system import LOG
from pipe_lab.simulator import (
    Reply,
    Simulator,
    broken_off,
    error_event,
    error_plain,
    error_reply,
    text_reply,
)
from tests.turns.calls import (
    BEFORE_TEXT,
    CHAT,
    Json,
    body,
    chat,
    closed_port,
    make_pipe,
    read_chunks,
    stream,
    whole,
)

OWN = {
    name: f"{name}: {{error_id}}"
    for name in SystemValves.model_fields
    if name.endswith("_TEMPLATE")
}
KEY = "sk-or-v1-0123456789abcdef"


def cut(**how: Any) -> Reply:
    reply = text_reply("One two three four")
    for name, value in how.items():
        setattr(reply, name, value)
    return reply


TRIGGERS: dict[str, tuple[Json, Reply | None]] = {
    "OPENROUTER_ERROR": ({}, error_reply(400, "No")),
    "AUTHENTICATION_ERROR": ({"API_KEY": "sk-bad"}, None),
    "INSUFFICIENT_CREDITS": ({}, error_reply(402, "No")),
    "RATE_LIMIT": ({}, error_reply(429, "No", retry_after=120)),
    "SERVER_TIMEOUT": ({}, error_reply(408, "No", retry_after=120)),
    "PAYLOAD_TOO_LARGE": ({}, error_reply(413, "No")),
    "NETWORK_TIMEOUT": ({"HTTP_SOCK_READ_SECONDS": 1}, cut(delay=30)),
    "CONNECTION_ERROR": ({"BASE_URL": closed_port()}, None),
    "SERVICE_ERROR": ({}, error_reply(503, "No", retry_after=120)),
    "MODEL_RESTRICTED": ({"MODEL_ID": "b/two"}, None),
    "STREAM_INTERRUPTED": ({}, cut(end_after=BEFORE_TEXT + 2)),
}


@pytest.mark.parametrize("name", TRIGGERS)
async def test_each_failure_is_told_in_its_own_words(simulator: Simulator, name: str) -> None:
    valves, reply = TRIGGERS[name]
    if reply is not None:
        simulator.script(reply)
    *_, event = await chat(make_pipe(simulator, **OWN, **valves))
    assert re.fullmatch(f"{name}_TEMPLATE: [0-9a-f]{{16}}", event["error"]["message"])


async def test_a_conflict_of_endpoints_is_told_in_its_own_words(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, **OWN, FORCE_RESPONSES_MODELS="a/*")
    answer: Any = await pipe.pipe({**body(), "audio": {"voice": "x"}}, CHAT)
    [event] = [event async for event in answer]
    assert event["error"]["message"].startswith("ENDPOINT_OVERRIDE_CONFLICT_TEMPLATE")
    assert simulator.requests == []


async def test_every_form_of_answer_has_the_same_words(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, OPENROUTER_ERROR_TEMPLATE="Ask Ada about {requested_model}.")
    for _ in range(3):
        simulator.script(error_reply(400, "No"))
    *_, event = await chat(pipe)
    *_, chunk = read_chunks(await stream(pipe))
    answers = (event, chunk, await whole(pipe))
    assert {answer["error"]["message"] for answer in answers} == {"Ask Ada about a/one."}


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What reaches the server's log, at any level."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Lines()
    logging.getLogger().addHandler(handler)
    yield lines
    logging.getLogger().removeHandler(handler)


def flush_log() -> None:
    for handler in LOG.handlers:
        handler.flush()


async def test_the_number_of_an_error_is_in_the_message_and_in_the_log(
    simulator: Simulator, log: list[str]
) -> None:
    simulator.script(error_reply(400, "Bad seed"))
    [event] = await chat(make_pipe(simulator))
    found = re.search(r"Error ID: ([0-9a-f]{16})\.", event["error"]["message"])
    assert found
    await asyncio.to_thread(flush_log)
    assert any(found[1] in line and "Bad seed" in line for line in log)


@pytest.mark.parametrize("key", [KEY, "sk-gateway"])
async def test_a_server_that_echoes_the_key_tells_it_nobody(
    simulator: Simulator, log: list[str], key: str
) -> None:
    metadata = {"raw": f"key {key}", "provider_name": key, "flagged_input": f"Bearer {key}"}
    echo = Reply(
        status=429,
        headers={"Retry-After": "0"},
        body=error_plain(429, f"{key} is limited", reasons=[key], **metadata),
    )
    for _ in range(4):
        simulator.script(echo)
    template = "{openrouter_message} {upstream_message} {provider} {moderation_reasons} {cause}"
    valves = {"API_KEY": key, "RATE_LIMIT_TEMPLATE": template, "LOG_LEVEL": "DEBUG"}
    events = await chat(make_pipe(simulator, **valves))
    await asyncio.to_thread(flush_log)
    assert len(simulator.requests) == 4
    assert "[redacted] is limited" in events[-1]["error"]["message"]
    assert key not in str(events) and log
    assert [line for line in log if key in line] == []


async def test_a_key_that_is_echoed_in_the_middle_of_an_answer_is_told_nobody(
    simulator: Simulator, log: list[str]
) -> None:
    reply = text_reply("One two")
    simulator.script(broken_off(reply, BEFORE_TEXT + 2, error_event("bad sk-gateway", None)))
    events = await chat(make_pipe(simulator, API_KEY="sk-gateway"))
    await asyncio.to_thread(flush_log)
    assert "bad [redacted]" in events[-1]["error"]["message"]
    assert any("bad [redacted]" in line for line in log)
    assert "sk-gateway" not in str(events) + str(log)


async def test_at_level_debug_the_exchange_is_logged_without_secrets_and_files(
    simulator: Simulator, log: list[str]
) -> None:
    reply = text_reply("Hello")
    reply.headers["X-Generation-Id"] = "gen-7"
    simulator.script(reply)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    content = [{"type": "text", "text": f"Is {KEY} good?"}, picture]
    request = {**body(), "messages": [{"role": "user", "content": content}]}
    pipe = make_pipe(simulator, LOG_LEVEL="DEBUG", API_KEY=KEY)
    answer: Any = await pipe.pipe(request, CHAT)
    assert [event async for event in answer][-1]["type"] == "response.completed"
    await asyncio.to_thread(flush_log)
    [sent] = [line for line in log if line.startswith("POST /responses")]
    assert "Is [redacted] good?" in sent and "data:image/png;base64,[12 characters]" in sent
    assert "/responses answered 200, generation gen-7" in log
    assert KEY not in str(log) and "iVBORw0KGgo=" not in str(log)
    assert b"iVBORw0KGgo=" in simulator.requests[0].raw


async def test_above_level_debug_no_body_is_logged(simulator: Simulator, log: list[str]) -> None:
    simulator.script(text_reply("Hello"))
    await chat(make_pipe(simulator, LOG_LEVEL="INFO"))
    await asyncio.to_thread(flush_log)
    assert [line for line in log if "/responses" in line] == []
