"""What OpenRouter has read out of a document goes back with the next turn, and is paid once."""

from __future__ import annotations

import base64
import logging
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.api.gateway.parsed_files import ParsedFiles
from open_webui_openrouter_pipe.core.logging_system import LOG
from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import Answer, FunctionCall, Message, Simulator, chat_answer_reply
from tests.turns.calls import CHAT, Json, as_pieces, body, make_pipe, read_chunks
from tests.turns.test_kept_thinking import DATABASE, saved_answer
from tests.turns.test_rounds import QUIET, items, offer

MODEL = "deepseek.deepseek-chat-v3.1"
PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
PRICE = Decimal("0.002")


def document(name: str = "fox.pdf") -> Json:
    return {"type": "file", "file": {"filename": name, "file_data": PDF}}


def question(*parts: Json) -> Json:
    return {"role": "user", "content": [{"type": "text", "text": "What is in it?"}, *parts]}


def chat_pipe(simulator: Simulator, **valves: Any) -> Pipe:
    chosen = {**QUIET, "SPEND_LEDGER": False, "DEFAULT_LLM_ENDPOINT": "chat_completions"}
    return make_pipe(simulator, **{**chosen, **valves})


async def ask(pipe: Pipe, *messages: Json, **caller: str) -> list[Json]:
    answer = await pipe.pipe({**body(model=MODEL), "messages": list(messages)}, {**CHAT, **caller})
    return items([event async for event in answer])


def files_sent(simulator: Simulator) -> list[list[str]]:
    """By assistant message the documents of which the request says what is in them."""
    return [
        [note["file"]["name"] for note in message["annotations"]]
        for message in simulator.requests[-1].body["messages"]
        if "annotations" in message
    ]


async def test_a_document_is_read_and_paid_once(simulator: Simulator) -> None:
    pipe = chat_pipe(simulator)
    first = await ask(pipe, question(document()))
    (card,) = [item for item in first if item["type"] == "reasoning"]
    assert card["summary"][0]["text"] == "OpenRouter read fox.pdf for this model."
    once, simulator.books = simulator.books, Decimal(0)
    after = await ask(pipe, question(document()), saved_answer(first), question())
    assert files_sent(simulator) == [["fox.pdf"]]
    assert simulator.books < PRICE < once
    assert [item["type"] for item in after] == ["message"]
    third = (question(document()), saved_answer(first), question(), saved_answer(after), question())
    await ask(pipe, *third)
    assert files_sent(simulator) == [["fox.pdf"]]


async def test_a_document_is_paid_once_where_thinking_is_kept_apart_and_not_for_long(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = chat_pipe(simulator, **DATABASE, PERSIST_REASONING_TOKENS="disabled")
    first = await ask(pipe, question(document()))
    await ask(pipe, question(document()), saved_answer(first), question())
    assert files_sent(simulator) == [["fox.pdf"]]


@pytest.mark.parametrize(
    ("part", "caller"),
    [(None, {}), (document("other.pdf"), {}), (document(), {"chat_id": "a copy"})],
)
async def test_only_with_its_document_and_only_in_its_chat(
    simulator: Simulator, part: Json | None, caller: dict[str, str]
) -> None:
    pipe = chat_pipe(simulator)
    first = await ask(pipe, question(document()))
    parts = [part] if part else []
    await ask(pipe, question(*parts), saved_answer(first), question(), **caller)
    assert files_sent(simulator) == []


async def test_a_change_of_endpoint_sends_nothing_it_does_not_know(simulator: Simulator) -> None:
    first = await ask(chat_pipe(simulator), question(document()))
    pipe = chat_pipe(simulator, DEFAULT_LLM_ENDPOINT="responses")
    await ask(pipe, question(document()), saved_answer(first), question())
    assert "openrouter_pipe" not in str(simulator.requests[-1].body)


async def test_thinking_that_is_forgotten_takes_no_document_along(simulator: Simulator) -> None:
    pipe = chat_pipe(simulator, PERSIST_REASONING_TOKENS="disabled")
    first = await ask(pipe, question(document()))
    await ask(pipe, question(document()), saved_answer(first), question())
    assert files_sent(simulator) == [["fox.pdf"]]


def note(text: str = "The fox is red.") -> Json:
    content = [{"type": "text", "text": text}]
    return {"type": "file", "hash": "abc", "name": "fox.pdf", "content": content}


async def test_the_next_round_of_an_answer_has_it_already(simulator: Simulator) -> None:
    async def add(a: int = 0) -> str:
        return f"{a + 1}"

    call = FunctionCall("add", "call_1", ('{"a":1}',))
    simulator.script(chat_answer_reply(Answer((Message(("Let me see.",), (note(),)), call))))
    offered, entries = offer(add=add)
    asked = {**body(model=MODEL), **offered, "messages": [question(document())]}
    answer = await chat_pipe(simulator).pipe(asked, CHAT, __tools__=entries)
    async for _ in answer:
        pass
    assert files_sent(simulator) == [["fox.pdf"]]


async def test_what_is_too_large_for_the_chat_is_left_out(simulator: Simulator) -> None:
    message = Message(("Red.",), (note("red " * 200_000),))
    simulator.script(chat_answer_reply(Answer((message,))))
    saved = await ask(chat_pipe(simulator), question(document()))
    assert [item["type"] for item in saved] == ["message"]


def test_it_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LOG, "propagate", True)
    files = ParsedFiles()
    with caplog.at_level(logging.WARNING, LOG.name):
        for _ in range(2):
            files.add({"type": "file", "file": {"hash": "abc", "content": "red " * 200_000}})
    assert caplog.text.count("too large to be kept") == 1
    assert files.take_details() == []


async def test_an_api_client_gets_it_and_sends_it_back(simulator: Simulator) -> None:
    pipe = chat_pipe(simulator)

    async def complete(*messages: Json, stream: bool = False) -> Any:
        asked = {**body(model=MODEL, stream=stream), "messages": list(messages)}
        return await pipe.pipe(asked, {"chat_id": "", "user_id": "user-1"})

    told = (await complete(question(document())))["choices"][0]["message"]
    assert [each["file"]["name"] for each in told["annotations"]] == ["fox.pdf"]
    assert "reasoning_details" not in told
    answer = await complete(question(document()), stream=True)
    chunks = read_chunks([bytes(piece) async for piece in as_pieces(answer)])
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert [each["annotations"] for each in deltas if "annotations" in each] == [
        told["annotations"]
    ]
    after = await complete(question(document()), told, question())
    assert "annotations" not in after["choices"][0]["message"]
    assert files_sent(simulator) == [["fox.pdf"]]
