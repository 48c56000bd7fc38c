"""A round of calls: at once, in turn, within time, once each, and with an answer for every one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.tools.executor import ToolLimits
from open_webui_openrouter_pipe.tools.toolbox import Toolbox

from .workbench import call, entry, failures, run, texts, toolbox


class Meeting:
    """A tool that ends only when so many of its calls run at once, and counts them."""

    def __init__(self, expected: int) -> None:
        self.expected, self.running, self.most = expected, 0, 0
        self.all_here = asyncio.Event()

    async def __call__(self, **_: Any) -> str:
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == self.expected:
            self.all_here.set()
        try:
            await self.all_here.wait()
            await asyncio.sleep(0)
            return "met"
        finally:
            self.running -= 1


class Steps:
    """A tool that notes when each call begins and ends."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, q: str = "") -> str:
        self.seen.append(f"{q} begins")
        await asyncio.sleep(0)
        self.seen.append(f"{q} ends")
        return q


class Stuck:
    """A tool that never ends; it tells when it has begun and whether it was cancelled."""

    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), False

    async def __call__(self, **_: Any) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def echo(q: str = "", n: int = 1) -> str:
    return f"{q}{n}"


async def fail(**_: Any) -> None:
    raise ValueError("the disk is full")


def numbered(name: str, count: int) -> list[Any]:
    return [call(name, f'{{"q": "{number}"}}', f"call_{number}") for number in range(count)]


async def test_the_calls_of_a_round_run_at_once() -> None:
    meeting = Meeting(4)
    outcomes = await run(toolbox({"meet": entry(meeting)}), *numbered("meet", 4))
    assert [outcome.output.text for outcome in outcomes] == ["met"] * 4
    assert {outcome.output.call_id for outcome in outcomes} == {f"call_{n}" for n in range(4)}
    assert failures(outcomes) == [False] * 4


async def test_no_more_tools_of_one_answer_run_at_once_than_the_settings_allow() -> None:
    meeting = Meeting(2)
    box = toolbox({"meet": entry(meeting)}, replace={"max_parallel_tools_per_request": 2})
    await run(box, *numbered("meet", 6))
    assert meeting.most == 2


async def test_the_answers_of_a_process_share_its_limit() -> None:
    limits, meeting = ToolLimits(), Meeting(2)
    boxes = [
        toolbox({"meet": entry(meeting)}, limits=limits, replace={"max_parallel_tools_global": 2})
        for _ in range(3)
    ]
    await asyncio.gather(*(run(box, *numbered("meet", 2)) for box in boxes))
    assert meeting.most == 2
    assert limits.gate.running == 0


@pytest.mark.parametrize(
    "shared",
    [
        {"type": "mcp", "client": object()},
        {"type": "terminal", "tool_id": "terminal:one"},
    ],
)
async def test_calls_into_one_session_stay_in_order(shared: dict[str, Any]) -> None:
    steps = Steps()
    tools = {"first": entry(steps, **shared), "second": entry(steps, **shared)}
    calls = [call("first", '{"q":"a"}', "1"), call("second", '{"q":"b"}', "2")]
    await run(toolbox(tools), *calls, call("first", '{"q":"c"}', "3"))
    assert steps.seen == [f"{name} {what}" for name in "abc" for what in ("begins", "ends")]


async def test_calls_into_two_sessions_do_not_wait_for_each_other() -> None:
    meeting = Meeting(2)
    tools = {name: entry(meeting, type="mcp", client=object()) for name in ("one", "two")}
    assert await texts(toolbox(tools), call("one"), call("two", call_id="2")) == ["met", "met"]


async def test_an_outcome_comes_as_soon_as_its_call_has_finished() -> None:
    stuck = Stuck()
    tools = {"stuck": entry(stuck), "echo": entry(echo)}
    outcomes = toolbox(tools).run([call("stuck"), call("echo", call_id="quick")], None)
    assert (await anext(outcomes)).output.call_id == "quick"
    await outcomes.aclose()
    assert stuck.cancelled


async def test_stopping_cancels_every_tool_and_gives_the_slots_back() -> None:
    limits, tools = ToolLimits(), [Stuck(), Stuck()]
    box = toolbox({"a": entry(tools[0]), "b": entry(tools[1])}, limits=limits)
    turn = asyncio.create_task(run(box, call("a"), call("b", call_id="2")))
    await asyncio.gather(*(tool.begun.wait() for tool in tools))
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    await asyncio.gather(*limits.running, return_exceptions=True)
    assert all(tool.cancelled for tool in tools)
    assert limits.gate.running == 0


