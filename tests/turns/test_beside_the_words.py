"""What an answer brings beside its words: pictures, the chat's cost, the rest of the credit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import JSON, Column, Text
from sqlalchemy.orm import declarative_base

from open_webui_openrouter_pipe.pipe import Pipe
from pipe_lab.simulator import (
    Answer,
    GeneratedImage,
    Message,
    Reply,
    Simulator,
    answer_reply,
    broken_off,
    chat_answer_reply,
    chat_text_reply,
    error_reply,
    text_reply,
)
from pipe_lab.simulator.pictures import picture_url
from tests.turns.calls import (
    BEFORE_TEXT,
    CHAT,
    Json,
    body,
    make_pipe,
    next_text,
    read_chunks,
    stalled,
    stream,
    whole,
)
from tests.turns.test_rounds import add, call, calls_reply, offer

PICTURE = picture_url("a fox")
PART = {"type": "image_url", "image_url": {"url": PICTURE}, "index": 0}


def drawing(url: str = PICTURE, make: Callable[[Answer], Reply] = answer_reply) -> Reply:
    return make(Answer((Message(("Here.",)), GeneratedImage(url))))


class Page:
    """A page that listens beside the stream."""

    def __init__(self, role: str = "user") -> None:
        self.events: list[tuple[str, Json]] = []
        user = SimpleNamespace(id="user-1", role=role, settings=None)
        self.request = SimpleNamespace(state=SimpleNamespace(user=user))

    async def hear(self, event: Json) -> None:
        self.events.append((event["type"], event["data"]))

    def told(self, kind: str) -> list[Json]:
        return [data for name, data in self.events if name == kind]

    async def start(self, pipe: Pipe, asked: Json | None = None, **metadata: str) -> Any:
        return await pipe.pipe(
            asked or body(),
            {**CHAT, **metadata},
            __request__=self.request,
            __event_emitter__=self.hear,
        )

    async def ask(self, pipe: Pipe, asked: Json | None = None, **metadata: str) -> list[Json]:
        async with asyncio.timeout(10):
            return [event async for event in await self.start(pipe, asked, **metadata)]


def closing_line(events: list[Json]) -> str:
    statuses = [e["event"]["data"] for e in events if e.get("event", {}).get("type") == "status"]
    return statuses[-1]["description"]


def second_question() -> Json:
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    return {**body(), "messages": [*history, {"role": "user", "content": "Again"}]}


async def test_where_no_picture_can_be_stored_the_person_is_told_and_the_answer_goes_on(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", None)
    simulator.script(drawing())
    page = Page()
    events = await page.ask(make_pipe(simulator))
    assert events[-1]["type"] == "response.completed"
    assert ";base64," not in str([events, page.events])
    [status] = page.told("status")
    [toast] = page.told("notification")
    assert "could not be stored" in status["description"] == toast["content"]


async def test_a_drawing_that_is_none_is_told_of(simulator: Simulator) -> None:
    simulator.script(drawing("data:image/png;base64,AAAA"))
    page = Page()
    await page.ask(make_pipe(simulator), chat_id="temporary:1")
    assert "not a picture" in page.told("notification")[0]["content"]


async def test_a_page_that_cannot_be_told_of_a_lost_picture_costs_no_answer(
    simulator: Simulator,
) -> None:
    simulator.script(drawing("data:image/png;base64,AAAA"))

    class Gone(Page):
        async def hear(self, event: Json) -> None:
            raise ConnectionError("the page is closed")

    events = await Gone().ask(make_pipe(simulator), chat_id="temporary:1")
    assert events[-1]["type"] == "response.completed"


@pytest.mark.parametrize("chat_id", ["temporary:1", "local:1", "channel:1"])
async def test_a_picture_on_the_web_is_shown_as_it_is(simulator: Simulator, chat_id: str) -> None:
    simulator.script(drawing("https://pictures.example/fox.png"))
    page = Page()
    await page.ask(make_pipe(simulator), chat_id=chat_id)
    files = [{"type": "image", "url": "https://pictures.example/fox.png"}]
    assert page.told("chat:message:files") == [{"files": files}]


@pytest.mark.parametrize(
    ("endpoint", "make"), [("responses", answer_reply), ("chat_completions", chat_answer_reply)]
)
async def test_an_api_client_gets_each_picture_once(
    simulator: Simulator, endpoint: str, make: Callable[[Answer], Reply]
) -> None:
    pipe = make_pipe(simulator, DEFAULT_LLM_ENDPOINT=endpoint)
    simulator.script(drawing(make=make))
    simulator.script(drawing(make=make))
    chunks = read_chunks(await stream(pipe))
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert [delta["images"] for delta in deltas if "images" in delta] == [[PART]]
    assert (await whole(pipe))["choices"][0]["message"]["images"] == [PART]


async def test_a_stopped_answer_does_not_pretend_to_know_its_cost(simulator: Simulator) -> None:
    simulator.script(stalled())
    page = Page()
    answer = await page.start(make_pipe(simulator))
    await anext(answer)
    await answer.aclose()
    [status] = page.told("status")
    assert status["description"].startswith("Stopped after ")
    assert status["description"].endswith("cost unknown")
    assert status["done"] is True


async def test_a_stopped_answer_tells_what_its_finished_rounds_have_cost(
    simulator: Simulator,
) -> None:
    simulator.script(calls_reply(call()))
    simulator.script(stalled())
    page = Page()
    tools, entries = offer(add=add)
    answer = await make_pipe(simulator).pipe(
        {**body(), **tools}, CHAT, __tools__=entries, __event_emitter__=page.hear
    )
    assert isinstance(answer, AsyncGenerator)
    await next_text(answer)
    await answer.aclose()
    assert page.told("status")[-1]["description"].endswith("at least $0.2500")


async def test_a_stop_is_a_stop_although_it_cannot_be_told(simulator: Simulator) -> None:
    async def deaf(event: Json) -> None:
        raise OSError("the disk is full")

    for stop_it in (lambda answer: answer.aclose(), cancelled):
        simulator.script(stalled())
        answer: Any = await make_pipe(simulator).pipe(body(), CHAT, __event_emitter__=deaf)
        await next_text(answer)
        await stop_it(answer)
        assert [event async for event in answer] == []


async def cancelled(answer: Any) -> None:
    waiting = asyncio.ensure_future(anext(answer))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_no_line_is_told_of_a_stop_where_none_is_wanted(simulator: Simulator) -> None:
    simulator.script(stalled())
    page = Page()
    answer = await page.start(make_pipe(simulator, SHOW_FINAL_USAGE_STATUS=False))
    await anext(answer)
    await answer.aclose()
    assert page.events == []


@pytest.fixture
def saved_usage(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Json | None]]:
    """The rows of a chat's answers, as Open WebUI's database gives them: id and usage."""
    rows: list[tuple[str, Json | None]] = []

    class ChatMessage(declarative_base()):  # type: ignore[misc]
        __tablename__ = "chat_message"
        id, chat_id, role = Column(Text, primary_key=True), Column(Text), Column(Text)
        usage = Column(JSON)

    class Session:
        async def execute(self, query: Any) -> Any:
            assert query.compile().params == {"chat_id_1": "chat-1", "role_1": "assistant"}
            return SimpleNamespace(all=lambda: rows)

    @asynccontextmanager
    async def get_async_db_context() -> AsyncGenerator[Session]:
        yield Session()

    symbols = {"internal.db": get_async_db_context, "models.chat_messages": ChatMessage}
    for name in ("open_webui", "open_webui.internal", "open_webui.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, symbol in symbols.items():
        module = ModuleType(f"open_webui.{name}")
        setattr(module, symbol.__name__, symbol)
        monkeypatch.setitem(sys.modules, f"open_webui.{name}", module)
    return rows


BYOK = {"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}


@pytest.mark.parametrize(
    ("saved", "total"),
    [
        ([{"cost": 0.5}], "chat $0.7500"),
        ([{"cost": 2}, {"cost": 0}], "chat $2.25"),
        ([BYOK], "chat $0.7600"),
        ([{"cost": 0.5}, {"input_tokens": 3}], "chat at least $0.7500"),
        ([None], "chat at least $0.2500"),
    ],
)
async def test_the_closing_line_adds_up_the_chat(
    simulator: Simulator,
    saved_usage: list[tuple[str, Json | None]],
    saved: list[Json | None],
    total: str,
) -> None:
    saved_usage += [(f"chat-1-m{number}", usage) for number, usage in enumerate(saved)]
    saved_usage.append(("chat-1-msg-1", None))  # the answer that is being given
    simulator.script(text_reply("Yes.", usage={"cost": 0.25}))
    events = await Page().ask(make_pipe(simulator), second_question())
    assert closing_line(events).endswith(f"$0.2500 · {total}")


def trimmed(reply: Reply, field: str) -> Reply:
    """The reply, with what OpenRouter's router tells of a chat it has shortened."""
    told = {"pipeline": [{"type": "context_compression", "name": "context-compression"}]}
    end = [event for event in reply.events or [] if isinstance(event, dict) and event.get(field)]
    place = end[-1]["response"] if field == "response" else end[-1]
    place["openrouter_metadata"] = told
    return reply


