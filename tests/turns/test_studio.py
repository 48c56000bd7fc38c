"""Models behind endpoints of their own: what they are asked, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import Reply, Simulator, error_reply
from pipe_lab.simulator.pictures import picture_url
from pipe_lab.simulator.studio import image_events
from tests.turns.calls import CHAT, Json, body, chat, make_pipe, read_chunks, stream, whole

EASEL, CAMERA = "lab.easel", "google.veo-3.1"


@pytest.fixture
async def pipe(simulator: Simulator) -> Pipe:
    """A pipe that knows the catalog."""
    made = make_pipe(simulator)
    await made.pipes()
    return made


def orders(simulator: Simulator, path: str) -> list[Any]:
    return [r.body for r in simulator.requests if (r.method, r.path) == ("POST", path)]


def failure_of(events: list[Json]) -> str:
    return events[-1]["error"]["message"]


async def test_they_are_listed_beside_the_others(pipe: Pipe) -> None:
    listed = [entry["id"] for entry in await pipe.pipes()]
    assert {EASEL, CAMERA, "black-forest-labs.flux.2-pro"} <= set(listed)
    assert len(listed) == len(set(listed))


async def test_a_catalog_without_them_is_a_catalog(simulator: Simulator) -> None:
    for path in ("/images/models", "/videos/models"):
        simulator.script(error_reply(404, "Not Found"), path=path)
    listed = [entry["id"] for entry in await make_pipe(simulator).pipes()]
    assert EASEL not in listed and "openai.gpt-4o" in listed


async def test_the_newest_words_and_pictures_are_what_it_goes_by(
    pipe: Pipe, simulator: Simulator
) -> None:
    picture = {"type": "image_url", "image_url": {"url": picture_url("a cat")}}
    said = [{"type": "text", "text": "As a fox"}, picture]
    asked = {
        **body(model=EASEL, stream=False),
        "messages": [{"role": "user", "content": "A cat"}, {"role": "user", "content": said}],
        "image_config": {"aspect_ratio": "1:1", "image_size": "2K"},
        "provider": {"order": ["openai"], "data_collection": "allow"},
        "temperature": 1,
        "n": 2,
    }
    await pipe.pipe(asked)
    (sent,) = orders(simulator, "/images")
    assert sent == {
        "model": "lab/easel",
        "prompt": "As a fox",
        "input_references": [picture],
        "aspect_ratio": "1:1",
        "resolution": "2K",
        "n": 2,
        "provider": {"order": ["openai"]},
        "stream": True,
    }


@pytest.mark.parametrize("reuses", [True, False])
async def test_what_it_drew_last_can_be_edited(simulator: Simulator, reuses: bool) -> None:
    choice = "user_then_assistant" if reuses else "user_turn_only"
    pipe = make_pipe(simulator, IMAGE_INPUT_SELECTION=choice)
    await pipe.pipes()
    picture = {"type": "image_url", "image_url": {"url": picture_url("a cat")}}
    answers = [
        {"role": "assistant", "content": "", "images": [{**picture, "index": 0}]},
        {"role": "assistant", "content": "", "images": []},
    ]
    for number, answer in enumerate(answers):
        said = [{"role": "user", "content": words} for words in ("A cat", "Make it blue")]
        asked = {**body(model=EASEL, stream=False), "messages": [said[0], answer, said[1]]}
        await pipe.pipe(asked)
        sent = orders(simulator, "/images")[-1].get("input_references")
        assert sent == ([picture] if reuses and not number else None)


async def test_a_provider_that_does_not_stream_sends_the_pictures_whole(
    pipe: Pipe, simulator: Simulator
) -> None:
    data = [{"b64_json": picture_url(name).partition(",")[2]} for name in ("one", "two")]
    drawn = {"created": 0, "data": data, "usage": {"cost": 0.08}}
    simulator.script(Reply(body=drawn), path="/images")
    answer = await whole(pipe, model=EASEL)
    images = answer["choices"][0]["message"]["images"]
    assert [image["image_url"]["url"] for image in images] == [
        picture_url("one"),
        picture_url("two"),
    ]
    assert answer["usage"]["cost"] == 0.08


async def test_an_api_client_gets_each_streamed_picture(pipe: Pipe, simulator: Simulator) -> None:
    events = image_events(picture_url("a fox"), sketch=picture_url("a line"))
    simulator.script(Reply(events=events), path="/images")
    chunks = read_chunks(await stream(pipe, model=EASEL))
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    ((image,),) = [delta["images"] for delta in deltas if "images" in delta]
    assert image["image_url"]["url"] == picture_url("a fox")


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error_reply(402, "Insufficient credits"), "Insufficient credits"),
        (Reply(events=[{"type": "error", "error": {"message": "Too rude"}}]), "Too rude"),
        (Reply(events=[]), "stopped before its end"),
        (Reply(body={"created": 0, "data": []}), "stopped before its end"),
    ],
)
async def test_where_no_picture_comes_the_reason_is_told(
    pipe: Pipe, simulator: Simulator, reply: Reply, words: str
) -> None:
    simulator.script(reply, path="/images")
    assert words in failure_of(await chat(pipe, model=EASEL))


@pytest.mark.parametrize("demand", [{"data_collection": "deny"}, {"zdr": True}])
async def test_where_privacy_is_demanded_nothing_is_sent(
    pipe: Pipe, simulator: Simulator, demand: Json
) -> None:
    answer = await pipe.pipe({**body(model=EASEL, stream=False), "provider": demand})
    assert "keep no data" in str(answer)
    assert orders(simulator, "/images") == []


async def test_a_chore_is_not_drawn(pipe: Pipe, simulator: Simulator) -> None:
    asked = body(model=EASEL, stream=False)
    await pipe.pipe(asked, CHAT, __task__="title_generation")
    assert orders(simulator, "/images") == []
