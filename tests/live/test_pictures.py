"""What the model draws: files of Open WebUI, seen in the message, base64 nowhere in the chat."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.host.client import OpenWebUIClient
from pipe_lab.simulator import (
    Answer,
    GeneratedImage,
    Message,
    answer_reply,
    chat_answer_reply,
    text_reply,
)
from pipe_lab.simulator.pictures import draw_png, picture_url
from tests.live.stage import Stage, settled

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.google.gemini-2.5-flash-image"
DRAWER = "openrouter.black-forest-labs.flux.2-pro"
PICTURE = GeneratedImage(picture_url("a fox"))


def script_drawing(stage: Stage) -> None:
    items = (Message(("Here ", "it is.")), PICTURE)
    stage.simulator.script(answer_reply(Answer(items)))


def shown_files(turn: Turn) -> list[list[dict[str, Any]]]:
    """The lists of files that the page was given."""
    return [data["files"] for _, kind, data in turn.reply.events if kind == "chat:message:files"]


async def content_of(stage: Stage, file: dict[str, Any]) -> tuple[str, bytes]:
    answer = await stage.admin.http.get(file["url"])
    assert answer.is_success
    return answer.headers["content-type"], answer.content


async def test_a_drawn_picture_is_a_file_of_the_message(stage: Stage, page: ChatPage) -> None:
    script_drawing(stage)
    stage.simulator.script(text_reply("A fox."))

    turn = await page.ask(MODEL, "Draw a fox")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["content"] == "Here it is."
    (file,) = saved["files"]
    assert shown_files(turn) == [[file], [file]]  # its last sketch was the picture already
    assert await content_of(stage, file) == ("image/png", draw_png("a fox"))
    stored = await stage.admin.get(f"/api/v1/files/{file['id']}")
    assert stored["meta"]["data"]["chat_id"] == turn.chat_id
    assert ";base64," not in json.dumps(await stage.admin.chat(turn.chat_id))
    assert ";base64," not in json.dumps([data for _, _, data in turn.reply.events])
    assert stage.completions()[0].body["modalities"] == ["image", "text"]

    after = await page.ask(MODEL, "What is it?", after=turn)
    assert after.reply.text == "A fox."
    assert (await stage.admin.message(turn.chat_id, turn.reply.message_id))["files"] == [file]


async def test_the_picture_is_there_before_the_answer_ends(stage: Stage, page: ChatPage) -> None:
    items = (PICTURE, Message(("And ", "a ", "story.")))
    reply = answer_reply(Answer(items))
    reply.stall_after = len(reply.events or []) - 5
    stage.simulator.script(reply)

    turn = await page.send(MODEL, "Draw a fox and tell of it")

    async def is_missing() -> bool:
        return not shown_files(turn)

    assert not await settled(is_missing)
    assert "story" not in turn.reply.text
    stage.simulator.release()
    await turn.done()


async def test_a_model_that_only_draws_is_offered_and_answers(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(answer_reply(Answer((PICTURE,))))

    turn = await page.ask(DRAWER, "A fox")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert (saved["done"], len(saved["files"])) == (True, 1)
    assert stage.completions()[0].body["modalities"] == ["image"]


async def test_a_picture_is_seen_half_drawn_and_then_whole(stage: Stage, page: ChatPage) -> None:
    sketches = (picture_url("a line"), picture_url("an outline"))
    drawing = GeneratedImage(picture_url("a fox"), sketches)
    reply = answer_reply(Answer((drawing, Message(("Done.",)))))
    finished = next(n for n, e in enumerate(reply.events or []) if "output_item.done" in str(e))
    reply.stall_after = finished
    stage.simulator.script(reply)

    turn = await page.send(MODEL, "Draw a fox")

    async def are_missing() -> bool:
        return len(shown_files(turn)) < 2

    assert not await settled(are_missing)
    (first,), (second,) = shown_files(turn)
    assert await content_of(stage, second) == ("image/png", draw_png("an outline"))
    assert (await stage.admin.message(turn.chat_id, turn.reply.message_id)).get("files", []) == []
    stage.simulator.release()
    await turn.done()
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert shown_files(turn)[-1] == saved["files"]
    assert await content_of(stage, saved["files"][0]) == ("image/png", draw_png("a fox"))
    for sketch in (first, second):
        assert (await stage.admin.http.get(sketch["url"])).status_code == 404


async def test_a_stop_takes_the_half_drawn_picture_away(stage: Stage, page: ChatPage) -> None:
    reply = answer_reply(Answer((GeneratedImage(PICTURE.data_url, (picture_url("a line"),)),)))
    reply.stall_after = next(
        n for n, e in enumerate(reply.events or []) if "output_item.done" in str(e)
    )
    stage.simulator.script(reply)
    turn = await page.send(MODEL, "Draw a fox")

    async def is_missing() -> bool:
        return not shown_files(turn)

    assert not await settled(is_missing)
    await page.stop(turn)
    await turn.done()
    ((sketch,), after) = shown_files(turn)
    assert after == []
    assert (await stage.admin.http.get(sketch["url"])).status_code == 404


async def test_whoever_reads_the_shared_chat_sees_the_picture_and_nobody_else(
    stage: Stage, page: ChatPage
) -> None:
    script_drawing(stage)
    turn = await page.ask(MODEL, "Draw a fox")
    ((file,), *_) = shown_files(turn)
    reader = await stage.admin.create_user("Ben", "ben@example.com", "battery staple")
    stranger = await stage.admin.create_user("Cem", "cem@example.com", "battery staple")
    share_id = (await stage.admin.post(f"/api/v1/chats/{turn.chat_id}/share"))["share_id"]
    grant = {"principal_type": "user", "principal_id": reader.id, "permission": "read"}
    await stage.admin.post(
        f"/api/v1/chats/shared/{turn.chat_id}/access/update", {"access_grants": [grant]}
    )

    async with OpenWebUIClient(stage.server.url, reader) as ben:
        shared = await ben.get(f"/api/v1/chats/share/{share_id}")
        message = shared["chat"]["history"]["messages"][turn.reply.message_id]
        assert message["files"] == [file]
        assert (await ben.http.get(file["url"])).content == draw_png("a fox")
    async with OpenWebUIClient(stage.server.url, stranger) as cem:
        assert (await cem.http.get(file["url"])).status_code in (401, 403, 404)


async def test_a_picture_that_comes_as_a_link_becomes_a_file_or_stays_a_link(
    stage: Stage, page: ChatPage
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        content = draw_png("a fox")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as web:
        address = f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}"
        for trusted in (address, ""):
            await stage.set_valves(
                DEFAULT_LLM_ENDPOINT="chat_completions", REMOTE_DOWNLOAD_TRUSTED_ORIGINS=trusted
            )
            drawing = GeneratedImage(f"{address}/fox.png")
            stage.simulator.script(chat_answer_reply(Answer((drawing, Message(("Here.",))))))
            turn = await page.ask(MODEL, "Draw a fox")
            saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
            (file,) = saved["files"]
            if trusted:
                assert await content_of(stage, file) == ("image/png", draw_png("a fox"))
            else:
                assert file == {"type": "image", "url": f"{address}/fox.png"}
            assert (saved["content"], "error" in saved) == ("Here.", False)


@pytest_asyncio.fixture(loop_scope="session")
async def small_files_only(stage: Stage) -> AsyncIterator[None]:
    """A server that stores no file above one megabyte."""
    await stage.admin.post("/api/v1/retrieval/config/update", {"FILE_MAX_SIZE": 1})
    yield
    await stage.admin.post("/api/v1/retrieval/config/update", {"FILE_MAX_SIZE": 0})


@pytest.mark.usefixtures("small_files_only")
async def test_a_picture_that_open_webui_refuses_is_told_of_and_the_answer_goes_on(
    stage: Stage, page: ChatPage
) -> None:
    large = b"\x89PNG\r\n\x1a\n" + bytes(1_200_000)
    drawing = GeneratedImage("data:image/png;base64," + base64.b64encode(large).decode())
    stage.simulator.script(answer_reply(Answer((drawing, Message(("Did ", "it ", "come?"))))))

    turn = await page.ask(MODEL, "Draw the night")

    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    told = [status["description"] for status in saved["statusHistory"]]
    toasts = [data for _, kind, data in turn.reply.events if kind == "notification"]
    assert saved["content"] == "Did it come?"
    assert "error" not in saved
    assert any("did not store the file" in line and "1 MB" in line for line in told)
    assert len(toasts) == 1


async def test_a_temporary_chat_shows_it_too(stage: Stage, page: ChatPage) -> None:
    script_drawing(stage)
    turn = await page.ask(MODEL, "Draw a fox", temporary=True)
    ((file,),) = shown_files(turn)
    assert await content_of(stage, file) == ("image/png", draw_png("a fox"))


async def test_a_chat_that_does_not_stream_shows_it_too(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(answer_reply(Answer((PICTURE,))))
    turn = await page.ask(MODEL, "Draw a fox", stream=False)
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    assert saved["done"] is True
    assert shown_files(turn)[-1] == saved["files"]
    assert ";base64," not in json.dumps(await stage.admin.chat(turn.chat_id))


async def test_an_api_client_gets_the_picture_itself(stage: Stage) -> None:
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Draw a fox"}]}
    script_drawing(stage)
    whole = (await stage.admin.complete(body))["choices"][0]["message"]
    script_drawing(stage)
    deltas = [
        choice["delta"] async for chunk in stage.admin.stream(body) for choice in chunk["choices"]
    ]
    part = {"type": "image_url", "image_url": {"url": PICTURE.data_url}, "index": 0}
    assert whole["images"] == [part]
    assert [delta["images"] for delta in deltas if "images" in delta] == [[part]]
