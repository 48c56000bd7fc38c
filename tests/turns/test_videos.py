"""Videos: jobs that are ordered once, followed by one worker at a time, stored and charged once."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.api.gateway import videos
from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.storage import video_jobs, video_watch
from open_webui_openrouter_pipe.storage.spend_table import SPEND
from open_webui_openrouter_pipe.storage.video_jobs import VIDEO_JOBS
from pipe_lab.simulator import Reply, Simulator, error_reply
from pipe_lab.simulator.pictures import picture_url
from pipe_lab.simulator.studio import VIDEO
from tests.turns.calls import CHAT, Json, body, chat, eventually, make_pipe

CAMERA = "google.veo-3.1"
BUSY = error_reply(503, "Overloaded")
JOB = {"id": "job-1", "polling_url": "/api/v1/videos/job-1", "status": "pending"}
DONE = {**JOB, "status": "completed", "usage": {"cost": 0.5, "is_byok": False}}


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_FIRST_POLL_SECONDS", 0.01)


@dataclass
class Page:
    """Open WebUI as far as a video needs it: one chat, its files, and what its page is told."""

    uploads: list[bytes] = field(default_factory=list[bytes])
    linked: list[str] = field(default_factory=list[str])
    message: Json = field(default_factory=lambda: {"content": ""})
    events: list[Json] = field(default_factory=list[Json])
    is_locked: bool = False
    looks: int = 0

    async def upload(self, file: Any, **_: Any) -> Any:
        self.uploads.append(await file.read())
        return SimpleNamespace(id=f"file-{len(self.uploads)}", filename=file.filename)

    async def get_message_by_id_and_message_id(self, *_: str) -> Json:
        self.looks += 1
        if self.is_locked:
            raise RuntimeError("database is locked")
        return self.message

    async def upsert_message_to_chat_by_id_and_message_id(self, *what: Any) -> None:
        self.message |= what[-1]

    async def insert_chat_files(self, chat: str, message: str, files: list[str], _: str) -> None:
        self.linked += [f"{chat} {message} {each}" for each in files]

    async def get_user_by_id(self, user_id: str) -> Any:
        return SimpleNamespace(id=user_id)

    async def get_event_emitter(self, _: Json) -> Any:
        return self.emit

    async def emit(self, event: Json) -> None:
        self.events.append(event)


@pytest.fixture
def page(engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch) -> Page:
    shown = Page()
    for name, content in {
        "models.chats": {"Chats": shown},
        "models.users": {"Users": shown},
        "routers.files": {"upload_file_handler": shown.upload},
        "socket.main": {"get_event_emitter": shown.get_event_emitter},
    }.items():
        module = ModuleType(f"open_webui.{name}")
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return shown


@pytest.fixture
async def pipe(simulator: Simulator) -> Pipe:
    """A pipe that knows the catalog."""
    made = make_pipe(simulator)
    await made.pipes()
    return made


async def order(pipe: Pipe, page: Page) -> Any:
    """A chat whose answer is a video."""
    return await pipe.pipe(body(model=CAMERA), CHAT, __event_emitter__=page.emit)


async def rest(answer: Any) -> list[Json]:
    async with asyncio.timeout(10):
        return [event async for event in answer]


async def rows(engine: AsyncEngine, table: Any) -> list[Any]:
    async with engine.begin() as connection:
        return list((await connection.execute(select(table))).all())


async def a_minute_later(engine: AsyncEngine) -> None:
    """What a minute does to the claim of a worker that is not heard of."""
    async with engine.begin() as connection:
        await connection.execute(update(VIDEO_JOBS).values(claimed_until=0.0))


async def leave_behind(pipe: Pipe, engine: AsyncEngine, page: Page, simulator: Simulator) -> Any:
    """An answer whose worker has fallen silent while the job was being made."""
    simulator.script(Reply(status=202, body=JOB), path="/videos")
    answer = await order(pipe, page)
    async with asyncio.timeout(5):
        await anext(answer)
    assert [row.id for row in await rows(engine, VIDEO_JOBS)] == ["job-1"]
    await a_minute_later(engine)
    return answer


def worker(simulator: Simulator) -> Pipe:
    """A copy of the pipe in another worker: it knows nothing of the first."""
    return make_pipe(simulator)


def orders(simulator: Simulator, path: str) -> list[Any]:
    return [r.body for r in simulator.requests if (r.method, r.path) == ("POST", path)]


def failure_of(events: list[Json]) -> str:
    return events[-1]["error"]["message"]


async def test_a_job_is_ordered_once_and_asked_after_until_it_is_done(
    pipe: Pipe, simulator: Simulator
) -> None:
    simulator.studio.polls_needed = 4
    simulator.script(BUSY, path="/videos")
    events = await chat(pipe, model=CAMERA)
    assert len(orders(simulator, "/videos")) == 2  # refused, then taken
    paths = [r.path for r in simulator.requests if "/videos/job" in r.path]
    assert len(paths) == 5 and paths[-1].endswith("/content")
    assert events[-1]["response"]["usage"]["cost"] == 0.5


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"status": "failed", "error": "Not a safe prompt"}, "Not a safe prompt"),
        ({"status": "expired"}, "expired"),
    ],
)
async def test_a_job_that_fails_says_why_and_is_not_ordered_again(
    pipe: Pipe, simulator: Simulator, job: Json, words: str
) -> None:
    taken = {"id": "job-1", "polling_url": "/api/v1/videos/job-1", "status": "pending"}
    simulator.script(Reply(status=202, body=taken), path="/videos")
    simulator.script(BUSY, path="/videos/job-1")  # nobody knows for a while
    simulator.script(Reply(body={**taken, **job}), path="/videos/job-1")
    assert words in failure_of(await chat(pipe, model=CAMERA))
    assert len(orders(simulator, "/videos")) == 1


async def test_a_picture_is_the_first_frame(pipe: Pipe, simulator: Simulator) -> None:
    picture = {"type": "image_url", "image_url": {"url": picture_url("a cat")}}
    content = [{"type": "text", "text": "It runs"}, picture]
    asked = {**body(model=CAMERA, stream=False), "messages": [{"role": "user", "content": content}]}
    await pipe.pipe(asked)
    (sent,) = orders(simulator, "/videos")
    assert sent["frame_images"] == [{**picture, "frame_type": "first_frame"}]


async def test_a_long_pause_that_is_asked_for_is_kept(
    pipe: Pipe, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(videos, "_PATIENCE_SECONDS", 0.1)
    simulator.script(Reply(status=202, body=JOB), path="/videos")
    simulator.script(error_reply(429, "Slow", retry_after=99), path="/videos/job-1")
    assert "longer than an hour" in failure_of(await chat(pipe, model=CAMERA))
    assert len([r for r in simulator.requests if r.path == "/videos/job-1"]) == 1


async def test_two_workers_that_find_a_job_store_and_charge_it_once(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    for _ in range(3):
        simulator.script(Reply(body=DONE), path="/videos/job-1")
        simulator.script(Reply(body=VIDEO), path="/videos/job-1/content")
    others = [worker(simulator) for _ in range(2)]
    await asyncio.gather(*(each.pipes() for each in others))
    await eventually(lambda: page.message.get("done", False))
    # The first one was only slow: what it fetches now is another's.
    assert "another one finishes" in failure_of(await rest(left))
    for each in (pipe, *others):
        await each.close()

    assert page.uploads == [VIDEO]
    assert page.linked == ["chat-1 msg-1 file-1"]
    assert page.message["content"] == "\n<video>\n/api/v1/files/file-1/content\n</video>\n"
    assert page.message["output"][0]["content"][0]["text"] == page.message["content"]
    assert page.message["usage"]["cost"] == 0.5
    (told,) = await rows(engine, SPEND)
    assert (told.outcome, told.picodollars, told.user_id) == ("finished", 5 * 10**11, "user-1")
    assert await rows(engine, VIDEO_JOBS) == []
    statuses = [e["data"]["description"] for e in page.events if e["type"] == "status"]
    assert statuses[0] == "The video is being fetched." and "$0.50" in statuses[-1]


async def test_a_claim_is_renewed_while_the_video_is_fetched(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page, monkeypatch: Any
) -> None:
    for module in (video_jobs, video_watch):
        monkeypatch.setattr(module, "CLAIM_SECONDS", 0.03, raising=False)
    left = await leave_behind(pipe, engine, page, simulator)
    simulator.script(Reply(body=DONE), path="/videos/job-1")
    slow = Reply(events=[VIDEO[:9], VIDEO[9:]], done=False, stall_after=1)
    simulator.script(slow, path="/videos/job-1/content")
    task = asyncio.create_task(rest(left))
    await simulator.wait_for(lambda s: any("content" in r.path for r in s.requests), 5)
    await a_minute_later(engine)
    async with asyncio.timeout(5):
        while not (await rows(engine, VIDEO_JOBS))[0].claimed_until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    simulator.release()
    await task
    await pipe.close()
    assert page.uploads == [VIDEO]
    assert await rows(engine, VIDEO_JOBS) == []


async def test_a_video_that_cannot_be_fetched_has_been_charged_all_the_same(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    simulator.script(Reply(body=DONE), path="/videos/job-1")
    simulator.script(error_reply(404, "Gone"), path="/videos/job-1/content")
    assert "Gone" in failure_of(await rest(left))
    await pipe.close()
    (told,) = await rows(engine, SPEND)
    assert (told.outcome, told.picodollars) == ("failed", 5 * 10**11)


async def test_a_stopped_job_is_followed_by_nobody(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    await left.aclose()
    assert await rows(engine, VIDEO_JOBS) == []
    await pipe.close()
    (told,) = await rows(engine, SPEND)
    assert (told.outcome, told.picodollars) == ("stopped", None)
    (note,) = [e["data"]["content"] for e in page.events if e["type"] == "notification"]
    assert "charges the whole of it" in note


async def test_a_resumed_video_is_stored_though_its_statuses_cannot_be(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page, monkeypatch: Any
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)

    async def emit(event: Json) -> None:
        if event["type"] == "status":
            raise RuntimeError("database is locked")

    monkeypatch.setattr(page, "emit", emit)
    simulator.script(Reply(body=DONE), path="/videos/job-1")
    simulator.script(Reply(body=VIDEO), path="/videos/job-1/content")
    other = worker(simulator)
    await other.pipes()
    await eventually(lambda: page.message.get("done", False))
    await other.close()
    assert page.uploads == [VIDEO]
    assert [row.outcome for row in await rows(engine, SPEND)] == ["finished"]
    await left.aclose()


async def test_a_job_is_not_given_up_because_its_message_could_not_be_looked_for(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    page.is_locked = True
    other = worker(simulator)
    await other.pipes()
    await eventually(lambda: page.looks > 0)
    page.is_locked = False
    await a_minute_later(engine)
    simulator.script(Reply(body=DONE), path="/videos/job-1")
    simulator.script(Reply(body=VIDEO), path="/videos/job-1/content")
    third = worker(simulator)
    await third.pipes()
    await eventually(lambda: page.message.get("done", False))
    assert page.uploads == [VIDEO]
    await left.aclose()
    for each in (other, third):
        await each.close()


async def test_the_video_of_a_deleted_message_is_left_alone(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    page.message = {}
    other, before = worker(simulator), len(simulator.requests)
    await other.pipes()
    async with asyncio.timeout(5):
        while await rows(engine, VIDEO_JOBS):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await left.aclose()
    await other.close()
    assert [r for r in simulator.requests[before:] if "job-1" in r.path] == []
    assert page.uploads == []


async def test_a_job_that_failed_meanwhile_says_so_in_the_message(
    pipe: Pipe, simulator: Simulator, engine: AsyncEngine, page: Page
) -> None:
    left = await leave_behind(pipe, engine, page, simulator)
    failed = {**JOB, "status": "failed", "error": "Not a safe prompt"}
    simulator.script(Reply(body=failed), path="/videos/job-1")
    other = worker(simulator)
    await other.pipes()
    await eventually(lambda: any(e["type"] == "chat:message:error" for e in page.events))
    await other.close()
    await left.aclose()
    assert "Not a safe prompt" in page.message["error"]["content"]
