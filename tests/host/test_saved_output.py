"""What Open WebUI's own code makes of the pipe's events: the saved output and the next turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.host.reducer import reduce_events
from pipe_lab.simulator import Reply, Simulator, text_reply

pytestmark = pytest.mark.host

TEXT = "Paris is the capital of France."
BODY = {
    "model": "openrouter.openai.gpt-4o",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "stream": True,
}
SAVED_CHAT = {"chat_id": "chat", "message_id": "message", "session_id": "session"}


async def answer_events(pipe: Pipe) -> list[dict[str, Any]]:
    """Everything the pipe yields for one saved chat's turn."""
    answer = await pipe.pipe(dict(BODY), __metadata__={**SAVED_CHAT, "user_id": "ada"})
    assert isinstance(answer, AsyncGenerator)
    return [event async for event in answer]


def last_response(reply: Reply) -> dict[str, Any]:
    """The response object of a scripted stream's last event."""
    last = (reply.events or [])[-1]
    assert isinstance(last, dict)
    return last["response"]


@pytest.mark.parametrize("chunk_size", [None, 1, 100])
async def test_an_answer_is_saved_whole_however_it_arrives(
    pipe: Pipe, simulator: Simulator, host_python: Path, chunk_size: int | None
) -> None:
    reply = text_reply(TEXT)
    reply.chunk_size = chunk_size
    simulator.script(reply)

    seen = reduce_events(host_python, await answer_events(pipe))

    (message,) = seen["output"]
    assert (message["type"], message["status"]) == ("message", "completed")
    assert message["content"] == [{"type": "output_text", "text": TEXT, "annotations": []}]
    assert seen["messages"] == [{"role": "assistant", "content": TEXT}]
    assert seen["error"] is None


async def test_the_saved_usage_counts_every_token_once(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    reply = text_reply(TEXT, usage={"cost": 0.125})
    simulator.script(reply)

    seen = reduce_events(host_python, await answer_events(pipe))

    sent = last_response(reply)["usage"]
    counted = ("input_tokens", "output_tokens", "total_tokens", "cost")
    assert {key: seen["usage"][key] for key in counted} == {key: sent[key] for key in counted}


async def test_reasoning_becomes_a_card_of_its_own_with_its_duration(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    simulator.script(text_reply(TEXT, reasoning="An easy one."))

    seen = reduce_events(host_python, await answer_events(pipe))

    reasoning, message = seen["output"]
    shown = [*reasoning.get("summary", []), *reasoning.get("content", [])]
    assert (reasoning["type"], message["type"]) == ("reasoning", "message")
    assert "An easy one." in [part["text"] for part in shown]
    assert isinstance(reasoning["duration"], int)
    assert [entry["content"] for entry in seen["messages"]] == [TEXT]


async def test_an_answer_cut_at_its_token_limit_keeps_text_and_usage(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    reply = text_reply(TEXT)
    response = last_response(reply)
    response |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    (reply.events or [])[-1] = {"type": "response.incomplete", "response": response}
    simulator.script(reply)

    seen = reduce_events(host_python, await answer_events(pipe))

    assert seen["messages"][0]["content"].startswith(TEXT)
    assert seen["usage"]["total_tokens"] == response["usage"]["total_tokens"]


async def test_a_broken_answer_keeps_its_words_and_carries_an_error(
    pipe: Pipe, simulator: Simulator, host_python: Path
) -> None:
    reply = text_reply(TEXT)
    reply.end_after = 8
    simulator.script(reply)

    seen = reduce_events(host_python, await answer_events(pipe))

    (message,) = seen["output"]
    kept = message["content"][0]["text"]
    assert kept and TEXT.startswith(kept) and kept != TEXT
    assert seen["error"]
    assert seen["messages"] == [{"role": "assistant", "content": kept}]
