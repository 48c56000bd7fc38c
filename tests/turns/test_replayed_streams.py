"""Whole streams on the wire: cut into pieces of any size they give a chat the same answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipe_lab.simulator import Reply, Simulator
from tests.streams import read_plainly
from tests.turns.calls import chat, make_pipe, text_of_chat

FOLDER = Path(__file__).parents[1] / "transcripts"
STREAMS = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.sse"))}


@pytest.mark.parametrize("size", [1, 7, 64, None])
@pytest.mark.parametrize("name", STREAMS)
async def test_an_answer_over_the_wire_is_the_one_that_was_sent(
    simulator: Simulator, name: str, size: int | None
) -> None:
    body, is_chat = STREAMS[name], name.startswith("chat")
    said = read_plainly(body, is_chat=is_chat)
    simulator.script(Reply(events=[body], done=False, chunk_size=size))
    endpoint = "chat_completions" if is_chat else "responses"
    # Calls stay open: what would come of them is no part of the stream.
    valves = {"DEFAULT_LLM_ENDPOINT": endpoint, "TOOL_EXECUTION_MODE": "Open-WebUI"}
    events = await chat(make_pipe(simulator, **valves))
    assert text_of_chat(events) == said.text
    ended = events[-1].get("type") == "response.completed"
    assert ended is (said.end != "failed")
    usage = events[-1].get("response", events[-1]).get("usage") or {}
    assert usage.get("cost") == said.cost
