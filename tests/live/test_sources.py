"""What tools look up in a saved chat: numbered for the model, shown in that order, kept once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import text_reply
from tests.live.calls import calls_reply, output_of
from tests.live.stage import Stage, conversation

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
# Files are given to the model through tools, and not with the question.
BY_TOOLS = {"capabilities": {"file_upload": True, "file_context": False, "citations": True}}
NAMES = [(1, "oslo.txt"), (2, "rome.txt")]
CALLED = ["oslo.txt", "rome.txt", "oslo.txt"]


async def attach(stage: Stage, folder: Path, name: str, text: str) -> dict[str, Any]:
    """A file as the page sends it with a message."""
    path = folder / name
    path.write_text(text)
    stored = await stage.admin.upload(path)
    return {"type": "file", "id": stored["id"], "name": name, "file": stored}


async def test_the_numbers_the_model_may_cite_are_those_of_the_page(
    stage: Stage, page: ChatPage, tmp_path: Path
) -> None:
    rome = await attach(stage, tmp_path, "rome.txt", "Rome has 2.8 million people.")
    oslo = await attach(stage, tmp_path, "oslo.txt", "Oslo has 0.7 million people.")
    reading = [("view_file", {"file_id": file["id"]}) for file in (oslo, rome)]
    words = text_reply("Rome [2] is larger than Oslo [1].")
    for reply in (calls_reply(reading[0]), calls_reply(*reversed(reading), first=2), words):
        stage.simulator.script(reply, model="openai/gpt-4o")
    await stage.admin.set_model(MODEL, meta=BY_TOOLS)
    try:
        await stage.admin.models()
        turn = await page.ask(MODEL, "Which is larger?", files=[rome, oslo])
    finally:
        await stage.admin.reset_model(MODEL)
        await stage.admin.models()

    first, second, third = stage.completions()
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert "view_file" in [tool["name"] for tool in first.body["tools"]]
    tags = {name: f'<source id="{place}" name="{name}"' for place, name in NAMES}
    told = [output_of(third, call_id) for call_id in ("call_1", "call_2", "call_3")]
    assert [tags[name] in text for name, text in zip(CALLED, told, strict=True)] == [True] * 3
    assert [text.count("<source") for text in told] == [1, 1, 1]
    questions = [conversation(request)[-1][1] for request in (first, second, third)]
    assert "inline citations" not in questions[0]
    assert "inline citations" in questions[1]
    assert questions[1] == questions[2]
    assert [source["source"]["name"] for source in saved["sources"]] == ["oslo.txt", "rome.txt"]
    assert "<source" not in str(saved["output"])
    assert turn.reply.text == "Rome [2] is larger than Oslo [1]."
