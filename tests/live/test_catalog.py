"""Whose models a chat may use and who serves them: what the admin sets is what OpenRouter gets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage
from pipe_lab.host.client import OpenWebUIClient, sign_in, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import SIMULATOR_KEY, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import Simulator
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]

MODEL = "openrouter.openai.gpt-4o"
SECOND_ID, SECOND_KEY = "openrouter_two", "sk-or-v1-lab-2222222222222222"
TABLE = """
openai/*: {"order": ["azure"], "data_collection": "deny", "sort": {"by": "price"}}
anthropic/*: {"only": ["anthropic"]}
"""


async def test_enforcing_zero_data_retention_refuses_with_the_reason_on_the_page(
    stage: Stage, page: ChatPage
) -> None:
    keeps_none, keeps_data = await by_privacy(stage)
    await stage.set_valves(ZDR_ENFORCE=True)

    answered = await page.ask(keeps_none, "hi")
    await stage.simulator.wait_for(knows_who_keeps_data)
    refused = await page.ask(keeps_data, "hi")

    saved = await stage.admin.message(refused.chat_id, refused.reply.message_id)
    for shown in (refused.reply.error, str(saved["error"])):
        assert "zero data retention" in shown
        assert "ZDR_ENFORCE" in shown
    assert answered.reply.error == ""
    assert {request.body["provider"]["zdr"] for request in stage.completions()} == {True}
    listed = {model["id"] for model in await stage.admin.models()}
    assert keeps_none in listed
    assert keeps_data not in listed


async def by_privacy(stage: Stage) -> tuple[str, str]:
    """A model with a provider that keeps no data, and one without."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{stage.simulator.base_url}/endpoints/zdr")
    private = {f"openrouter.{row['model_id'].replace('/', '.')}" for row in answer.json()["data"]}
    stage.simulator.reset()
    listed = [model["id"] for model in await stage.admin.models()]
    offered = [name for name in listed if name.startswith("openrouter.openai.")]
    keeps_none = next(name for name in offered if name in private)
    return keeps_none, next(name for name in offered if name not in private)


def knows_who_keeps_data(simulator: Simulator) -> bool:
    return any(r.path == "/endpoints/zdr" and r.finished for r in simulator.requests)


@pytest.mark.parametrize(
    ("params", "provider"),
    [
        ({}, {"order": ["azure"], "data_collection": "deny", "sort": {"by": "price"}}),
        (
            {"provider": '{"order": ["openai/priority"], "max_price": {"prompt": 1.5}}'},
            {
                "order": ["openai/priority"],
                "data_collection": "deny",
                "sort": {"by": "price"},
                "max_price": {"prompt": 1.5},
            },
        ),
        (
            {
                "openrouter_provider_order": "openai, azure/eu",
                "openrouter_provider_only": "openai, azure",
                "openrouter_provider_ignore": "azure/us",
            },
            {
                "order": ["openai", "azure/eu"],
                "only": ["openai", "azure"],
                "ignore": ["azure/us"],
                "data_collection": "deny",
                "sort": {"by": "price"},
            },
        ),
    ],
)
async def test_provider_preferences_arrive_exactly(
    stage: Stage, page: ChatPage, params: dict[str, str], provider: dict[str, object]
) -> None:
    await stage.set_valves(PROVIDER_ROUTING=TABLE)
    await stage.admin.set_model(MODEL, params={"custom_params": params})
    try:
        turn = await page.ask(MODEL, "hi")
    finally:
        await stage.admin.reset_model(MODEL)

    assert turn.reply.error == ""
    sent = next(r for r in stage.completions() if r.body["model"] == "openai/gpt-4o")
    assert sent.body["provider"] == provider
    assert not [name for name in sent.body if name.startswith("openrouter_")]


@pytest_asyncio.fixture(loop_scope="session")
async def second(stage: Stage) -> AsyncIterator[Simulator]:
    """Another address, with a model of its own, behind a second copy of the pipe."""
    async with Simulator() as simulator:
        rows = {row["id"]: row for row in simulator.catalog}
        shared = rows["openai/gpt-4o"]
        simulator.catalog[:] = [shared, {**shared, "id": "lab/only-there", "name": "Only there"}]
        await stage.admin.install_function(SECOND_ID, "OpenRouter two", stage.source)
        valves = {"API_KEY": SECOND_KEY, "BASE_URL": simulator.base_url}
        await stage.admin.set_valves(SECOND_ID, valves)
        yield simulator
        await stage.admin.delete_function(SECOND_ID)
        await stage.admin.models()


async def test_two_copies_with_two_addresses_do_not_mix(
    stage: Stage, page: ChatPage, second: Simulator
) -> None:
    listed = [model["id"] for model in await stage.admin.models()]
    of_second = {name for name in listed if name.startswith(f"{SECOND_ID}.")}
    of_first = {name for name in listed if name.startswith("openrouter.")}

    for model in (MODEL, f"{SECOND_ID}.openai.gpt-4o", f"{SECOND_ID}.lab.only-there"):
        assert (await page.ask(model, "hi")).reply.error == ""

    listed_there = {"openai.gpt-4o", "lab.only-there", "lab.easel"}
    assert of_second == {f"{SECOND_ID}.{name}" for name in listed_there}
    assert len(of_first) >= 350
    assert "openrouter.lab.only-there" not in of_first
    assert asked(stage.simulator, "openai/gpt-4o") == [SIMULATOR_KEY]
    assert asked(second, "openai/gpt-4o") == asked(second, "lab/only-there") == [SECOND_KEY]
    assert asked(stage.simulator, "lab/only-there") == []


def asked(simulator: Simulator, model: str) -> list[str]:
    """With which key a model was asked, time after time."""
    return [
        request.headers["authorization"].removeprefix("Bearer ")
        for request in simulator.requests
        if request.path == "/responses" and request.body["model"] == model
    ]


async def test_a_restart_while_openrouter_is_gone_still_lists_the_models(
    stage: Stage, tmp_path: Path
) -> None:
    python = await asyncio.to_thread(ensure_open_webui)
    server = OpenWebUIServer(python, ServerSettings(tmp_path))
    async with Simulator() as simulator, server:
        account = await sign_up(server.url, "Eve", "eve@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as eve:
            await install_pipe(eve, simulator_upstream(simulator), stage.source)
            before = await eve.models()

    async with server:
        account = await sign_in(server.url, "eve@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as eve:
            after = [await eve.models() for _ in range(3)]

    assert len(before) >= 350
    names = {model["id"]: model["name"] for model in before}
    assert [{model["id"]: model["name"] for model in listed} for listed in after] == [names] * 3