async def test_a_tool_that_hangs_is_stopped_and_the_model_is_told() -> None:
    stuck = Stuck()
    box = toolbox({"stuck": entry(stuck), "echo": entry(echo)}, replace={"tool_timeout": 0.01})
    hung, quick = await texts(box, call("stuck"), call("echo", '{"q":"x"}', "2"))
    assert "`stuck` did not finish within" in hung
    assert quick == "x1"
    assert stuck.cancelled


async def test_a_tool_that_ignores_its_end_does_not_hold_up_the_answer() -> None:
    let_go = asyncio.Event()

    async def stubborn(**_: Any) -> str:
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue
        return "late"

    limits = ToolLimits()
    box = toolbox({"stubborn": entry(stubborn)}, limits=limits, replace={"tool_timeout": 0.01})
    assert "did not finish" in (await texts(box, call("stubborn")))[0]
    let_go.set()
    await asyncio.gather(*limits.running)


async def test_a_call_whose_turn_does_not_come_in_time_is_not_run() -> None:
    ran: list[str] = []

    async def slow(q: str = "") -> None:
        ran.append(q)
        await asyncio.Event().wait()

    tools = {"slow": entry(slow, type="mcp", client=object())}
    box = toolbox(tools, replace={"tool_batch_timeout": 0.01})
    first, second = await texts(box, *numbered("slow", 2))
    assert "did not finish" in first
    assert "`slow` was not run" in second
    assert ran == ["0"]


async def test_what_a_tool_raises_is_told_and_the_call_is_not_repeated() -> None:
    count = 0

    async def break_down(**_: Any) -> None:
        nonlocal count
        count += 1
        raise ConnectionError("https://user:violet@host Bearer abcdefgh12345678")

    async def leave(**_: Any) -> None:
        raise SystemExit(3)

    async def give_up(**_: Any) -> None:
        raise asyncio.CancelledError

    tools = {"down": entry(break_down), "leave": entry(leave), "give_up": entry(give_up)}
    calls = [call("down"), call("leave", call_id="2"), call("give_up", call_id="3")]
    outcomes = await run(toolbox(tools), *calls)
    told = {outcome.output.call_id: outcome.output.text for outcome in outcomes}
    assert told["call_1"].startswith("Error: `down` failed: https://")
    assert "violet" not in told["call_1"] and "abcdefgh" not in told["call_1"]
    assert told["2"] == "Error: `leave` failed: 3"
    assert told["3"] == "Error: `give_up` failed: it was cancelled."
    assert failures(outcomes) == [True] * 3
    assert count == 1


async def test_a_tool_that_keeps_failing_is_left_alone_for_that_user() -> None:
    limits = ToolLimits()
    tools = {"fail": entry(fail), "echo": entry(echo)}

    def box(user: str) -> Toolbox:
        return toolbox(
            tools, limits=limits, replace={"breaker_max_failures": 2}, call={"user_id": user}
        )

    for _ in range(2):
        assert "the disk is full" in (await texts(box("ada"), call("fail")))[0]
    assert "can be tried again in" in (await texts(box("ada"), call("fail")))[0]
    assert "the disk is full" in (await texts(box("bob"), call("fail")))[0]
    assert (await texts(box("ada"), call("echo")))[0] == "1"


async def test_a_tool_that_works_again_is_trusted_again() -> None:
    limits, broken = ToolLimits(), True

    async def moody(**_: Any) -> str:
        if broken:
            raise ValueError("no")
        return "yes"

    box = toolbox({"moody": entry(moody)}, limits=limits, replace={"breaker_max_failures": 2})
    await texts(box, call("moody"))
    broken = False
    assert await texts(box, call("moody")) == ["yes"]
    broken = True
    await texts(box, call("moody"))
    assert "failed: no" in (await texts(box, call("moody")))[0]


async def test_a_tool_that_answers_with_an_error_has_not_failed_for_the_breaker() -> None:
    async def not_found(**_: Any) -> str:
        return "Error: no such file"

    box = toolbox({"read": entry(not_found)}, replace={"breaker_max_failures": 1})
    for _ in range(3):
        outcomes = await run(box, call("read"))
        assert outcomes[0].output.text == "Error: no such file"
        assert failures(outcomes) == [True]


