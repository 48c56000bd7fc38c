"""The timing log of whole turns: the steps of each, under its request."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

from open_webui_openrouter_pipe.core.timing_logger import TIMING
from pipe_lab.simulator import Simulator, error_reply, text_reply
from tests.turns.calls import chat, make_pipe


async def read_lines(path: Path) -> list[dict[str, Any]]:
    await asyncio.to_thread(TIMING.flush)
    text = await asyncio.to_thread(path.read_text)
    return [json.loads(line) for line in text.splitlines()]


async def test_the_steps_of_each_turn_are_written_under_its_request(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "timing.jsonl"
    pipe = make_pipe(simulator, ENABLE_TIMING_LOG=True, TIMING_LOG_FILE=str(path))
    simulator.script(text_reply("Hello"))
    simulator.script(error_reply(400, "No"))
    await chat(pipe)
    await chat(pipe)
    lines = await read_lines(path)
    answered, refused = Counter(line["request_id"] for line in lines)
    steps = {
        request: [line["name"] for line in lines if line["request_id"] == request]
        for request in (answered, refused)
    }
    assert steps == {
        answered: [
            "attachments",
            "select_endpoint",
            "admission",
            "first event",
            "end of the answer",
            "turn",
        ],
        refused: ["attachments", "select_endpoint", "admission", "end of the answer", "turn"],
    }
    assert all(line["milliseconds"] >= 0 for line in lines)


async def test_switched_off_again_nothing_more_is_written(
    simulator: Simulator, tmp_path: Path
) -> None:
    path = tmp_path / "timing.jsonl"
    simulator.script(text_reply("Hello"))
    await chat(make_pipe(simulator, ENABLE_TIMING_LOG=True, TIMING_LOG_FILE=str(path)))
    written = await read_lines(path)
    simulator.script(text_reply("Hello"))
    await chat(make_pipe(simulator, TIMING_LOG_FILE=str(path)))
    assert await read_lines(path) == written != []
