"""The terminal chat: lists models, prints words, thoughts, calls and cost, and says what failed."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipe_lab import chat

# A pipe that plays back what it is asked for, in the shape of the real one's events.
PIPE = """
class Pipe:
    async def pipes(self):
        return [{"id": "openai.gpt-4o", "name": "GPT-4o"}, {"id": "x.other", "name": "Other"}]

    async def close(self):
        pass

    async def pipe(self, body, __metadata__):
        return self.answer(body, __metadata__)

    async def answer(self, body, metadata):
        said = body["messages"][-1]["content"]
        if said == "fail":
            yield {"error": {"message": "No credit.\\nBuy some."}}
        yield {"type": "response.reasoning_text.delta", "delta": "hm"}
        call = {"type": "function_call", "name": "add", "arguments": '{"a":1}'}
        yield {"type": "response.output_item.done", "item": call}
        yield {"event": {"type": "status", "data": {"description": "adding", "done": True}}}
        for word in (body["model"], metadata["chat_id"], str(len(body["messages"]))):
            yield {"type": "response.output_text.delta", "delta": word + " "}
        usage = {"input_tokens": 5, "output_tokens": 7, "cost": 0.00012}
        usage["output_tokens_details"] = {"reasoning_tokens": 2}
        yield {"type": "response.completed", "response": {"usage": usage}}
"""


@pytest.fixture(autouse=True)
def without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    path = tmp_path / "pipe.py"
    path.write_text(PIPE)
    return str(path)


def test_an_answer_shows_thought_call_status_words_and_cost(
    bundle: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.main(["--pipe", bundle, "hello"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["hm", '→ add({"a":1})', "adding"]
    assert lines[3].split() == ["openrouter.openai.gpt-4o", "lab-chat", "1"]
    assert lines[4].startswith("GPT-4o · 5 in, 7 out, 2 reasoning · ")
    assert lines[4].endswith(" s · $0.000120")


def test_models_are_listed(bundle: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.main(["--pipe", bundle, "--list"]) == 0
    captured = capsys.readouterr()
    assert [line.split() for line in captured.out.splitlines()] == [
        ["openai.gpt-4o", "GPT-4o"],
        ["x.other", "Other"],
    ]
    assert captured.err == "no OPENROUTER_API_KEY: the simulator answers\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fail"], "error: No credit. Buy some.\n"),
        (["--model", "nope", "hi"], "error: no model is called 'nope'; --list shows all 2\n"),
        (["--model", "o", "hi"], "error: 'o' fits several models: openai/gpt-4o, x/other\n"),
    ],
)
def test_a_failure_is_one_line_and_exit_code_1(
    bundle: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chat.main(["--pipe", bundle, *arguments]) == 1
    assert capsys.readouterr().err.splitlines(keepends=True)[-1] == message


@pytest.mark.parametrize(
    ("text", "message"), [(None, "does not exist"), ("1 / 0", "does not load: ZeroDivisionError")]
)
def test_a_bundle_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "broken.py"
    if text:
        path.write_text(text)
    assert chat.main(["--pipe", str(path), "hi"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["openai/gpt-4o", "openai.gpt-4o", "4O", None])
def test_a_model_is_found_by_either_form_of_its_id_or_a_part(wanted: str | None) -> None:
    entries = [{"id": "x.other", "name": "Other"}, {"id": "openai.gpt-4o", "name": "GPT-4o"}]
    assert chat.choose_model(entries, wanted) is entries[1]


def test_the_stand_in_for_a_missing_catalog_says_why() -> None:
    entries = [{"id": "notice", "name": "no API key is set."}]
    with pytest.raises(chat.ChatError, match="no API key is set"):
        chat.choose_model(entries, "openai/gpt-4o")


def test_without_a_cost_it_says_so() -> None:
    line = chat.closing_line({"id": "a.b", "name": "B"}, {}, 1.0)
    assert line == "B · ? in, ? out · 1.0 s · cost unknown"


def test_a_terminal_gets_thoughts_dimmed_and_words_plain() -> None:
    screen = chat.Screen(io.StringIO(), color=True)
    events: list[dict[str, Any]] = [
        {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
        {"type": "response.output_text.delta", "delta": "Yes"},
    ]
    for event in events:
        screen.show(event)
    assert isinstance(screen.out, io.StringIO)
    assert screen.out.getvalue() == "\033[2mhm\n\033[0mYes"


def test_the_committed_bundle_answers_in_the_terminal() -> None:
    command = [sys.executable, "-m", "pipe_lab.chat", "--model", "openai/gpt-4o", "count to 3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "1, 2, 3."
    assert "$0.0" in lines[1]
    assert done.stderr == "no OPENROUTER_API_KEY: the simulator answers\n"
