"""Pictures are asked for where the model draws, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.requests.normalise import build_responses_body
from tests.requests.contexts import context


def asked(*outputs: str, task: str = "", **body: Any) -> list[str] | None:
    family = ModelFamily("a/one", "One", output_modalities=frozenset(outputs)) if outputs else None
    messages = [{"role": "user", "content": "Draw"}]
    request = build_responses_body({"messages": messages, **body}, context(task=task), family)
    return request.get("modalities")


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
