"""What a chat through the pipe does better than a plain connection: memory, patience, honesty."""

from __future__ import annotations

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import (
    Answer,
    Message,
    Reasoning,
    answer_reply,
    error_reply,
    text_reply,
)
from tests.live.stage import Stage, thoughts_sent

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-5"
OTHER_MODEL = "openrouter.anthropic.claude-sonnet-4.5"
BLOB = "gAAAAsecret.eyJlbmRwb2ludCJ9"


async def test_encrypted_reasoning_goes_back_to_the_model_it_came_from_and_to_no_other(
    stage: Stage, page: ChatPage
) -> None:
    thought = Reasoning(("Hm.",), "summary", BLOB, format="openai-responses-v1")
    stage.simulator.script(answer_reply(Answer((thought, Message(("Four.",))))))
    stage.simulator.script(text_reply("Five."))
    stage.simulator.script(text_reply("Six."))

    first = await page.ask(MODEL, "Two and two?")
    second = await page.ask(MODEL, "And one more?", after=first)
    await page.ask(OTHER_MODEL, "And another?", after=second)

    _, to_the_same, to_another = stage.completions()
    assert thoughts_sent(to_the_same) == [BLOB]
    assert thoughts_sent(to_another) == []


async def test_a_busy_provider_is_asked_again_and_the_person_gets_the_answer(
    stage: Stage, page: ChatPage
) -> None:
    stage.simulator.script(error_reply(429, "Slow down", retry_after=1))
    stage.simulator.script(text_reply("Here I am."))

    turn = await page.ask(MODEL, "Are you there?")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "Here I am."
    assert "error" not in saved
    assert len(stage.completions()) == 2


async def test_a_connection_that_breaks_leaves_its_text_and_shows_that_it_broke(
    stage: Stage, page: ChatPage
) -> None:
    words = [f"word{number} " for number in range(200)]
    reply = text_reply("".join(words), words)
    events = reply.events or []
    first_delta = next(
        place
        for place, event in enumerate(events)
        if isinstance(event, dict) and event["type"].endswith("text.delta")
    )
    reply.disconnect_after = first_delta + 100
    stage.simulator.script(reply)

    turn = await page.ask(MODEL, "Count")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "".join(words[:100]).strip()
    assert "broke off" in str(saved["error"])


async def test_a_closing_line_tells_time_tokens_and_cost(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Hi.", usage={"cost": 0.0125}))

    turn = await page.ask(MODEL, "Hello")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    closing = saved["statusHistory"][-1]
    assert closing["done"] is True
    assert closing["description"].endswith("$0.0125")
    assert "tokens in" in closing["description"]


async def test_pages_an_answer_leans_on_are_one_source_each(stage: Stage, page: ChatPage) -> None:
    pages = ["https://a.example/1", "https://b.example/2", "https://a.example/1"]
    cited = tuple(
        {"type": "url_citation", "url": url, "title": url[8:17], "start_index": 0, "end_index": 1}
        for url in pages
    )
    stage.simulator.script(answer_reply(Answer((Message(("Both say so.",), cited),))))

    turn = await page.ask(MODEL, "Who says so?")

    (source,) = (await stage.admin.message(turn.chat_id, turn.reply.message_id))["sources"]
    assert [entry["source"] for entry in source["metadata"]] == pages[:2]


async def test_the_closing_line_adds_up_what_the_chat_has_cost(
    stage: Stage, page: ChatPage
) -> None:
    for number, cost in enumerate((0.0125, 0.01)):
        stage.simulator.script(text_reply(f"Answer {number}", usage={"cost": cost}))

    first = await page.ask(MODEL, "Hello")
    second = await page.ask(MODEL, "Again", after=first)

    saved = await stage.admin.message(second.chat_id, second.reply.message_id)
    assert saved["statusHistory"][-1]["description"].endswith("$0.0100 · chat $0.0225")


async def test_an_admin_is_told_when_the_key_runs_low(stage: Stage, page: ChatPage) -> None:
    await stage.set_valves(LOW_CREDIT_WARNING_USD=50)
    for answer in ("Hello to you.", "And again."):
        stage.simulator.script(text_reply(answer))

    # Nothing waits for the key: the first answer may be done before it is known.
    first = await page.ask(MODEL, "Hello")
    second = await page.ask(MODEL, "Again", after=first)

    saved = await stage.admin.message(second.chat_id, second.reply.message_id)
    assert saved["statusHistory"][-1]["description"].endswith("$8.75 left on the API key")
