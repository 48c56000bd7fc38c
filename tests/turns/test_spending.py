"""The ledger: each request to OpenRouter is written down, exactly, whatever becomes of it."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator
from decimal import Decimal
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.storage import spend_ledger
from open_webui_openrouter_pipe.storage.spend_table import SPEND
from pipe_lab.host.server import free_port
from pipe_lab.simulator import (
    Simulator,
    broken_off,
    chat_text_reply,
    error_reply,
    text_reply,
)
from tests.services import RedisServer
from tests.turns.calls import (
    BEFORE_TEXT,
    CHAT,
    body,
    chat,
    make_pipe,
    next_text,
    stalled,
    start_chat,
    whole,
)
from tests.turns.test_rounds import call, calls_reply, offer

DAY = 86_400
DOLLAR = 10**12


async def ledger_rows(engine: AsyncEngine) -> list[Any]:
    async with engine.begin() as connection:
        return list((await connection.execute(select(SPEND).order_by(SPEND.c.created_at))).all())


async def written(pipe: Pipe, engine: AsyncEngine) -> list[Any]:
    """What the ledger holds when the pipe is closed, as it is on reload."""
    await pipe.close()
    return await ledger_rows(engine)


def outcomes(rows: list[Any]) -> list[tuple[str, int | None]]:
    return sorted((row.outcome, row.picodollars) for row in rows)


async def test_a_thousand_requests_add_up_to_the_last_digit(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, FORCE_CHAT_COMPLETIONS_MODELS="anthropic/*")
    models = [row["id"] for row in simulator.catalog if ":" not in row["id"]]
    for number in range(200):
        cost = {"cost": (number * 7_919 + 1) / 10**12, "is_byok": number % 2 == 0}
        upstream = {"cost_details": {"upstream_inference_cost": number / 10**9}}
        simulator.script(text_reply("Yes.", usage={**cost, **upstream}), path="/responses")

    async def some(first: int) -> None:
        for number in range(first, 1_000, 8):
            model = models[number % len(models)].replace("/", ".", 1)
            await chat(pipe, text=f"Hello {'you ' * (number % 50)}", model=model)

    await asyncio.gather(*map(some, range(8)))
    rows = await written(pipe, engine)

    told = [row.picodollars for row in rows]
    assert len(rows) == 1_000
    assert {row.provider for row in rows} > {""}
    assert simulator.books > 0
    assert Decimal(sum(told)).scaleb(-12) == simulator.books


async def test_a_row_tells_who_asked_what_and_what_it_took(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    before = int(time.time())
    pipe = make_pipe(simulator, DEFAULT_LLM_ENDPOINT="chat_completions")
    reply = chat_text_reply("Yes.", usage={"cost": 0.1, "prompt_tokens": 7, "completion_tokens": 3})
    simulator.script(reply, path="/chat/completions")
    await chat(pipe)
    await whole(pipe, task="title_generation")
    first, second = sorted(await written(pipe, engine), key=lambda row: row.task)
    assert first._asdict() == {
        "id": first.id,
        "created_at": first.created_at,
        "function_id": "openrouter",
        "user_id": "user-1",
        "chat_id": "chat-1",
        "message_id": "msg-1",
        "task": "",
        "model": "a/one",
        "provider": "OpenAI",
        "outcome": "finished",
        "input_tokens": 7,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 3,
        "reasoning_tokens": 0,
        "picodollars": 100_000_000_000,
    }
    assert before <= first.created_at <= time.time()
    assert second.task == "title_generation"


async def test_every_round_and_every_refusal_has_its_row(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    async def add(a: int = 0) -> str:
        return "3"

    pipe = make_pipe(simulator)
    simulator.script(error_reply(429, "Slow down"))
    simulator.script(calls_reply(call()))
    simulator.script(text_reply("Three.", usage={"cost": 0.5}))
    listed, tools = offer(add=add)
    answer = await pipe.pipe({**body(), **listed}, CHAT, __tools__=tools)
    assert isinstance(answer, AsyncGenerator)
    assert [piece async for piece in answer]
    rows = await written(pipe, engine)
    assert outcomes(rows) == [
        ("finished", 250_000_000_000),
        ("finished", 500_000_000_000),
        ("refused", 0),
    ]


async def test_what_is_stopped_or_breaks_off_has_a_row_of_unknown_cost(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator)
    simulator.script(stalled())
    await stop_one(pipe)
    cut = text_reply("One two three")
    cut.disconnect_after = BEFORE_TEXT + 1
    simulator.script(cut)
    await chat(pipe)
    simulator.script(broken_off(text_reply("One two"), BEFORE_TEXT + 1))
    await chat(pipe)
    rows = await written(pipe, engine)
    assert outcomes(rows) == [("failed", None), ("failed", None), ("stopped", None)]


async def stop_one(pipe: Pipe) -> None:
    answer = await start_chat(pipe)
    await next_text(answer)
    await answer.aclose()


@pytest.mark.parametrize("endpoint", ["responses", "chat_completions"])
async def test_what_a_stopped_answer_cost_is_asked_for_until_it_is_known(
    simulator: Simulator, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setattr(spend_ledger, "_USAGE_WAITS", (0.01, 0.01))
    budget = "each user: 0.5"
    pipe = make_pipe(simulator, DEFAULT_LLM_ENDPOINT=endpoint, BUDGETS_USD=budget)
    reply_of = text_reply if endpoint == "responses" else chat_text_reply
    reply = reply_of("One two three", usage={"cost": 0.5, "is_byok": False})
    reply.stall_after = BEFORE_TEXT + 1
    simulator.script(reply, path=f"/{endpoint.replace('_', '/')}")
    simulator.script(error_reply(404, "Generation not found"), path="/generation")
    await stop_one(pipe)

    async with asyncio.timeout(10):
        while [row.picodollars for row in await ledger_rows(engine)] != [DOLLAR // 2]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    (row,) = await ledger_rows(engine)
    asked = [request.query["id"] for request in simulator.requests if request.method == "GET"]
    assert row.outcome == "stopped"
    assert (row.input_tokens, row.output_tokens) > (0, 0)
    assert len(asked) == 2 and asked[0] == asked[1] > ""
    assert Decimal(row.picodollars).scaleb(-12) == simulator.books
    assert "is spent" in str(await chat(pipe))
    await pipe.close()


async def test_what_openrouter_does_not_know_of_a_stopped_answer_stays_unknown(
    simulator: Simulator, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend_ledger, "_USAGE_WAITS", (0.01, 0.01))
    pipe = make_pipe(simulator)
    simulator.script(stalled())
    for _ in range(2):
        simulator.script(error_reply(404, "Generation not found"), path="/generation")
    await stop_one(pipe)
    await simulator.wait_for(
        lambda each: sum(request.path == "/generation" for request in each.requests) == 2
    )
    assert outcomes(await written(pipe, engine)) == [("stopped", None)]


async def test_a_request_that_never_went_out_is_told_as_costing_nothing(
    engine: AsyncEngine,
) -> None:
    pipe = make_pipe(API_KEY="two words")
    await chat(pipe)
    assert outcomes(await written(pipe, engine)) in ([], [("refused", 0)])


async def test_switched_off_the_ledger_keeps_nothing(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, SPEND_LEDGER=False)
    await chat(pipe)
    await pipe.close()
    budgeted = make_pipe(simulator, SPEND_LEDGER=False, BUDGETS_USD="each user: 1")
    await chat(budgeted)
    assert len(await written(budgeted, engine)) == 1


async def test_a_server_that_stops_loses_nothing(simulator: Simulator, engine: AsyncEngine) -> None:
    pipe = make_pipe(simulator)
    simulator.script(text_reply("Yes."))
    await chat(pipe)
    await asyncio.sleep(0)
    (writer,) = (task for task in asyncio.all_tasks() if "SpendLedger" in repr(task))
    writer.cancel()
    await asyncio.wait({writer})
    assert len(await ledger_rows(engine)) == 1


async def test_a_database_that_fails_is_told_of_once_and_gets_all_when_it_works(
    simulator: Simulator,
    engine: AsyncEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(spend_ledger, "_GATHER_SECONDS", 0.001)
    pipe = make_pipe(simulator)
    await chat(pipe)
    await written(pipe, engine)
    async with engine.begin() as connection:  # a table of another version
        await connection.run_sync(SPEND.drop)
        await connection.exec_driver_sql(f"CREATE TABLE {SPEND.name} (id TEXT)")
    later = make_pipe(simulator)
    for _ in range(3):
        simulator.script(text_reply("Yes."))
        assert (await chat(later))[-1]["type"] == "response.completed"
        await asyncio.sleep(0.05)
    async with engine.begin() as connection:
        await connection.exec_driver_sql(f"DROP TABLE {SPEND.name}")
    rows = await written(later, engine)
    warnings = [text for text in caplog.messages if text.startswith("ledger:")]
    assert len(rows) == 3
    assert len([text for text in warnings if "does not work" in text]) == 1


async def test_rows_are_forgotten_when_they_are_old(
    simulator: Simulator, engine: AsyncEngine
) -> None:
    pipe = make_pipe(simulator, SPEND_RETENTION_DAYS=40)
    await chat(pipe)
    (row,) = await written(pipe, engine)
    async with engine.begin() as connection:
        for number, age in enumerate((39, 41, 500)):
            old = {"id": str(number), "created_at": row.created_at - age * DAY}
            await connection.execute(insert(SPEND), {**row._asdict(), **old})
    later = make_pipe(simulator, SPEND_RETENTION_DAYS=40)
    await chat(later)
    assert len(await written(later, engine)) == 3


def redis_client(port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Open WebUI's client, where the pipe looks for it."""
    from redis.asyncio import Redis

    client = Redis.from_url(f"redis://127.0.0.1:{port}/0")
    module = ModuleType("open_webui.utils.redis")
    module.__dict__["get_redis_client"] = lambda async_mode: client
    for name in ("open_webui", "open_webui.utils"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return client


async def chat_of_ada(pipe: Pipe) -> None:
    user = SimpleNamespace(id="user-1", role="user", settings=None, email="a@b.c", name="Ada")
    request = SimpleNamespace(state=SimpleNamespace(user=user))
    answer = await pipe.pipe(body(), CHAT, __request__=request)
    assert isinstance(answer, AsyncGenerator)
    assert [piece async for piece in answer]


async def test_a_redis_that_takes_no_costs_is_told_of_once(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = redis_client(free_port(), monkeypatch)
    pipe = make_pipe(simulator, COSTS_REDIS_DUMP=True)
    for _ in range(3):
        simulator.script(text_reply("Yes.", usage={"cost": 0.25}))
        await chat_of_ada(pipe)
    await pipe.close()
    await client.aclose()
    assert caplog.text.count("costs: ") == 1


@pytest.mark.service
async def test_costs_can_be_collected_from_redis(
    simulator: Simulator, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = redis_client(redis_server.port, monkeypatch)
    pipe = make_pipe(simulator, COSTS_REDIS_DUMP=True, COSTS_REDIS_TTL_SECONDS=60)
    simulator.script(text_reply("Yes.", usage={"cost": 0.25}))
    await chat_of_ada(pipe)
    await pipe.close()
    (key,) = await client.keys("costs:openrouter:user-1:*")
    record = json.loads(await client.get(key))
    assert 0 < await client.ttl(key) <= 60
    await client.aclose()
    assert (record["guid"], record["email"], record["name"]) == ("user-1", "a@b.c", "Ada")
    assert (record["model"], record["usage"]["cost"]) == ("a/one", 0.25)
