"""What the model says aloud: a player in the message, the sound a file of Open WebUI."""

from __future__ import annotations

import io
import json
import re
import wave

import pytest

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.simulator import Answer, Speech, chat_answer_reply, text_reply
from pipe_lab.simulator.sounds import tone, tone_in_pieces
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-audio"
PLAYER = re.compile(r"<audio>\n(/api/v1/files/[\w-]+/content)\n</audio>")


def speech(words: str = "Good morning.") -> Speech:
    return Speech(tuple(re.findall(r"\S+\s*", words)), tone_in_pieces())


async def test_speech_is_read_played_and_downloaded(stage: Stage, page: ChatPage) -> None:
    stage.simulator.script(chat_answer_reply(Answer((speech(),))), path="/chat/completions")
    turn = await page.ask(MODEL, "Say good morning")

    sent = stage.completions()[0].body
    assert sent["modalities"] == ["text", "audio"]
    assert sent["audio"] == {"voice": "alloy", "format": "pcm16"}
    saved = await stage.admin.message(turn.chat_id, turn.reply.message_id)
    (address,) = PLAYER.findall(saved["content"])
    assert PLAYER.sub("", saved["content"]).strip() == "Good morning."
    assert PLAYER.findall(turn.reply.text) == [address]
    answer = await stage.admin.http.get(address)
    assert answer.headers["content-type"] == "audio/wav"
    assert "attachment" in answer.headers["content-disposition"]
    with wave.open(io.BytesIO(answer.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
        assert sound.readframes(sound.getnframes()) == tone()
    part = await stage.admin.http.get(address, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    known = json.dumps(await stage.admin.chat(turn.chat_id)) + str(turn.reply.events)
    assert speech().sound[0][:200] not in known

    stage.simulator.script(text_reply("I did."), path="/chat/completions")
    await page.ask(MODEL, "What did you say?", after=turn)
    said = stage.completions()[-1].body["messages"]
    assert [message["content"] for message in said if message["role"] == "assistant"] == [
        "Good morning."
    ]


async def test_a_model_that_speaks_answers_whoever_asks(stage: Stage, page: ChatPage) -> None:
    turn = await page.ask(MODEL, "Hello there")
    assert PLAYER.search(turn.reply.text)


async def test_an_api_client_gets_the_sound_it_asks_for(stage: Stage) -> None:
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say good morning"}],
        "modalities": ["text", "audio"],
        "audio": {"voice": "ash", "format": "pcm16"},
    }
    for _ in range(2):
        stage.simulator.script(chat_answer_reply(Answer((speech(),))), path="/chat/completions")
    message = (await stage.admin.complete(body))["choices"][0]["message"]
    deltas = [
        choice["delta"] async for chunk in stage.admin.stream(body) for choice in chunk["choices"]
    ]
    (streamed,) = [delta["audio"] for delta in deltas if "audio" in delta]
    for audio in (message["audio"], streamed):
        assert audio["transcript"] == "Good morning."
        assert audio["data"] == "".join(speech().sound)
