"""Plugins are asked for only where the admin wants them and the chat has not said otherwise."""

from __future__ import annotations

from typing import Any

from open_webui_openrouter_pipe.requests.plugins import plugin_fields
from tests.requests.contexts import settings

TRIM = {"id": "context-compression", "engine": "middle-out"}
PDF: list[Any] = [{"role": "user", "content": [{"type": "input_file", "file_data": "data:"}]}]
PICTURE: list[Any] = [{"role": "user", "content": [{"type": "input_image", "image_url": "data:"}]}]


def test_nothing_is_asked_for_by_default() -> None:
    assert plugin_fields({}, PDF, settings()) == {}


def test_trimming_joins_the_plugins_of_the_chat() -> None:
    wanted = settings(AUTO_CONTEXT_TRIMMING=True)
    assert plugin_fields({}, [], wanted) == {"plugins": [TRIM]}
    assert plugin_fields({"plugins": [{"id": "web"}]}, [], wanted) == {
        "plugins": [{"id": "web"}, TRIM]
    }


def test_a_chats_own_word_stays() -> None:
    off = {"plugins": [{"id": "context-compression", "enabled": False}]}
    assert plugin_fields(off, [], settings(AUTO_CONTEXT_TRIMMING=True)) == {}


def test_the_reader_of_pdfs_is_named_where_a_file_goes_out() -> None:
    wanted = settings(PDF_ENGINE="mistral-ocr")
    plugin = {"id": "file-parser", "pdf": {"engine": "mistral-ocr"}}
    assert plugin_fields({}, PDF, wanted) == {"plugins": [plugin]}
    assert plugin_fields({}, PICTURE, wanted) == {}
