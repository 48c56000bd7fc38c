"""What people attach, on a real server: what reaches the model, and what the message says."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.host.client import OpenWebUIClient
from pipe_lab.simulator import Answer, GeneratedImage, Message, RecordedRequest, answer_reply
from pipe_lab.simulator.pictures import draw_png, picture_url
from tests.live.stage import TASK_MODEL, Stage
from tests.live.uploads import PDF, attach, data_url

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

TAKES_ALL = "openrouter.google.gemini-2.5-flash"
TAKES_TEXT = "openrouter.deepseek.deepseek-chat-v3.1"
PNG = draw_png("a fox")
MP3 = b"ID3\x04" + bytes(2000)
MP4 = b"\x00\x00\x00\x18ftypmp42" + bytes(2000)
PROGRAM = b"MZ\x90\x00\x03" + bytes(2000)
LARGE_FILES_BOUND = 1024**3  # as docs/files.md says
LARGE = b"%PDF-1.7\n" + bytes(30 * 1024 * 1024)


async def ask(page: ChatPage, model: str, *files: dict[str, Any], **options: Any) -> Turn:
    return await page.ask(model, "What is this?", files=list(files), **options)


def asked(stage: Stage) -> RecordedRequest:
    """The one request to the chat's own model."""
    (request,) = [each for each in stage.completions() if each.body["model"] != TASK_MODEL]
    return request


def parts_sent(stage: Stage) -> list[dict[str, Any]]:
    """The parts of the newest message, as the model got them."""
    request = asked(stage)
    said = request.body.get("input") or request.body["messages"]
    content = said[-1]["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


async def told(stage: Stage, turn: Turn) -> str:
    """The status lines saved with the message."""
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert "error" not in saved
    return " ".join(status.get("description", "") for status in saved.get("statusHistory", []))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("fox.png", PNG, {"image_url": data_url("image/png", PNG)}),
        ("fox.jpg", PNG, {"image_url": data_url("image/png", PNG)}),
        ("fox.pdf", PNG, {"image_url": data_url("image/png", PNG)}),
        ("a.pdf", PDF, {"filename": "a.pdf", "file_data": data_url("application/pdf", PDF)}),
        ("a.mp3", MP3, {"input_audio": {"data": base64.b64encode(MP3).decode(), "format": "mp3"}}),
        ("a.mp4", MP4, {"video_url": {"url": data_url("video/mp4", MP4)}}),
    ],
)
async def test_a_file_reaches_a_model_that_takes_it(
    stage: Stage, page: ChatPage, name: str, content: bytes, expected: Any
) -> None:
    turn = await ask(page, TAKES_ALL, await attach(stage.admin, name, content))
    *_, part = parts_sent(stage)
    assert expected.items() <= part.items()
    assert asked(stage).path == ("/chat/completions" if name == "a.mp4" else "/responses")
    assert "left out" not in await told(stage, turn)
    assert ";base64," not in json.dumps(await stage.admin.chat(turn.chat_id))


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("fox.png", PNG, "takes no pictures"),
        ("fox.pdf", PNG, "takes no pictures"),
        ("a.mp3", MP3, "takes no sound"),
        ("a.mp4", MP4, "takes no video"),
        ("fox.jpg", PNG, "takes no pictures"),
        ("photo.png", PROGRAM, "no kind of file"),
        ("notes.pdf", PROGRAM, "no kind of file"),
    ],
)
async def test_what_a_model_cannot_take_is_left_out_and_told_once(
    stage: Stage, page: ChatPage, name: str, content: bytes, reason: str
) -> None:
    turn = await ask(page, TAKES_TEXT, await attach(stage.admin, name, content))
    assert (await told(stage, turn)).count(reason) == 1
    assert {part["type"] for part in parts_sent(stage)} == {"input_text"}
    after = await page.ask(TAKES_TEXT, "And now?", after=turn)
    assert "left out" not in await told(stage, after)


@pytest.mark.parametrize(("name", "content"), [("photo.png", PROGRAM), ("notes.pdf", PROGRAM)])
async def test_a_renamed_program_reaches_no_model(
    stage: Stage, page: ChatPage, name: str, content: bytes
) -> None:
    turn = await ask(page, TAKES_ALL, await attach(stage.admin, name, content))
    assert (await told(stage, turn)).count("no kind of file") == 1
    assert ";base64," not in json.dumps(asked(stage).body)


@pytest.mark.parametrize("model", [TAKES_ALL, TAKES_TEXT])
async def test_a_large_pdf_goes_out_whole(stage: Stage, page: ChatPage, model: str) -> None:
    file = await attach(stage.admin, "large.pdf", LARGE)
    await ask(page, model, file)
    *_, part = parts_sent(stage)
    assert len(part["file_data"]) == len(data_url("application/pdf", LARGE))
    await stage.set_valves(BASE64_MAX_SIZE_MB=20)
    turn = await ask(page, model, file)
    assert "“large.pdf” was left out: it is larger than 20 MB." in await told(stage, turn)


async def test_a_large_video_goes_out_where_it_is_taken(stage: Stage, page: ChatPage) -> None:
    file = await attach(stage.admin, "a.mp4", MP4 + bytes(30 * 1024 * 1024))
    turn = await ask(page, TAKES_TEXT, file)
    assert (await told(stage, turn)).count("takes no video") == 1
    assert ";base64," not in json.dumps(asked(stage).body)


