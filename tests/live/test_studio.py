"""Models behind `/images` and `/videos`: asked like any other, their work a file of the message."""

from __future__ import annotations

import base64
import json
import re
import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.simulator import Reply
from pipe_lab.simulator.pictures import draw_png, picture_url
from pipe_lab.simulator.studio import VIDEO, image_events
from tests.live.stage import Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

EASEL = "openrouter.lab.easel"
CAMERA = "openrouter.google.veo-3.1"
PLAYER = re.compile(r"<video>\n(/api/v1/files/[\w-]+/content)\n</video>")


def asked(stage: Stage, path: str) -> list[Any]:
    return [r.body for r in stage.simulator.requests if (r.method, r.path) == ("POST", path)]


async def saved(stage: Stage, turn: Turn) -> dict[str, Any]:
    return await stage.admin.message(turn.chat_id, turn.reply.message_id)


async def jobs_in_ledger(stage: Stage, turn: Turn) -> list[Any]:
    """How the chat's videos ended, and what they cost."""
    query = "SELECT outcome, picodollars FROM openrouter_pipe_spend WHERE chat_id = ? AND model = ?"
    file = stage.server.settings.data_folder / "webui.db"

    async def read() -> list[Any]:
        with closing(sqlite3.connect(file)) as database:
            return database.execute(query, (turn.chat_id, "google/veo-3.1")).fetchall()

    async def is_missing() -> bool:
        return not await read()

    await settled(is_missing)
    return await read()


async def test_a_model_behind_images_draws_in_a_chat(stage: Stage, page: ChatPage) -> None:
    assert EASEL in [model["id"] for model in await stage.admin.models()]
    events = image_events(picture_url("a fox"), sketch=picture_url("a line"))
    stage.simulator.script(Reply(events=events), path="/images")

    parts = [
        {"type": "text", "text": "A fox"},
        {"type": "image_url", "image_url": {"url": picture_url("a cat")}},
    ]
    turn = await page.ask(EASEL, "A fox", image_config={"aspect_ratio": "16:9"})

    (body,) = asked(stage, "/images")
    assert (body["prompt"], body["aspect_ratio"], body["stream"]) == ("A fox", "16:9", True)
    message = await saved(stage, turn)
    (file,) = message["files"]
    answer = await stage.admin.http.get(file["url"])
    assert (answer.headers["content-type"], answer.content) == ("image/png", draw_png("a fox"))
    assert message["usage"]["cost"] == 0.04
    assert ";base64," not in json.dumps(await stage.admin.chat(turn.chat_id))
    statuses = [status["description"] for status in message["statusHistory"]]
    assert statuses[0] == "The picture is being drawn."

    whole = await stage.admin.complete(
        {"model": EASEL, "messages": [{"role": "user", "content": parts}], "stream": False}
    )
    (image,) = whole["choices"][0]["message"]["images"]
    drawn = base64.b64encode(draw_png("A fox")).decode()
    assert image["image_url"]["url"].endswith(drawn)
    assert asked(stage, "/images")[1]["input_references"] == [parts[1]]


async def test_the_picture_it_drew_last_goes_along_with_the_next_wish(
    stage: Stage, page: ChatPage
) -> None:
    turn = await page.ask(EASEL, "A fox")
    await page.ask(EASEL, "Make it blue", after=turn)
    first, second = asked(stage, "/images")
    assert "input_references" not in first
    drawn = {"type": "image_url", "image_url": {"url": picture_url("A fox")}}
    assert (second["prompt"], second["input_references"]) == ("Make it blue", [drawn])


async def test_a_video_is_ordered_awaited_and_played(stage: Stage, page: ChatPage) -> None:
    turn = await page.ask(CAMERA, "A fox runs", duration=4)

    (body,) = asked(stage, "/videos")
    assert body == {"model": "google/veo-3.1", "prompt": "A fox runs", "duration": 4}
    message = await saved(stage, turn)
    (address,) = PLAYER.findall(message["content"])
    assert (await stage.admin.http.get(address)).content == VIDEO
    assert message["usage"]["cost"] == 0.5
    assert await jobs_in_ledger(stage, turn) == [("finished", 5 * 10**11)]
    statuses = [status["description"] for status in message["statusHistory"]]
    assert statuses[:2] == ["The video waits for its turn.", "The video is being fetched."]
    assert "$0.50" in statuses[-1]


async def test_a_stopped_video_is_not_waited_for(stage: Stage, page: ChatPage) -> None:
    stage.simulator.studio.is_busy = True
    turn = await page.send(CAMERA, "A fox runs")
    await stage.simulator.wait_for(lambda s: any("/videos/job" in r.path for r in s.requests), 30)
    await page.stop(turn)
    await turn.done()

    toasts = [data["content"] for _, kind, data in turn.reply.events if kind == "notification"]
    assert "charges the whole of it" in toasts[0]
    stage.simulator.studio.is_busy = False
    before = len(stage.simulator.requests)
    await stage.set_valves(LOG_LEVEL="DEBUG")  # nor by a worker that comes later
    await stage.admin.models()
    assert [r.path for r in stage.simulator.requests[before:] if "job" in r.path] == []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_a_restarted_server_sees_the_video_to_its_end(
    stage: Stage, page: ChatPage, how: signal.Signals
) -> None:
    stage.simulator.studio.is_busy = True
    turn = await page.send(CAMERA, "A fox runs")
    await stage.simulator.wait_for(lambda s: any("/videos/job" in r.path for r in s.requests), 30)
    await stage.server.stop(how)
    stage.simulator.studio.is_busy = False
    await stage.server.start()
    await stage.admin.models()

    async def is_missing() -> bool:
        return not PLAYER.search((await saved(stage, turn))["content"])

    assert not await settled(is_missing, patience=90)
    message = await saved(stage, turn)
    (address,) = PLAYER.findall(message["content"])
    assert (await stage.admin.http.get(address)).content == VIDEO
    assert (message["done"], message["usage"]["cost"]) == (True, 0.5)
    assert "$0.50" in message["statusHistory"][-1]["description"]
    assert len(asked(stage, "/videos")) == 1
    assert await jobs_in_ledger(stage, turn) == [("finished", 5 * 10**11)]
