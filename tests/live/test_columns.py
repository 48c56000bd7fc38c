"""Side-by-side chats: every model is asked with its own parameters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "strict": (
        "openrouter.openai.gpt-4o",
        {"temperature": 0.1, "custom_params": {"provider": '{"order": ["x"]}'}},
    ),
    "lively": ("openrouter.openai.gpt-4o-mini", {"temperature": 0.9, "top_p": 0.5}),
}


@pytest_asyncio.fixture(loop_scope="session")
async def presets(stage: Stage) -> AsyncIterator[list[str]]:
    """Two models of the workspace, each with parameters of its own."""
    for name, (base, params) in PRESETS.items():
        form = {"id": name, "name": name, "base_model_id": base, "meta": {}, "params": params}
        await stage.admin.post("/api/v1/models/create", form)
    await stage.admin.models()
    yield list(PRESETS)
    for name in PRESETS:
        await stage.admin.post("/api/v1/models/model/delete", {"id": name})


async def test_no_column_inherits_from_the_first(
    stage: Stage, page: ChatPage, presets: list[str]
) -> None:
    await page.ask(presets, "Hello", params={"frequency_penalty": 0.5})

    asked = {request.body["model"]: request.body for request in stage.completions()}
    names = ("temperature", "top_p", "frequency_penalty", "provider")
    assert {
        model: {name: body[name] for name in names if name in body} for model, body in asked.items()
    } == {
        "openai/gpt-4o": {
            "temperature": 0.1,
            "frequency_penalty": 0.5,
            "provider": {"order": ["x"]},
        },
        "openai/gpt-4o-mini": {"temperature": 0.9, "top_p": 0.5, "frequency_penalty": 0.5},
    }