@pytest.mark.parametrize("shows_usage", [True, False])
@pytest.mark.parametrize(
    ("endpoint", "make", "field"),
    [
        ("responses", text_reply, "response"),
        ("chat_completions", chat_text_reply, "usage"),
    ],
)
async def test_the_closing_line_says_that_the_chat_was_shortened(
    simulator: Simulator, endpoint: str, make: Callable[..., Reply], field: str, shows_usage: bool
) -> None:
    simulator.script(trimmed(make("Yes."), field))
    simulator.script(make("Yes."))
    valves = {"DEFAULT_LLM_ENDPOINT": endpoint, "SHOW_FINAL_USAGE_STATUS": shows_usage}
    pipe = make_pipe(simulator, AUTO_CONTEXT_TRIMMING=True, **valves)
    shortened, whole_chat = await Page().ask(pipe), await Page().ask(pipe)
    assert closing_line(shortened).startswith("⚠ The chat was too long")
    assert (" tokens in" in closing_line(shortened)) is shows_usage
    assert "too long" not in str(whole_chat)


@pytest.mark.parametrize("trims", [True, False])
async def test_the_router_is_asked_for_it_only_where_it_may_shorten(
    simulator: Simulator, trims: bool
) -> None:
    await Page().ask(make_pipe(simulator, AUTO_CONTEXT_TRIMMING=trims))
    asked = [request for request in simulator.requests if request.path == "/responses"]
    assert [request.headers.get("x-openrouter-metadata") for request in asked] == (
        ["enabled"] if trims else [None]
    )


