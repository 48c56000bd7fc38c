"""Settings change and the file is loaded again, while answers run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from build.host import load_as_open_webui
from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.runtime import process_state
from pipe_lab.simulator import (
    Simulator,
)
from tests.turns.calls import (
    Json,
    chat,
    closed_port,
    configure,
    eventually,
    make_pipe,
    next_text,
    open_sockets,
    stalled,
    start_chat,
    text_of_chat,
)

BUNDLE = Path(__file__).resolve().parents[2] / "dist" / "pipe.py"


async def test_new_valves_do_not_touch_a_running_answer(simulator: Simulator) -> None:
    pipe = make_pipe(simulator)
    simulator.script(stalled())
    answer = await start_chat(pipe)
    first = await next_text(answer)
    configure(pipe, simulator, API_KEY="sk-other", MODEL_ID="b/two", LOG_LEVEL="ERROR")
    simulator.release()
    rest = [event async for event in answer]
    assert first + text_of_chat(rest) == "One two three"
    assert rest[-1]["type"] == "response.completed"
    await chat(pipe, model="b.two")
    assert [request.headers["authorization"] for request in simulator.requests] == [
        "Bearer sk-test",
        "Bearer sk-other",
    ]


async def test_loading_the_file_again_changes_nothing_for_running_answers(
    simulator: Simulator,
) -> None:
    text = BUNDLE.read_text(encoding="utf-8")
    before = open_sockets(), asyncio.all_tasks()
    running: list[tuple[AsyncGenerator[Json], str]] = []
    for _ in range(5):
        pipe = configure(load_as_open_webui(text).Pipe(), simulator)
        simulator.script(stalled())
        answer = await start_chat(pipe)
        running.append((answer, await next_text(answer)))
    assert simulator.open_streams == 5
    simulator.release()
    for answer, first in running:
        rest = [event async for event in answer]
        assert first + text_of_chat(rest) == "One two three"
        assert rest[-1]["type"] == "response.completed"
    [newest] = process_state().current.values()
    newest.retire()
    await eventually(lambda: (open_sockets(), asyncio.all_tasks()) == before)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OPENROUTER_API_KEY": "sk-\udcff\n", "OPENROUTER_API_BASE_URL": "::not an address::"},
        {"OPENROUTER_API_KEY": "encrypted:nonsense", "WEBUI_SECRET_KEY": " "},
        {"WEBUI_SECRET_KEY": "ключ", "OPENROUTER_API_KEY": " "},
        {"HTTPS_PROXY": "nonsense", "all_proxy": "socks://x"},
    ],
)
async def test_making_a_pipe_and_asking_it_never_raises_whatever_the_environment_holds(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]
) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.setenv("OPENROUTER_API_BASE_URL", closed_port())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    before = open_sockets(), asyncio.all_tasks()
    pipe = Pipe()
    pipe.valves = pipe.Valves()
    assert (open_sockets(), asyncio.all_tasks()) == before
    [entry] = await pipe.pipes()
    assert set(entry) == {"id", "name"}
    assert "error" in (await chat(pipe))[-1]


def test_a_pipe_can_be_made_without_an_event_loop() -> None:
    assert Pipe().valves
