"""Budgets and `/spend`: what may be spent, and what a person sees of it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from open_webui_openrouter_pipe.pipe import Pipe
from open_webui_openrouter_pipe.storage import spend_ledger
from open_webui_openrouter_pipe.storage.spend_ledger import day_and_month
from open_webui_openrouter_pipe.storage.spend_table import SPEND
from pipe_lab.simulator import Simulator, text_reply
from tests.turns.calls import Json, body, make_pipe, stalled, text_of_chat, whole
from tests.turns.test_beside_the_words import Page

DOLLAR = 10**12
DAY = 86_400


@pytest.fixture
async def spend(engine: AsyncEngine) -> Any:
    """Writes into the ledger what somebody has spent, so many days ago."""
    async with engine.begin() as connection:
        await connection.run_sync(SPEND.create)

    async def add(dollars: float, user: str = "user-1", days: int = 0, **columns: Any) -> None:
        row = {name: "" for name in SPEND.columns.keys()[:10]}
        row |= {"id": str(time.perf_counter_ns()), "user_id": user, "outcome": "finished"}
        figures = {"created_at": int(time.time()) - days * DAY, "model": "a/one"}
        figures |= {"picodollars": round(dollars * DOLLAR), "input_tokens": 5, "output_tokens": 2}
        async with engine.begin() as connection:
            await connection.execute(insert(SPEND), {**row, **figures, **columns})

    return add


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, engine: AsyncEngine) -> dict[str, list[str]]:
    """Open WebUI's groups: their members by the group's name."""
    members: dict[str, list[str]] = {}

    class Groups:
        @staticmethod
        async def get_groups_by_member_id(user_id: str) -> list[Any]:
            found = [name for name, users in members.items() if user_id in users]
            return [SimpleNamespace(id=f"id of {name}", name=name) for name in found]

        @staticmethod
        async def get_group_user_ids_by_id(group_id: str) -> list[str]:
            return members[group_id.removeprefix("id of ")]

    module = ModuleType("open_webui.models.groups")
    module.__dict__["Groups"] = Groups
    monkeypatch.setitem(sys.modules, "open_webui.models", ModuleType("open_webui.models"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return members


async def ask(pipe: Pipe, text: str = "Hello", role: str = "user") -> tuple[str, list[Json]]:
    """Ask once; gives the text, or the error, and all events."""
    events = await Page(role).ask(pipe, body(text))
    errors = [
        str(event["response"]["error"])
        for event in events
        if "response" in event and event["response"].get("error")
    ]
    errors += [str(event["error"]) for event in events if event.get("error")]
    return "".join(errors) or text_of_chat(events), events


def statuses(events: list[Json]) -> list[str]:
    inner = (event.get("event", {}) for event in events)
    return [event["data"]["description"] for event in inner if event.get("type") == "status"]


@pytest.mark.parametrize(
    ("valves", "spent_by", "days_ago", "is_refused"),
    [
        ({"BUDGETS_USD": "each user: 1"}, "user-1", 0, True),
        ({"BUDGETS_USD": "each user: 2"}, "user-1", 0, False),
        ({"BUDGETS_USD": "each user: 1"}, "user-2", 0, False),
        ({"BUDGETS_USD": "all users: 1"}, "user-2", 0, True),
        ({"BUDGETS_USD": "each user: 1"}, "user-1", 40, False),
        ({"BUDGETS_USD": "each user: 0 / 1"}, "user-1", 0, True),
        ({"BUDGETS_USD": "each user: 0 / 1"}, "user-1", 40, False),
        ({"BUDGETS_USD": "all users: 0 / 1"}, "user-2", 0, True),
        ({"BUDGETS_USD": "Staff: 1\nStudents: 1 / 9"}, "user-2", 0, True),
        ({"BUDGETS_USD": "Students: 0/1"}, "user-2", 0, True),
        ({"BUDGETS_USD": "Staff: 1"}, "user-2", 0, False),
        ({"BUDGETS_USD": "Students: much"}, "user-2", 0, False),
        ({"BUDGETS_USD": "Each User: $1"}, "user-1", 0, True),
        ({"BUDGETS_USD": "each user: -1\nall users: nan / inf"}, "user-1", 0, False),
    ],
)
async def test_a_budget_that_is_spent_refuses_and_says_when_it_starts_anew(  # noqa: PLR0913
    simulator: Simulator,
    spend: Any,
    groups: dict[str, list[str]],
    valves: Json,
    spent_by: str,
    days_ago: int,
    is_refused: bool,
) -> None:
    groups |= {"Students": ["user-1", "user-2"], "Staff": ["user-2"]}
    await spend(1.5, spent_by, days_ago)
    pipe = make_pipe(simulator, **valves)
    simulator.script(text_reply("Here I am."))
    told, _ = await ask(pipe)
    await pipe.close()
    assert (told != "Here I am.") is is_refused
    if is_refused:
        assert "is spent: $1.50 of $1.00" in told
        assert "starts anew at" in told
        assert next(iter(valves)) in told
        assert not simulator.requests


async def test_the_day_ends_at_midnight_and_the_month_with_its_last_day() -> None:
    assert day_and_month(1_740_000_000) == (1_739_923_200, 1_738_368_000)


async def test_a_budget_that_is_nearly_spent_is_told_of(simulator: Simulator, spend: Any) -> None:
    await spend(0.85)
    pipe = make_pipe(simulator, BUDGETS_USD="each user: 1 / 10")
    simulator.script(text_reply("Yes.", usage={"cost": 0.01}))
    told, events = await ask(pipe)
    assert told == "Yes."
    assert statuses(events)[0] == "⚠ Your budget today: $0.8500 of $1.00"
    quiet = make_pipe(simulator, BUDGETS_USD="each user: 1", BUDGET_WARNING_PERCENT=90)
    simulator.script(text_reply("Yes.", usage={"cost": 0.01}))
    _, events = await ask(quiet)
    assert not [words for words in statuses(events) if "budget" in words]
    await asyncio.gather(pipe.close(), quiet.close())


async def test_no_more_is_spent_than_what_was_under_way(simulator: Simulator, spend: Any) -> None:
    pipe = make_pipe(simulator, BUDGETS_USD="each user: 1", MAX_CONCURRENT_REQUESTS=4)
    for _ in range(40):
        simulator.script(text_reply("Yes.", usage={"cost": 0.25}))
    answers = await asyncio.gather(*(ask(pipe) for _ in range(40)))
    await pipe.close()
    assert 4 <= sum(told == "Yes." for told, _ in answers) < 4 + 4
    assert len(simulator.requests) < 4 + 4


async def test_workers_agree_after_a_few_seconds(
    simulator: Simulator, spend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spend_ledger, "_TALLY_SECONDS", 0.2)
    workers = [make_pipe(simulator, BUDGETS_USD="each user: 1") for _ in range(2)]
    for cost in (0.5, 0.5, 0.5):
        simulator.script(text_reply("Yes.", usage={"cost": cost}))
    assert (await ask(workers[0]))[0] == "Yes."
    assert (await ask(workers[1]))[0] == "Yes."  # makes the first one write what it has
    await asyncio.gather(*(worker.close() for worker in workers))
    await asyncio.sleep(0.3)
    assert "is spent" in (await ask(workers[0]))[0]
    assert "is spent" in (await ask(workers[1]))[0]
    await asyncio.gather(*(worker.close() for worker in workers))


async def test_without_a_database_a_budget_stops_nobody(
    simulator: Simulator, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_webui.internal.db", None)
    simulator.script(text_reply("Yes."))
    told, _ = await ask(pipe := make_pipe(simulator, BUDGETS_USD="each user: 1"))
    assert told == "Yes."
    await pipe.close()


async def test_a_person_sees_what_they_have_spent(simulator: Simulator, spend: Any) -> None:
    await spend(0.25, model="a/one")
    await spend(0.5, model="b/two", days=1)
    await spend(0.5, model="b/two", days=45)
    await spend(7, user="user-2")
    await spend(0, outcome="refused")
    pipe = make_pipe(simulator, BUDGETS_USD="each user: 1")
    told, events = await ask(pipe, " /Spend ")
    await pipe.close()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert "**You spent $0.7500 in the last 30 days.**" in told
    assert "- Your budget today: $0.2500 of $1.00" in told
    assert f"| {day} | 1 | 5 | 2 | $0.2500 | {'█' * 10} |" in told
    assert f"| b/two | 1 | 5 | 2 | $0.5000 | {'█' * 20} |" in told
    assert "user-2" not in told
    assert events[-1]["response"]["usage"]["cost"] == 0
    assert not simulator.requests


async def test_of_a_shared_budget_only_admins_see_what_others_have_spent(
    simulator: Simulator, spend: Any, groups: dict[str, list[str]]
) -> None:
    groups["Students"] = ["user-1", "user-2"]
    await spend(0.25)
    await spend(7, user="user-2")
    budgets = "Students: 8\nall users: 0 / 9\neach user: 2"
    pipe = make_pipe(simulator, BUDGETS_USD=budgets)
    own, _ = await ask(pipe, "/spend")
    whole_sum, _ = await ask(pipe, "/spend", role="admin")
    await pipe.close()
    assert "- Your part of the budget of “Students” today: $0.2500 of $8.00" in own
    assert "- Your part of everybody's budget this month: $0.2500 of $9.00" in own
    assert "- Your budget today: $0.2500 of $2.00" in own
    assert "7.25" not in own
    assert "- The budget of “Students” today: $7.25 of $8.00" in whole_sum


async def test_an_admin_sees_everybody(simulator: Simulator, spend: Any) -> None:
    await spend(0.25)
    await spend(7, user="user|2", picodollars=None)
    await spend(0, user="![x](https://evil.test/)")
    told, _ = await ask(pipe := make_pipe(simulator), "/spend 7", role="admin")
    await pipe.close()
    assert "**All users spent at least $0.2500 in the last 7 days.**" in told
    assert "| user 2 | 1 | 5 | 2 | at least $0.00 |  |" in told
    assert "![" not in told and "](" not in told


async def test_chores_and_other_words_go_to_the_model(simulator: Simulator, spend: Any) -> None:
    pipe = make_pipe(simulator)
    for text in ("/spender", "/spend it all", "What is /spend?"):
        simulator.script(text_reply("Yes."))
        assert (await ask(pipe, text))[0] == "Yes."
    simulator.script(text_reply("A title"))
    answer = await whole(pipe, task="title_generation", text="/spend")
    await pipe.close()
    assert answer["choices"][0]["message"]["content"] == "A title"


@pytest.mark.parametrize(
    ("text", "valves", "says"),
    [
        ("/spend", {"SPEND_LEDGER": False}, "ledger is off"),
        ("/spend csv", {}, "Only admins"),
        ("/spend", {}, "You spent nothing in the last 30 days."),
    ],
)
async def test_what_cannot_be_told_is_said(
    simulator: Simulator, spend: Any, text: str, valves: Json, says: str
) -> None:
    told, _ = await ask(pipe := make_pipe(simulator, **valves), text)
    await pipe.close()
    assert says in told


async def test_a_ledger_that_cannot_be_read_is_said(
    simulator: Simulator, engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_webui.internal.db", None)
    told, _ = await ask(pipe := make_pipe(simulator), "/spend")
    await pipe.close()
    assert "cannot be read" in told


async def test_an_answer_under_way_is_not_told_of_before_its_end(
    simulator: Simulator, spend: Any
) -> None:
    pipe = make_pipe(simulator)
    simulator.script(stalled())
    running = asyncio.create_task(ask(pipe))
    await simulator.wait_for(lambda s: s.open_streams == 1)
    told, _ = await ask(pipe, "/spend")
    assert told == "You spent nothing in the last 30 days."
    simulator.release()
    await running
    told, _ = await ask(pipe, "/spend")
    await pipe.close()
    assert "**You spent $0." in told


async def test_a_long_look_into_the_ledger_holds_up_nobody(engine: AsyncEngine, spend: Any) -> None:
    if engine.dialect.name != "sqlite":
        pytest.skip("the query that waits is one of SQLite's")
    begun, over = threading.Event(), threading.Event()

    def wait() -> int:
        begun.set()
        over.wait(20)
        return 1

    await engine.dispose()
    event.listen(engine.sync_engine, "connect", lambda c, _: c.create_function("held", 0, wait))
    await spend(1.5)
    ledger = spend_ledger.SpendLedger()
    looking = asyncio.create_task(ledger.read(select(func.held())))
    await asyncio.to_thread(begun.wait)
    tally = await ledger.spent(None)
    assert tally is not None and tally.day == round(1.5 * DOLLAR)
    over.set()
    assert await looking == [(1,)]
    await ledger.close()