@pytest.mark.parametrize("chat_id", ["chat-1", "temporary:1"])
async def test_where_nothing_is_saved_the_answer_stands_for_itself(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, chat_id: str
) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", None)
    simulator.script(text_reply("Yes.", usage={"cost": 0.25}))
    events = await Page().ask(make_pipe(simulator), second_question(), chat_id=chat_id)
    assert closing_line(events).endswith(" · $0.2500")
    assert "chat" not in closing_line(events)


async def test_a_failed_answer_tells_the_sum_before_its_error(
    simulator: Simulator, saved_usage: list[tuple[str, Json | None]]
) -> None:
    saved_usage.append(("chat-1-m0", {"cost": 0.5}))
    failure = {"type": "response.failed", "response": {"error": {"code": "x", "message": "m"}}}
    failure["response"]["usage"] = {"cost": 0.25}
    simulator.script(broken_off(text_reply("Yes."), BEFORE_TEXT + 1, failure))
    events = await Page().ask(make_pipe(simulator), second_question())
    assert closing_line(events).endswith("chat $0.7500")
    assert "error" in events[-1]


@pytest.mark.parametrize(
    ("role", "threshold", "warning"),
    [("admin", 9, True), ("admin", 8, False), ("admin", 0, False), ("user", 9, False)],
)
async def test_only_an_admin_is_told_of_low_credit(
    simulator: Simulator, role: str, threshold: int, warning: bool
) -> None:
    page, pipe = Page(role), make_pipe(simulator, LOW_CREDIT_WARNING_USD=threshold)
    asks = role == "admin" and threshold > 0
    for _ in range(2):
        reply = text_reply("Yes.")
        reply.stall_after = 3
        simulator.script(reply, path="/responses")
        answer = asyncio.create_task(page.ask(pipe))
        await simulator.wait_for(
            lambda s: (
                bool(s.open_streams)
                and asks <= any(request.path == "/key" for request in s.requests)
            )
        )
        simulator.release()
        events = await answer
    assert ("$8.75 left on the API key" in closing_line(events)) is warning
    assert sum(request.path == "/key" for request in simulator.requests) == asks


async def test_a_key_that_does_not_tell_disturbs_nothing(simulator: Simulator) -> None:
    simulator.script(error_reply(403, "No"), path="/key")
    simulator.script(text_reply("Yes."))
    events = await Page("admin").ask(make_pipe(simulator))
    assert events[-1]["type"] == "response.completed"
