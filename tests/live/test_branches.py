"""A chat that does not simply go on: continued, regenerated, edited, answered side by side."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import Answer, Message, Reasoning, answer_reply, text_reply
from tests.live.stage import Stage, conversation, thoughts_sent

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
OTHER_MODEL = "openrouter.anthropic.claude-sonnet-4.5"
THINKER = "openrouter.openai.gpt-5"
BLOB = "gAAAAsecret.eyJlbmRwb2ludCJ9"


async def test_a_continued_answer_goes_on_where_it_ended(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("One, two,"))
    stage.simulator.script(text_reply(" three."))

    turn = await page.ask(MODEL, "Count to three")
    await page.continue_answer(turn)

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "One, two, three."
    assert saved["done"] is True
    assert conversation(stage.completions()[-1]) == [
        ("user", "Count to three"),
        ("assistant", "One, two,"),
    ]


async def test_a_regenerated_answer_stands_beside_the_first_one(
    stage: Stage, page: ChatPage
) -> None:
    stage.simulator.script(text_reply("Paris."))
    stage.simulator.script(text_reply("It is Paris."))

    first = await page.ask(MODEL, "Capital of France?")
    second = await page.regenerate(first)

    saved = (await stage.admin.chat(first.chat_id))["history"]["messages"]
    asked = saved[first.user_message["id"]]
    answers = [saved[child]["content"] for child in asked["childrenIds"]]
    assert second.chat_id == first.chat_id
    assert answers == ["Paris.", "It is Paris."]
    assert conversation(stage.completions()[-1]) == [("user", "Capital of France?")]


async def test_a_regenerated_answer_may_follow_a_suggestion(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(text_reply("Paris."))
    stage.simulator.script(text_reply("PARIS!"))

    first = await page.ask(MODEL, "Capital of France?")
    await page.regenerate(
        first,
        regeneration_prompt="Say it louder",
        regeneration_message_id=first.reply.message_id,
    )

    assert conversation(stage.completions()[-1]) == [
        ("user", "Capital of France?"),
        ("assistant", "Paris."),
        ("user", "Say it louder"),
    ]


async def test_an_edited_message_starts_a_branch_that_forgets_what_came_after(
    stage: Stage, page: ChatPage
) -> None:
    for text in ("Paris.", "Two million.", "Berlin."):
        stage.simulator.script(text_reply(text))

    first = await page.ask(MODEL, "Capital of France?")
    second = await page.ask(MODEL, "How many live there?", after=first)
    edited = await page.edit(second, "And of Germany?")

    saved = (await stage.admin.chat(first.chat_id))["history"]["messages"]
    assert saved[first.reply.message_id]["childrenIds"] == [
        second.user_message["id"],
        edited.user_message["id"],
    ]
    assert saved[edited.reply.message_id]["content"] == "Berlin."
    assert conversation(stage.completions()[-1]) == [
        ("user", "Capital of France?"),
        ("assistant", "Paris."),
        ("user", "And of Germany?"),
    ]


async def test_a_temporary_chat_keeps_the_encrypted_reasoning_for_its_second_turn(
    stage: Stage, page: ChatPage
) -> None:
    thought = Reasoning(("Hm.",), "summary", BLOB, format="openai-responses-v1")
    stage.simulator.script(answer_reply(Answer((thought, Message(("Four.",))))))
    stage.simulator.script(text_reply("Five."))

    first = await page.ask(THINKER, "Two and two?", temporary=True)
    await page.ask(THINKER, "And one more?", temporary=True, after=first)

    assert thoughts_sent(stage.completions()[-1]) == [BLOB]


@pytest_asyncio.fixture(loop_scope="session")
async def parameters(stage: Stage) -> AsyncIterator[None]:
    """Two models that an administrator has set differently."""
    await stage.admin.set_model(MODEL, params={"temperature": 0.25, "max_tokens": 111})
    await stage.admin.set_model(OTHER_MODEL, params={"temperature": 0.75, "top_p": 0.5})
    await stage.admin.models()
    yield
    for model in (MODEL, OTHER_MODEL):
        await stage.admin.reset_model(model)
    await stage.admin.models()


async def test_models_side_by_side_each_keep_their_own_parameters(
    stage: Stage, page: ChatPage, parameters: None
) -> None:
    await page.ask([MODEL, OTHER_MODEL], "Who are you?")

    sent = {request.body["model"]: request.body for request in stage.completions()}
    names = ("temperature", "max_output_tokens", "top_p")
    assert {model: tuple(body.get(name) for name in names) for model, body in sent.items()} == {
        "openai/gpt-4o": (0.25, 111, None),
        "anthropic/claude-sonnet-4.5": (0.75, None, 0.5),
    }
