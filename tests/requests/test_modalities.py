"""Pictures are asked for where the model draws, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from open_webui_openrouter_pipe.api.bodies import ResponsesBody
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.requests.modalities import ask_for_sound
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from tests.requests.contexts import context, settings


def request_of(*outputs: str, task: str = "", own: Any = None, **body: Any) -> ResponsesBody:
    messages = [{"role": "user", "content": "Draw"}]
    chat = replace(context(task=task), settings=settings(own))
    return build_responses_body({"messages": messages, **body}, chat, model_of(*outputs))


def model_of(*outputs: str, model_id: str = "a/one") -> ModelFamily | None:
    return ModelFamily(model_id, "One", output_modalities=frozenset(outputs)) if outputs else None


def asked(*outputs: str, task: str = "", **body: Any) -> list[str] | None:
    return request_of(*outputs, task=task, **body).get("modalities")


@pytest.mark.parametrize(
    ("outputs", "modalities"),
    [
        (("text", "image"), ["image", "text"]),
        (("image",), ["image"]),
        (("text",), None),
        (("text", "audio"), None),
        ((), None),
    ],
)
def test_the_catalog_says_who_draws(outputs: tuple[str, ...], modalities: Any) -> None:
    assert asked(*outputs) == modalities


def test_the_callers_own_word_counts() -> None:
    assert asked("text", "image", modalities=["text"]) == ["text"]


def test_a_chore_wants_no_picture() -> None:
    assert asked("text", "image", task="title_generation") is None


WISHES = {"IMAGE_ASPECT_RATIO": "16:9", "IMAGE_SIZE": "2k", "IMAGE_QUALITY": "nonsense"}


def test_the_user_says_how_pictures_are_drawn_where_the_chat_does_not() -> None:
    config = {"aspect_ratio": "1:1", "style": "ink"}
    drawn = request_of("text", "image", own=WISHES, image_config=config)
    assert drawn.get("image_config") == {**config, "image_size": "2K"}
    assert "image_config" not in request_of("text", "image")


@pytest.mark.parametrize(("outputs", "task"), [(("text",), ""), (("image",), "title_generation")])
def test_who_does_not_draw_is_not_told_how(outputs: tuple[str, ...], task: str) -> None:
    assert "image_config" not in request_of(*outputs, task=task, own=WISHES)


def sound_asked(model_id: str = "openai/gpt-audio", **body: Any) -> Any:
    family = model_of("text", "audio", model_id=model_id)
    chat = replace(context(chat_id="chat-1"), message_id="msg-1")
    chat = replace(chat, settings=settings({"AUDIO_VOICE": "coral"}))
    return ask_for_sound(body, chat, family)


def test_a_model_that_speaks_is_asked_to_in_a_chat() -> None:
    assert sound_asked(audio={"voice": "ash", "format": "mp3"}) == {
        "modalities": ["text", "audio"],
        "audio": {"voice": "ash", "format": "pcm16"},
    }
    assert sound_asked()["audio"]["voice"] == "coral"
    assert sound_asked("google/lyria") == {"modalities": ["text", "audio"]}
    assert sound_asked(modalities=["text"]) == {"modalities": ["text"]}


@pytest.mark.parametrize("task", ["", "title_generation"])
def test_sound_that_nobody_would_hear_is_not_asked_for(task: str) -> None:
    chat_id = "chat-1" if task else ""
    chat = replace(context(task=task, chat_id=chat_id), message_id=chat_id)
    assert ask_for_sound({}, chat, model_of("text", "audio")) == {}