async def test_an_unknown_tool_is_answered_with_the_names_there_are() -> None:
    (outcome,) = await run(toolbox({"echo": entry(echo)}), call("ehco"))
    assert outcome.output.text == "Error: There is no tool named `ehco`. The tools are: `echo`."
    assert outcome.output.status == "failed"


async def test_half_a_call_is_answered_and_not_run() -> None:
    steps = Steps()
    box = toolbox({"steps": entry(steps)})
    (told,) = await texts(box, call("steps", '{"q":"a"}', status="incomplete"))
    assert "was cut off before it was complete, so it was not run" in told
    assert steps.seen == []


async def test_arguments_that_nobody_can_read_are_shown_to_the_model() -> None:
    steps = Steps()
    (told,) = await texts(toolbox({"steps": entry(steps)}), call("steps", '{"q": "a'))
    assert told.endswith('This was sent: {"q": "a')
    assert steps.seen == []


async def test_objects_in_a_row_are_run_one_by_one_under_one_id() -> None:
    steps = Steps()
    box = toolbox({"steps": entry(steps)})
    (outcome,) = await run(box, call("steps", '{"q":"a"}{"q":"b"}{"q":"a"}'))
    assert steps.seen == ["a begins", "a ends", "b begins", "b ends"]
    assert outcome.output.text == (
        'Result 1 of 2, for {"q":"a"}:\na\n\nResult 2 of 2, for {"q":"b"}:\nb'
    )


async def test_a_tool_that_returns_nothing_says_so() -> None:
    async def nothing(**_: Any) -> None:
        return None

    assert await texts(toolbox({"nothing": entry(nothing)}), call("nothing")) == [
        "The tool returned nothing."
    ]


async def test_long_outputs_keep_beginning_and_end_within_the_room_of_the_round() -> None:
    async def long(n: int = 1) -> str:
        return "begin " + "x" * n + " end"

    calls = [call("long", '{"n": 5000000}', "1"), call("long", '{"n": 10}', "2")]
    outcomes = await run(toolbox({"long": entry(long)}), *calls, context_left=1000)
    by_id = {outcome.output.call_id: outcome.output.text for outcome in outcomes}
    assert len(by_id["1"]) <= 4000 - len(by_id["2"])
    assert by_id["1"].startswith("begin x") and by_id["1"].endswith("x end")
    assert "characters are left out here" in by_id["1"]
    assert by_id["2"] == "begin xxxxxxxxxx end"


async def test_what_one_output_leaves_of_the_room_the_next_may_take_and_no_more() -> None:
    async def long(n: int = 1) -> str:
        return "x" * n

    sizes = [10, 9000, 9000]
    calls = [call("long", f'{{"n": {size}}}', str(size + at)) for at, size in enumerate(sizes)]
    outcomes = await run(toolbox({"long": entry(long)}), *calls, context_left=1500)
    first, second, third = (len(outcome.output.text) for outcome in outcomes)
    assert first == 10
    assert second > 2900 and third > 2900
    assert first + second + third <= 6000


async def test_an_mcp_server_judges_the_keys_itself() -> None:
    seen: list[dict[str, Any]] = []

    async def note(**arguments: Any) -> str:
        seen.append(arguments)
        return "noted"

    sent = '{"q": "a", "other": 1}'
    tools = {"mine": entry(note), "server": entry(note, type="mcp", client=1)}
    await texts(toolbox(tools), call("mine", sent), call("server", sent, "2"))
    assert sorted(seen, key=len) == [{"q": "a"}, {"q": "a", "other": 1}]


@pytest.mark.parametrize("context_left", [0, -50])
async def test_without_room_a_little_is_told_all_the_same(context_left: int) -> None:
    async def long(**_: Any) -> str:
        return "begin " + "x" * 900

    (outcome,) = await run(toolbox({"long": entry(long)}), call("long"), context_left=context_left)
    assert outcome.output.text.startswith("begin x") and len(outcome.output.text) <= 400


async def test_where_nobody_knows_the_room_an_output_is_bounded() -> None:
    async def huge(**_: Any) -> str:
        return "x" * 5_000_000

    (outcome,) = await run(toolbox({"huge": entry(huge)}), call("huge"))
    assert len(outcome.output.text) <= 400_000


