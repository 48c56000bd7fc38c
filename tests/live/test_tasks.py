"""Open WebUI's own chores: each gets its plain result, cheaply, and disturbs nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pipe_lab.simulator import text_reply
from tests.live.stage import TASK_MODEL, Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-5"
CONFIG = "/api/v1/tasks/config"
TALK = [
    {"role": "user", "content": "What is the capital of France?"},
    {"role": "assistant", "content": "Paris."},
]
# What the page asks for, and what the model is to answer with.
CHORES: dict[str, tuple[dict[str, Any], str]] = {
    "title": ({"messages": TALK}, '{"title": "Capital of France"}'),
    "follow_up": ({"messages": TALK}, '{"follow_ups": ["And of Spain?"]}'),
    "tags": ({"messages": TALK}, '{"tags": ["Geography"]}'),
    "image_prompt": ({"messages": TALK}, '{"prompt": "The Eiffel tower"}'),
    "queries": ({"messages": TALK, "type": "web_search"}, '{"queries": ["capital France"]}'),
    "auto": ({"prompt": "The capital of", "messages": TALK, "type": "general"}, '{"text": " it"}'),
    "emoji": ({"prompt": "I love Paris"}, "😍"),
}


@pytest_asyncio.fixture(loop_scope="session")
async def chores(stage: Stage) -> AsyncIterator[None]:
    """A server that does every chore, with the chat's own model where it has no other."""
    before = await stage.admin.get(CONFIG)
    switches = {name: True for name, value in before.items() if value is False}
    await stage.admin.change_settings(CONFIG, save_at="/update", **switches)
    yield
    await stage.admin.post(f"{CONFIG}/update", before)


@pytest.mark.parametrize("chore", CHORES)
async def test_a_chore_gets_what_the_model_wrote(stage: Stage, chores: None, chore: str) -> None:
    form, written = CHORES[chore]
    stage.simulator.script(text_reply(written), model=TASK_MODEL)

    answer = await stage.admin.post(
        f"/api/v1/tasks/{chore}/completions", {"model": MODEL, "chat_id": "", **form}
    )

    assert [choice["message"]["content"] for choice in answer["choices"]] == [written]
    (request,) = stage.completions()
    assert not request.body.get("tools")
    assert not request.body.get("plugins")


async def test_a_chore_on_a_thinking_model_makes_little_effort(stage: Stage, chores: None) -> None:
    await stage.admin.change_settings(CONFIG, save_at="/update", TASK_MODEL_EXTERNAL="")
    stage.simulator.script(text_reply('{"title": "Paris"}'))

    form, _ = CHORES["title"]
    await stage.admin.post("/api/v1/tasks/title/completions", {"model": MODEL, **form})

    (request,) = stage.completions()
    assert request.body["model"] == "openai/gpt-5"
    assert request.body["reasoning"] == {"effort": "low"}


async def test_the_merge_of_side_by_side_answers_streams(stage: Stage) -> None:
    reply = text_reply("Paris, say both.")
    # After the first two words nothing more comes until somebody has read them.
    reply.stall_after = 7
    stage.simulator.script(reply)

    form = {"model": MODEL, "prompt": "Capital?", "responses": ["Paris.", "It is Paris."]}
    words = []
    async for word in merged_words(stage, {**form, "stream": True}):
        stage.simulator.release()
        words.append(word)

    assert len(words) > 1
    assert "".join(words) == "Paris, say both."
    (request,) = stage.completions()
    assert "It is Paris." in str(request.body["input"])


async def merged_words(stage: Stage, form: dict[str, Any]) -> AsyncIterator[str]:
    """What the page reads while it writes the merged answer."""
    address = "/api/v1/tasks/moa/completions"
    async with stage.admin.http.stream("POST", address, json=form) as response:
        async for line in response.aiter_lines():
            chunk = json.loads(line.removeprefix("data: ")) if line.startswith("data: {") else {}
            for choice in chunk.get("choices", ()):
                if word := choice["delta"].get("content"):
                    yield word
