"""What came with the end of a part, or of the answer alone, is not lost, and comes once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.gateway.test_responses_reader import wire
from tests.streams import Json, Said, show

HELLO = {"type": "output_text", "text": "Hello"}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "content": []}
CALL = {"type": "function_call", "id": "f", "call_id": "c", "name": "add", "arguments": ""}
TEXT_DONE = {"content_index": 0, "text": "Hello"}


def started(item: Json, place: int = 0) -> Json:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(kind: str, **fields: Any) -> Json:
    return {"type": f"response.{kind}.done", "output_index": 0, **fields}


def completed(*output: Json) -> Json:
    response = {"id": "gen-1", "status": "completed", "output": [*output]}
    return {"type": "response.completed", "response": response}


def delta(text: str, place: int = 0) -> Json:
    return {"type": "response.output_text.delta", "output_index": place, "delta": text}


def seen(*events: Json) -> list[Said]:
    shown = show([wire(*events)], is_chat=False)
    return [shown.of_chat(), shown.of_client(), shown.of_object()]


@pytest.mark.parametrize("end", [(completed(),), ()], ids=["completed", "cut"])
@pytest.mark.parametrize(
    ("events", "text", "reasoning"),
    [
        ([done("output_text", **TEXT_DONE)], "Hello", ""),
        ([done("content_part", content_index=0, part=HELLO)], "Hello", ""),
        ([delta("Hel"), done("output_text", **TEXT_DONE)], "Hello", ""),
        ([done("output_text", **TEXT_DONE), delta("Hello")], "Hello", ""),
        ([delta("Hello "), delta("you"), done("output_text", text="Hello")], "Hello you", ""),
        ([done("refusal", refusal="No.")], "No.", ""),
        ([done("reasoning_text", content_index=0, text="Hm")], "", "Hm"),
        ([done("reasoning_summary_text", summary_index=0, text="Hm")], "", "Hm"),
        ([{**done("output_text", text="x"), "output_index": -1}, delta("Hi")], "Hi", ""),
        ([done("output_text", text=7), done("content_part", part=None)], "", ""),
    ],
)
def test_the_end_of_a_part_brings_what_its_deltas_did_not(
    events: list[Json], text: str, reasoning: str, end: tuple[Json, ...]
) -> None:
    for said in seen(*events, *end):
        assert (said.text, said.reasoning) == (text, reasoning)


def test_arguments_that_came_whole_are_the_call() -> None:
    arguments = done("function_call_arguments", arguments='{"a":1}')
    chat, *_ = seen(started(CALL), arguments, completed())
    assert chat.calls == [("c", "add", '{"a":1}')]


def test_an_item_that_never_closed_has_the_text_of_the_end() -> None:
    whole = {**MESSAGE, "content": [HELLO]}
    for said in seen(started(MESSAGE), delta("Hel"), completed(whole)):
        assert said.text == "Hello"


def test_where_the_stream_counted_otherwise_nothing_comes_twice() -> None:
    whole = {**MESSAGE, "content": [HELLO]}
    for said in seen(started({"type": "other"}), started(MESSAGE, 2), delta("Hello", 2),
                     completed({"type": "other"}, whole)):  # fmt: skip
        assert said.text == "Hello"