async def test_a_tool_of_the_browser_is_run_by_the_page() -> None:
    asked: list[dict[str, Any]] = []

    async def page(event: dict[str, Any]) -> Any:
        asked.append(event)
        return "from the page"

    tools = {"here": entry(None, direct=True, server={"url": "http://localhost:1"})}
    box = toolbox(tools, event_call=page, metadata={"session_id": "tab"})
    assert await texts(box, call("here", '{"q":"x","extra":1}')) == ["from the page"]
    data = asked[0]["data"]
    assert asked[0]["type"] == "execute:tool"
    assert (data["name"], data["params"], data["session_id"]) == ("here", {"q": "x"}, "tab")
    assert data["server"] == {"url": "http://localhost:1"}
    assert "no browser is connected" in (await texts(toolbox(tools), call("here")))[0]


async def test_an_entry_that_cannot_be_called_is_told() -> None:
    (told,) = await texts(toolbox({"ghost": entry(None)}), call("ghost"))
    assert told == "Error: `ghost` failed: Open WebUI gives no way to run it."


async def test_of_objects_in_a_row_none_begins_when_the_time_is_over() -> None:
    ran: list[str] = []

    async def slow(q: str = "") -> None:
        ran.append(q)
        await asyncio.Event().wait()

    box = toolbox({"slow": entry(slow)}, replace={"tool_batch_timeout": 0.01})
    (told,) = await texts(box, call("slow", '{"q":"a"}{"q":"b"}'))
    assert "Result 1 of 2" in told and "did not finish" in told
    assert "Result 2 of 2" in told and "`slow` was not run" in told
    assert ran == ["a"]


async def test_a_result_nobody_can_read_is_told_and_does_not_count_as_a_failure() -> None:
    async def endless(**_: Any) -> list[Any]:
        result: list[Any] = []
        result.append(result)
        return result

    box = toolbox({"endless": entry(endless)}, replace={"breaker_max_failures": 1})
    for _ in range(2):
        outcomes = await run(box, call("endless"))
        assert "was run, but its result could not be read" in outcomes[0].output.text
        assert failures(outcomes) == [True]


async def test_whatever_breaks_around_a_tool_is_told_as_well() -> None:
    async def page(_: Any) -> bool:
        raise ConnectionError("gone")

    box = toolbox(
        {"echo": entry(echo)},
        own={"TOOL_EXECUTION_MODE": "Pipeline"},
        metadata={"params": {"tool_approval_mode": "ask"}},
        call={"session_id": "tab"},
        event_call=page,
    )
    assert await texts(box, call("echo")) == [
        "Error: `echo` could not be run, through a fault of the pipe."
    ]


CALL_IDS = st.sampled_from(
    ["", "call_1", "toolu_01A", "toolu_bdrk_01", "tool_echo_9", "functions.echo:0", "x" * 300, "é"]
)
ARGUMENTS = st.sampled_from(["", "{}", '{"q":"a"}', '{"q":"a"}{"q":"b"}', "[1]", '{"q', "null"])
CALLS = st.builds(
    call,
    st.sampled_from(["echo", "fail", "missing", ""]),
    ARGUMENTS,
    CALL_IDS,
    status=st.sampled_from(["completed", "completed", "incomplete", "in_progress"]),
)


@given(st.lists(st.lists(CALLS, max_size=6), max_size=4))
def test_whatever_is_called_each_call_is_paired_with_one_output(rounds: list[list[Any]]) -> None:
    async def play() -> tuple[list[str], list[str]]:
        box = toolbox({"echo": entry(echo), "fail": entry(fail)})
        called: list[str] = []
        answered: list[str] = []
        for calls in rounds:
            outcomes = await run(box, *calls)
            assert all(outcome.output.text for outcome in outcomes)
            called += [made.call_id for made in calls]
            answered += [outcome.output.call_id for outcome in outcomes]
        return called, answered

    called, answered = asyncio.run(play())
    assert sorted(called) == sorted(answered)
    assert len(set(called)) == len(called)
    assert all(called)


@pytest.mark.parametrize("name", ["delegate_task", "ask_user"])
async def test_what_works_like_an_answer_or_waits_for_a_person_has_no_limit(name: str) -> None:
    """Its sub-agent has tools of its own, and there may be one place for both."""
    inner = Steps()
    narrow = {"max_parallel_tools_global": 1}
    limits = ToolLimits()

    async def work(**_: Any) -> str:
        box = toolbox({"inner": entry(inner)}, limits=limits, replace=narrow)
        (told,) = await texts(box, call("inner", '{"q":"a"}'))
        return told

    hurried = narrow | {"tool_timeout": 0.0, "tool_batch_timeout": 0.0}
    box = toolbox({name: entry(work, type="builtin")}, limits=limits, replace=hurried)
    assert await texts(box, call(name)) == ["a"]
