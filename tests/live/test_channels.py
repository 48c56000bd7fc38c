"""A channel of several people, in which a model is called by its name."""

from __future__ import annotations

from typing import Any

import pytest

from pipe_lab.simulator import error_reply, text_reply
from tests.live.stage import Stage, conversation, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
MENTION = f"<@M:{MODEL}|GPT-4o>"


async def open_channel(stage: Stage, name: str) -> str:
    """A new channel's id."""
    await stage.admin.change_settings("/api/v1/auths/admin/config", ENABLE_CHANNELS=True)
    channel = await stage.admin.post("/api/v1/channels/create", {"name": name})
    return channel["id"]


async def post(stage: Stage, channel: str, text: str, **fields: Any) -> str:
    """A new message's id."""
    address = f"/api/v1/channels/{channel}/messages/post"
    return (await stage.admin.post(address, {"content": text, **fields}))["id"]


async def answer_in(stage: Stage, channel: str, message: str) -> dict[str, Any]:
    """The newest message of the thread below a message, once the model has finished it."""
    address = f"/api/v1/channels/{channel}/messages/{message}/thread"
    thread: list[dict[str, Any]] = []

    async def pending() -> bool:
        thread[:] = await stage.admin.get(address)
        return not (thread and (thread[0].get("meta") or {}).get("done"))

    await settled(pending)
    return thread[0]


async def test_a_model_that_is_mentioned_answers_in_the_thread(stage: Stage) -> None:
    channel = await open_channel(stage, "cities")
    stage.simulator.script(text_reply("Paris."))

    message = await post(stage, channel, f"{MENTION} capital of France?")
    answer = await answer_in(stage, channel, message)

    assert answer["content"] == "Paris."
    assert answer["meta"]["model_id"] == MODEL
    assert conversation(stage.completions()[-1])[-1] == (
        "user",
        "Ada: GPT-4o capital of France?",
    )


async def test_a_refusal_is_read_in_the_channel(stage: Stage) -> None:
    channel = await open_channel(stage, "refusals")
    stage.simulator.script(error_reply(402, "Insufficient credits"))

    message = await post(stage, channel, f"{MENTION} hello?")
    answer = await answer_in(stage, channel, message)

    assert "Insufficient credits" in str(answer)
