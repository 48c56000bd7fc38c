"""A picture out of a data URL: its bytes, and the type they show."""

from __future__ import annotations

import base64

import pytest

from open_webui_openrouter_pipe.core.errors import FileNotStoredError
from open_webui_openrouter_pipe.storage.pictures import decode_picture


def data_url(content: bytes, said: str = "image/png") -> str:
    return f"data:{said};base64,{base64.b64encode(content).decode()}"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"GIF87a....", "image/gif"),
        (b"GIF89a....", "image/gif"),
    ],
)
def test_the_bytes_tell_the_type_whatever_the_address_says(content: bytes, media_type: str) -> None:
    picture = decode_picture(data_url(content, said="text/html"))
    assert (picture.content, picture.media_type) == (content, media_type)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "data:image/png;base64,",
        "data:image/png;base64,A",
        "data:image/png;base64,ä",
        data_url(b"<svg onload='alert(1)'/>", said="image/svg+xml"),
        data_url(b"RIFF\x00\x00\x00\x00WAVEfmt ", said="image/webp"),
    ],
)
def test_what_is_no_picture_is_not_stored(url: str) -> None:
    with pytest.raises(FileNotStoredError, match="not a picture"):
        decode_picture(url)


def test_a_picture_without_bounds_is_not_even_decoded() -> None:
    with pytest.raises(FileNotStoredError, match="too large"):
        decode_picture("data:image/png;base64," + "A" * (90 * 1024 * 1024))
