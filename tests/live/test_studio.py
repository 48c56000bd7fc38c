"""Models behind `/images`: asked like any other, their work a file of the message."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.simulator import Reply
from pipe_lab.simulator.pictures import draw_png, picture_url
from pipe_lab.simulator.studio import image_events
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

EASEL = "openrouter.lab.easel"


def asked(stage: Stage, path: str) -> list[Any]:
    return [r.body for r in stage.simulator.requests if (r.method, r.path) == ("POST", path)]


async def saved(stage: Stage, turn: Turn) -> dict[str, Any]:
    return await stage.admin.message(turn.chat_id, turn.reply.message_id)


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
