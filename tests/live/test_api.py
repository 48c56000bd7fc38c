"""Programs that speak to Open WebUI's API instead of its page."""

from __future__ import annotations

import pytest

from pipe_lab.host.client import APIError
from pipe_lab.simulator import text_reply
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

QUESTION = {
    "model": "openrouter.openai.gpt-4o",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}


async def test_a_whole_answer_has_its_text_and_usage(stage: Stage) -> None:
    stage.simulator.script(text_reply("Paris.", usage={"cost": 0.25}))

    answer = await stage.admin.complete(QUESTION)

    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"]["content"] == "Paris."
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["cost"] == 0.25


async def test_a_streamed_answer_arrives_as_completion_chunks(stage: Stage) -> None:
    stage.simulator.script(text_reply("Paris is the capital of France."))

    chunks = [chunk async for chunk in stage.admin.stream(QUESTION)]

    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert text == "Paris is the capital of France."
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]


async def test_a_refused_answer_is_an_error_with_its_reason(stage: Stage) -> None:
    await stage.set_valves(API_KEY="sk-or-bad")

    try:
        answer = await stage.admin.complete(QUESTION)
    except APIError as refusal:
        text = refusal.response.text
    else:
        assert "error" in answer
        text = str(answer["error"])

    assert "API_KEY" in text