@pytest.mark.parametrize(
    ("model", "name", "content"),
    [
        (TAKES_ALL, "secret-plan.pdf", PDF),
        (TAKES_TEXT, "secret-plan.pdf", PDF),
        (TAKES_ALL, "secret-plan.png", PNG),
        (TAKES_TEXT, "secret-plan.png", PNG),
    ],
)
async def test_someone_elses_file_and_a_deleted_one_are_refused_alike(
    stage: Stage, model: str, name: str, content: bytes
) -> None:
    email = f"{uuid4().hex}@example.com"
    account = await stage.admin.create_user("Eve", email, "battery staple")
    await stage.admin.grant_model(model)
    foreign = await attach(stage.admin, name, content)
    lines: list[str] = []
    async with OpenWebUIClient(stage.server.url, account) as eve, ChatPage(eve) as page:
        deleted = await attach(eve, name.replace("secret-plan", "gone"), content)
        await eve.http.delete(f"/api/v1/files/{deleted['id']}")
        for file in (foreign, deleted):
            stage.simulator.reset()
            turn = await ask(page, model, {**file, "name": "x.pdf"})
            saved = await eve.message(turn.chat_id, turn.reply.message_id)
            lines += [
                words
                for status in saved["statusHistory"]
                if "left out" in (words := status.get("description", ""))
            ]
            sent = json.dumps(asked(stage).body)
            assert "secret-plan" not in sent and ";base64," not in sent
    await stage.admin.reset_model(model)
    what = "A picture" if content is PNG else "“x.pdf”"
    assert lines == [f"{what} was left out: it is no longer there, or not yours to read."] * 2


async def test_a_document_that_open_webui_has_read_does_not_go_out_twice(
    stage: Stage, page: ChatPage
) -> None:
    file = await attach(stage.admin, "notes.txt", b"The fox lives in the hill.")
    stored = await stage.admin.get(f"/api/v1/files/{file['id']}")
    turn = await ask(page, TAKES_ALL, file)
    sent = json.dumps(asked(stage).body)
    if (stored["data"].get("content") or "").strip():
        assert '<file name=\\"notes.txt\\">' not in sent
    else:
        assert '<file name=\\"notes.txt\\">' in sent
    assert "left out" not in await told(stage, turn)


async def test_files_stay_with_their_message_in_later_turns(stage: Stage, page: ChatPage) -> None:
    turn = await ask(page, TAKES_ALL, await attach(stage.admin, "a.pdf", PDF))
    stage.simulator.reset()
    await page.ask(TAKES_ALL, "And the end?", after=turn)
    first, *_, last = asked(stage).body["input"]
    assert first["content"][-1]["file_data"] == data_url("application/pdf", PDF)
    assert [part["type"] for part in last["content"]] == ["input_text"]


async def test_a_drawn_picture_can_be_edited_in_the_next_turn(stage: Stage, page: ChatPage) -> None:
    drawer = "openrouter.google.gemini-2.5-flash-image"
    drawing = GeneratedImage(picture_url("a fox"))
    stage.simulator.script(answer_reply(Answer((drawing, Message(("Here.",))))))
    turn = await page.ask(drawer, "Draw a fox")
    stage.simulator.reset()
    await page.ask(drawer, "Make it blue", after=turn)
    assert parts_sent(stage)[-1]["image_url"] == picture_url("a fox")
    await stage.set_valves(IMAGE_INPUT_SELECTION="user_turn_only")
    stage.simulator.reset()
    await page.ask(drawer, "Make it red", after=turn)
    assert [part["type"] for part in parts_sent(stage)] == ["input_text"]


class Memory:
    """What the server's process takes (bytes)."""

    def __init__(self, stage: Stage) -> None:
        self._folder = Path("/proc") / str(stage.server.pid)
        (self._folder / "clear_refs").write_text("5")  # the peak counts from here
        self._before = self._read("VmRSS")

    def _read(self, name: str) -> int:
        (line,) = re.findall(rf"{name}:\s+(\d+) kB", (self._folder / "status").read_text())
        return int(line) * 1024

    @property
    def peak(self) -> int:
        return self._read("VmHWM") - self._before

    @property
    def rest(self) -> int:
        return self._read("VmRSS") - self._before


async def test_a_large_file_takes_less_than_three_times_its_size_in_memory(
    stage: Stage, page: ChatPage
) -> None:
    size = 49 * 1024 * 1024
    file = await attach(stage.admin, "large.pdf", b"%PDF-1.7\n" + bytes(size))
    await ask(page, TAKES_TEXT)
    memory = Memory(stage)
    stage.simulator.reset()
    await ask(page, TAKES_TEXT, file)
    assert len(parts_sent(stage)[-1]["file_data"]) > size * 4 / 3
    assert memory.peak < 3 * size
    assert memory.rest < 0.5 * size


async def test_ten_large_files_at_once_stay_within_the_bound(stage: Stage, page: ChatPage) -> None:
    size = 49 * 1024 * 1024
    file = await attach(stage.admin, "large.pdf", b"%PDF-1.7\n" + bytes(size))
    await ask(page, TAKES_TEXT)
    stage.simulator.reset()
    memory = Memory(stage)
    await asyncio.gather(*(ask(page, TAKES_TEXT, file) for _ in range(10)))
    asked = [each for each in stage.completions() if each.body["model"] != TASK_MODEL]
    assert len(asked) == 10
    assert memory.peak < LARGE_FILES_BOUND
    stage.simulator.reset()
