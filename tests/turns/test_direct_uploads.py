"""Files that the filter has taken out of retrieval: from the request to the wire."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipe_lab.simulator import Simulator
from tests.filters.filter_calls import load_filter
from tests.host_parts import StoredRow, stored_files
from tests.turns.calls import CHAT, body, make_pipe, request_of

PDF = b"%PDF-1.4\n" + bytes(300)
MP3 = b"ID3\x04" + bytes(300)
WRITER, LISTENER = "openai.gpt-4o", "google.gemini-2.5-flash"


@pytest.fixture
def shelf(put_in_host: Callable[..., None], tmp_path: Path) -> list[dict[str, Any]]:
    """A document and a recording, with the text that Open WebUI has found in them."""
    rows: list[StoredRow] = []
    for name, kind, content in (("a.pdf", "application/pdf", PDF), ("b.mp3", "audio/mpeg", MP3)):
        (path := tmp_path / name).write_bytes(content)
        meta = {"name": name, "content_type": kind, "size": len(content)}
        rows.append(StoredRow(name, str(path), owner="user-1", text="Foxes.", meta=meta))
    put_in_host(**stored_files(*rows))
    return [{"type": "file", "id": row.id, "name": row.id} for row in rows]


@pytest.mark.parametrize(
    ("model", "is_on", "expected"),
    [
        (WRITER, True, (["input_file"], ["b.mp3"])),
        (LISTENER, True, (["input_file", "input_audio"], [])),
        (LISTENER, False, ([], ["a.pdf", "b.mp3"])),
    ],
)
async def test_the_switch_decides_whether_files_or_their_texts_go_out(
    simulator: Simulator, shelf: list[Any], model: str, is_on: bool, expected: Any
) -> None:
    pipe = make_pipe(simulator)
    await pipe.pipes()  # with the list of models the filter learns what each takes
    metadata: dict[str, Any] = {**CHAT, "user_message": {"files": shelf}}
    asked: dict[str, Any] = {"files": shelf}
    if is_on:
        place = {"__id__": "openrouter_direct_uploads", "__model__": {"id": f"openrouter.{model}"}}
        await load_filter("direct_uploads").inlet(asked, metadata, **place)
    for task in (None, "title_generation"):
        answer = await pipe.pipe(
            body(model=model, stream=False), metadata, request_of("user-1"), __task__=task
        )
        assert isinstance(answer, dict)

    question, title = (one for one in simulator.requests if one.path == "/responses")
    parts = question.body["input"][-1]["content"]
    sent = [part["type"] for part in parts if part["type"] != "input_text"]
    assert (sent, [file["id"] for file in asked["files"]]) == expected
    assert "input_file" not in json.dumps(title.body)
