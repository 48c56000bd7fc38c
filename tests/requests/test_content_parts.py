"""Parts of messages go out in the words of the endpoint that carries them."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.requests.chat_body import needs_chat_endpoint
from open_webui_openrouter_pipe.requests.content_parts import chat_parts, input_parts

URL = "https://example.com/x"
SOUND = {"data": "AAAA", "format": "mp3"}
EQUAL: list[Any] = [
    (
        {"type": "image_url", "image_url": {"url": URL}},
        {"type": "input_image", "image_url": URL, "detail": "auto"},
    ),
    (
        {"type": "video_url", "video_url": {"url": URL}},
        {"type": "input_video", "video_url": URL},
    ),
    (
        {"type": "input_audio", "input_audio": SOUND},
        {"type": "input_audio", "input_audio": SOUND},
    ),
    (
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf,x"}},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf,x"},
    ),
]


@pytest.mark.parametrize(("chat", "responses"), EQUAL)
def test_a_part_has_its_words_at_either_endpoint(chat: Any, responses: Any) -> None:
    assert input_parts([chat]) == [responses]
    assert chat_parts([responses]) == [chat]


def test_chat_reads_the_address_of_a_file_as_its_data() -> None:
    [part] = input_parts([{"type": "input_file", "file_url": URL, "filename": "a.pdf"}])
    assert chat_parts([part]) == [{"type": "file", "file": {"filename": "a.pdf", "file_data": URL}}]


@pytest.mark.parametrize(
    "part",
    [
        {},
        {"type": "text", "text": ""},
        {"type": "image_url", "image_url": None},
        {"type": "video_url"},
        {"type": "input_audio", "input_audio": {"format": "mp3"}},
        {"type": "file", "file": {"filename": "empty.pdf"}},
        {"type": "unheard_of", "text": "x"},
    ],
)
def test_what_says_nothing_is_left_out(part: Any) -> None:
    assert input_parts([part]) == []


@pytest.mark.parametrize(
    ("part", "needed"),
    [
        ({"type": "video_url", "video_url": {"url": URL}}, ["video"]),
        ({"type": "input_audio", "input_audio": {**SOUND, "format": "flac"}}, ["sound as flac"]),
        ({"type": "input_audio", "input_audio": SOUND}, []),
        ({"type": "image_url", "image_url": {"url": URL}}, []),
    ],
)
def test_video_and_rare_sound_need_the_chat_endpoint(part: Any, needed: list[str]) -> None:
    assert needs_chat_endpoint({"messages": [{"role": "user", "content": [part]}]}) == needed
