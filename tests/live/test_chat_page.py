"""A person's chat in the page: what is streamed, saved, carried over, and shown when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.turn import error_text
from pipe_lab.simulator import Reply, text_reply
from tests.live.stage import TASK_MODEL, Stage, conversation

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
OTHER_MODEL = "openrouter.anthropic.claude-sonnet-4.5"


def usage_sent(reply: Reply) -> dict[str, Any]:
    """The usage in a scripted stream's last event."""
    last = (reply.events or [])[-1]
    assert isinstance(last, dict)
    return last["response"]["usage"]


async def test_the_saved_answer_and_its_usage_are_what_the_model_sent(
    stage: Stage, page: ChatPage
) -> None:
    reply = text_reply("Paris is the capital of France.", reasoning="An easy one.")
    stage.simulator.script(reply)

    turn = await page.ask(MODEL, "What is the capital of France?")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    sent = usage_sent(reply)
    assert turn.reply.text == "Paris is the capital of France."
    assert saved["content"] == "Paris is the capital of France."
    assert saved["done"] is True
    assert "error" not in saved
    assert [item["type"] for item in saved["output"]] == ["reasoning", "message"]
    counted = ("input_tokens", "output_tokens", "total_tokens", "cost")
    assert {key: saved["usage"][key] for key in counted} == {key: sent[key] for key in counted}


async def test_the_second_turn_carries_the_first(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Paris."))
    stage.simulator.script(text_reply("About two million."))

    first = await page.ask(MODEL, "What is the capital of France?")
    await page.ask(MODEL, "How many people live there?", after=first)

    assert conversation(stage.completions()[-1]) == [
        ("user", "What is the capital of France?"),
        ("assistant", "Paris."),
        ("user", "How many people live there?"),
    ]


async def test_two_models_answer_side_by_side(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("I am GPT."), model="openai/gpt-4o")
    stage.simulator.script(text_reply("I am Claude."), model="anthropic/claude-sonnet-4.5")

    turn = await page.ask([MODEL, OTHER_MODEL], "Who are you?")

    saved = (await stage.admin.chat(turn.chat_id))["history"]["messages"]
    answers = {reply.model: saved[reply.message_id]["content"] for reply in turn.replies}
    assert answers == {MODEL: "I am GPT.", OTHER_MODEL: "I am Claude."}


async def test_a_temporary_chat_remembers_but_leaves_nothing(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Paris."))
    stage.simulator.script(text_reply("About two million."))
    before = await stage.admin.get("/api/v1/chats/")

    first = await page.ask(MODEL, "What is the capital of France?", temporary=True)
    second = await page.ask(MODEL, "How many live there?", temporary=True, after=first)

    assert (first.reply.text, second.reply.text) == ("Paris.", "About two million.")
    assert ("assistant", "Paris.") in conversation(stage.completions()[-1])
    assert await stage.admin.get("/api/v1/chats/") == before


async def test_a_new_chat_gets_the_title_the_task_model_wrote(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Paris."), model="openai/gpt-4o")
    title = text_reply('{"title": "Capital of France"}')
    stage.simulator.script(title, model=TASK_MODEL)

    turn = await page.ask(MODEL, "Capital?", background_tasks={"title_generation": True})

    assert await turn.titled() == "Capital of France"
    assert (await stage.admin.chat(turn.chat_id))["title"] == "Capital of France"


async def test_an_attached_text_reaches_the_model(
    stage: Stage, page: ChatPage, tmp_path: Path
) -> None:
    note = tmp_path / "note.txt"
    note.write_text("The password of the day is swordfish.")
    stage.simulator.script(text_reply("Swordfish."), model="openai/gpt-4o")

    stored = await stage.admin.upload(note)
    attachment = {"type": "file", "id": stored["id"], "name": "note.txt", "file": stored}
    turn = await page.ask(MODEL, "What is the password?", files=[attachment])

    assert stored["data"]["status"] == "completed"
    assert turn.reply.text == "Swordfish."
    assert "swordfish" in str(stage.completions()[-1].body["input"])


async def test_a_stream_that_breaks_off_keeps_its_words_and_says_so(
    stage: Stage, page: ChatPage
) -> None:
    broken = text_reply("one two three four five six")
    broken.end_after = 9
    stage.simulator.script(broken)

    turn = await page.ask(MODEL, "Count")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"].startswith("one two")
    assert "six" not in saved["content"]
    assert "stopped before its end" in turn.reply.error
    assert error_text(saved["error"]) == turn.reply.error


async def test_a_wrong_key_is_explained_in_the_chat(stage: Stage, page: ChatPage) -> None:
    await stage.set_valves(API_KEY="sk-or-bad")

    turn = await page.ask(MODEL, "hi")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert "API_KEY" in turn.reply.error
    assert "401" in turn.reply.error
    assert error_text(saved["error"]) == turn.reply.error
    assert "sk-or-bad" not in str(saved)


async def test_a_full_server_refuses_clearly_and_serves_again(stage: Stage, page: ChatPage) -> None:
    await stage.set_valves(MAX_CONCURRENT_REQUESTS=1, MAX_QUEUED_REQUESTS=0)
    stalled = text_reply("one two three")
    stalled.stall_after = 6
    stage.simulator.script(stalled)

    running = await page.send(MODEL, "first")
    await running.reply.first_word()
    refused = await page.ask(MODEL, "second")
    stage.simulator.release()
    await running.done()
    served = await page.ask(MODEL, "third")

    assert "busy" in refused.reply.error
    assert running.reply.text == "one two three"
    assert served.reply.error == ""
