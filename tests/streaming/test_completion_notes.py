"""An API client gets the pages cited and the thinking to send back, streamed and whole."""

from __future__ import annotations

import json
from typing import Any

from open_webui_openrouter_pipe.api.events import (
    Citation,
    Event,
    FunctionCallItem,
    ItemFinished,
    MessageItem,
    ReasoningItem,
    ResponseFinished,
    ToolOutputItem,
)
from open_webui_openrouter_pipe.streaming.completion_chunks import CompletionChunks
from open_webui_openrouter_pipe.streaming.completion_dict import CompletionDict

SEALED = {"type": "reasoning.encrypted", "data": "xyz", "id": "rs_1"}
THOUGHT = ItemFinished(0, ReasoningItem("rs_1", details=[SEALED]))
PAGE = Citation("https://example.com", "Example", "a passage")
ANSWER = ItemFinished(1, MessageItem("m", "Hi", citations=[PAGE, PAGE]))
END = ResponseFinished("g", "m", None)
NOTES = {
    "reasoning_details": [{"index": 0, **SEALED}],
    "annotations": [
        {
            "type": "url_citation",
            "url_citation": {
                "url": PAGE.url,
                "title": "Example",
                "start_index": 0,
                "end_index": 0,
                "content": "a passage",
            },
        }
    ],
}


def last_delta(events: list[Event]) -> dict[str, Any]:
    *_, notes, _, _ = CompletionChunks("o.m").render(events)
    return json.loads(notes.removeprefix(b"data: "))["choices"][0]["delta"]


def whole(events: list[Event], **options: Any) -> dict[str, Any]:
    [answer] = CompletionDict("o.m", with_output=False, **options).render(events)
    return answer["choices"][0]["message"]


def test_they_come_with_the_end_of_a_stream_and_in_the_message() -> None:
    assert last_delta([THOUGHT, ANSWER, END]) == {"role": "assistant", **NOTES}
    assert whole([THOUGHT, ANSWER, END]).items() >= NOTES.items()


def test_thinking_of_rounds_that_ran_here_is_not_the_clients() -> None:
    call = ItemFinished(1, FunctionCallItem("f", "c", "now", "{}"))
    output = ItemFinished(2, ToolOutputItem("o", "c", "12:00"))
    events: list[Event] = [THOUGHT, call, output, END]
    assert len(CompletionChunks("o.m").render(events)) == 2
    assert "reasoning_details" not in whole(events)


def test_a_chore_gets_the_plain_result() -> None:
    assert whole([THOUGHT, ANSWER, END], with_reasoning=False).keys() == {"role", "content"}
