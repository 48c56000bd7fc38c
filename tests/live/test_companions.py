"""The companion filters on a real server: they come by themselves, and do what they say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from pipe_lab.host.chat_page import ChatPage, Turn
from pipe_lab.host.client import OpenWebUIClient, sign_up
from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.pipe_setup import BUNDLE, FUNCTION_ID, install_pipe, simulator_upstream
from pipe_lab.host.server import OpenWebUIServer, ServerSettings
from pipe_lab.simulator import RecordedRequest, Simulator, text_reply
from pipe_lab.tools.toolbox import PYTHON_TOOLS, install_python_tools
from tests.live.calls import calls_reply
from tests.live.stage import TASK_MODEL, Stage, settled
from tests.live.uploads import PDF, attach, data_url

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="module")]

MODEL = f"{FUNCTION_ID}.openai.gpt-4o"
SEARCH, ROUTING = f"{FUNCTION_ID}_search", f"{FUNCTION_ID}_provider_routing"
UPLOADS = f"{FUNCTION_ID}_direct_uploads"
ALL = {SEARCH, ROUTING, UPLOADS}
FOUND = "Foxes live in dens."
CHOICE = {"MODEL_ID": f"openai/gpt-4o, {TASK_MODEL}"}
OPENROUTERS = "openrouter:web_search"
HOSTS = "search_web"
ENVIRONMENT = {
    "ENABLE_WEB_SEARCH": "true",
    "TASK_MODEL_EXTERNAL": f"{FUNCTION_ID}.{TASK_MODEL.replace('/', '.')}",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running_shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A server of its own, which may be stopped and started again."""
    python = await asyncio.to_thread(ensure_open_webui)
    settings = ServerSettings(tmp_path_factory.mktemp("filters"), environment=ENVIRONMENT)
    source = BUNDLE.read_text(encoding="utf-8")
    async with Simulator() as simulator, OpenWebUIServer(python, settings) as server:
        account = await sign_up(server.url, "Ada", "ada@example.com", "correct horse")
        async with OpenWebUIClient(server.url, account) as admin:
            await install_pipe(admin, simulator_upstream(simulator), source)
            await install_python_tools(admin, settings.data_folder / "runs.jsonl")
            yield Stage(server, admin, simulator, source)


@pytest_asyncio.fixture(loop_scope="module")
async def shop(running_shop: Stage) -> Stage:
    """The server with the filters offered, and nothing recorded."""
    await running_shop.set_valves(**CHOICE)
    await until(lambda: switches(running_shop), ALL)
    running_shop.simulator.reset()
    return running_shop


@pytest_asyncio.fixture(loop_scope="module")
async def desk(shop: Stage) -> AsyncIterator[ChatPage]:
    async with ChatPage(shop.admin) as opened:
        yield opened


async def test_each_chat_has_the_switches_and_their_settings(shop: Stage) -> None:
    filters = {entry["id"]: entry for entry in await filters_of(shop)}

    assert [filters[name]["name"] for name in (SEARCH, ROUTING, UPLOADS)] == [
        "OpenRouter Search",
        "Provider Routing",
        "Direct Uploads",
    ]
    assert all(entry["has_user_valves"] and entry["icon"] for entry in filters.values())
    for name in ALL:
        stored = await shop.admin.function(name)
        assert stored is not None
        assert (stored["is_active"], stored["is_global"]) == (True, False)


async def test_a_person_picks_providers_from_a_list(shop: Stage) -> None:
    path = f"/api/v1/functions/id/{ROUTING}/valves/user/spec"
    properties = (await shop.admin.get(path))["properties"]

    assert "openai" in properties["ORDER"]["input"]["options"]
    assert "fp8" in properties["QUANTIZATIONS"]["input"]["options"]


async def test_with_the_switch_on_openrouter_searches_and_open_webui_does_not(
    shop: Stage, desk: ChatPage
) -> None:
    asked = {"features": {"web_search": True}}

    await desk.ask(MODEL, "hi", **asked)
    await desk.ask(MODEL, "hi", filter_ids=[SEARCH], **asked)
    await desk.ask(MODEL, "hi", filter_ids=[SEARCH])

    without, on, alone = map(offered, shop.completions())
    assert (HOSTS in without, OPENROUTERS in without) == (True, False)
    assert (HOSTS in on, OPENROUTERS in on) == (False, True)
    assert (HOSTS in alone, OPENROUTERS in alone) == (False, True)
    (tool,) = [t for t in shop.completions()[1].body["tools"] if t["type"] == OPENROUTERS]
    assert tool["parameters"] == {"engine": "auto", "max_results": 5}


async def test_the_search_that_open_webui_forces_is_off_too(shop: Stage, desk: ChatPage) -> None:
    """Without native tools it searches before it asks, for which it asks for queries first."""
    asked = {"features": {"web_search": True}, "params": {"function_calling": "legacy"}}

    await desk.ask(MODEL, "hi", **asked)
    forced = [request.body["model"] for request in shop.completions()]
    shop.simulator.reset()
    await desk.ask(MODEL, "hi", filter_ids=[SEARCH], **asked)

    assert forced == [TASK_MODEL, "openai/gpt-4o"]
    (request,) = shop.completions()
    assert offered(request) == [OPENROUTERS, "openrouter:web_fetch", "openrouter:datetime"]


async def test_the_search_lasts_for_every_round_but_not_for_chores(
    shop: Stage, desk: ChatPage
) -> None:
    await shop.set_valves(**CHOICE, TOOL_EXECUTION_MODE="Open-WebUI")
    call = calls_reply(("add_numbers", {"a": 2, "b": 3}))
    shop.simulator.script(call, model="openai/gpt-4o")
    shop.simulator.script(text_reply("Five."), model="openai/gpt-4o")
    shop.simulator.script(text_reply('{"title": "Sums"}'), model=TASK_MODEL)

    turn = await desk.ask(
        MODEL,
        "Add",
        filter_ids=[SEARCH, ROUTING],
        tool_ids=[PYTHON_TOOLS],
        background_tasks={"title_generation": True},
    )

    await turn.titled()
    by_model = {TASK_MODEL: [], "openai/gpt-4o": []}
    for request in shop.completions():
        by_model[request.body["model"]].append(request)
    assert [OPENROUTERS in offered(request) for request in by_model["openai/gpt-4o"]] == [True] * 2
    assert [offered(request) for request in by_model[TASK_MODEL]] == [[]]


async def test_a_users_preferences_go_out_under_the_admins(shop: Stage) -> None:
    await shop.set_valves(**CHOICE, PROVIDER_ROUTING='openai/*: {"order": ["azure"]}')
    await shop.admin.set_valves(SEARCH, {"MAX_RESULTS": 4, "EXCLUDED_DOMAINS": "a.org"})
    bob = await shop.admin.create_user("Bob", "bob@example.com", "battery staple")
    await shop.admin.grant_model(MODEL)
    async with OpenWebUIClient(shop.server.url, bob) as user, ChatPage(user) as page:
        wishes = {"ORDER": ["openai"], "IGNORE": ["x"], "MAX_PRICE_PROMPT": "9"}
        await user.set_user_valves(ROUTING, wishes)
        await user.set_user_valves(SEARCH, {"ENGINE": "exa", "MAX_RESULTS": 9})
        await page.ask(MODEL, "hi", filter_ids=[ROUTING, SEARCH])
        await page.ask(MODEL, "hi")

    on, off = shop.completions()
    assert on.body["provider"] == {
        "order": ["azure"],
        "ignore": ["x"],
        "max_price": {"prompt": 9.0},
    }
    (tool,) = [tool for tool in on.body["tools"] if tool["type"] == OPENROUTERS]
    assert tool["parameters"] == {
        "engine": "exa",
        "max_results": 4,
        "excluded_domains": ["a.org"],
    }
    assert off.body["provider"] == {"order": ["azure"]}


async def test_each_column_of_a_chat_searches_as_its_own_model_can(
    shop: Stage, desk: ChatPage
) -> None:
    other = f"{FUNCTION_ID}.{TASK_MODEL.replace('/', '.')}"
    await desk.ask([MODEL, other], "hi", filter_ids=[SEARCH])

    assert [OPENROUTERS in offered(request) for request in shop.completions()] == [True, True]


@pytest_asyncio.fixture(loop_scope="module")
async def document(shop: Stage) -> dict[str, Any]:
    """A PDF in which Open WebUI has found text."""
    return await attach_read(shop, "foxes.pdf", PDF)


@pytest.mark.parametrize("calling", ["native", "legacy"])
async def test_with_the_switch_on_a_document_goes_out_and_what_was_read_in_it_does_not(
    shop: Stage, desk: ChatPage, document: dict[str, Any], calling: str
) -> None:
    on = {"filter_ids": [UPLOADS], "params": {"function_calling": calling}}
    whole = {
        "type": "input_file",
        "filename": "foxes.pdf",
        "file_data": data_url("application/pdf", PDF),
    }

    shop.simulator.script(text_reply('{"title": "Foxes"}'), model=TASK_MODEL)
    titled = {"background_tasks": {"title_generation": True}}
    turn = await desk.ask(MODEL, "Where?", files=[document], **on, **titled)
    await turn.titled()
    later = await desk.ask(MODEL, "Sure?", after=turn, chat_files=[document], **on)

    asked, again = questions(shop)
    assert asked.body["input"][-1]["content"][-1] == whole
    assert again.body["input"][0]["content"][-1] == whole
    assert not any(FOUND in words(each) for each in shop.completions())
    (title,) = [each for each in shop.completions() if each.body["model"] == TASK_MODEL]
    assert "input_file" not in words(title)
    assert await notes(shop, turn) == await notes(shop, later) == []


async def test_with_the_switch_off_the_document_goes_by_retrieval(
    shop: Stage, desk: ChatPage, document: dict[str, Any]
) -> None:
    turn = await desk.ask(MODEL, "Where?", files=[document], filter_ids=[SEARCH])
    await desk.ask(MODEL, "Sure?", after=turn, chat_files=[document], filter_ids=[UPLOADS])
    off, on = map(words, questions(shop))
    assert (FOUND in off, "input_file" in off) == (True, False)
    assert (FOUND in on, "input_file" in on) == (False, True)


async def test_a_temporary_chat_sends_the_files_of_earlier_turns_too(
    shop: Stage, desk: ChatPage, document: dict[str, Any]
) -> None:
    on: dict[str, Any] = {"filter_ids": [UPLOADS], "temporary": True}
    turn = await desk.ask(MODEL, "Where?", files=[document], **on)
    await desk.ask(MODEL, "Sure?", after=turn, chat_files=[document], **on)
    for asked in map(words, shop.completions()):
        assert (FOUND in asked, asked.count("input_file")) == (False, 1)


async def test_what_is_too_large_stays_in_retrieval_and_the_message_says_so(
    shop: Stage, desk: ChatPage
) -> None:
    large = await attach_read(shop, "large.pdf", PDF + bytes(1024 * 1024))
    await shop.admin.set_valves(UPLOADS, {"DIRECT_FILE_MAX_UPLOAD_SIZE_MB": 1})
    turn = await desk.ask(MODEL, "Where?", filter_ids=[UPLOADS], files=[large])
    await shop.admin.set_valves(UPLOADS, {})
    (asked,) = map(words, questions(shop))
    assert (FOUND in asked, "input_file" in asked) == (True, False)
    note = "“large.pdf” stayed in Open WebUI's retrieval: it is larger than 1 MB."
    assert await notes(shop, turn) == [note]


async def test_what_the_model_cannot_take_stays_in_retrieval(shop: Stage, desk: ChatPage) -> None:
    """Which kinds those are, the filter asks the pipe."""
    speech = await attach_read(shop, "speech.mp3", b"ID3\x04" + bytes(2000))
    turn = await desk.ask(MODEL, "Where?", filter_ids=[UPLOADS], files=[speech])
    (asked,) = map(words, questions(shop))
    assert (FOUND in asked, "input_audio" in asked) == (True, False)
    note = "“speech.mp3” stayed in Open WebUI's retrieval: this model takes no sound."
    assert await notes(shop, turn) == [note]


async def test_somebody_elses_document_never_goes_out(
    shop: Stage, document: dict[str, Any]
) -> None:
    eve = await shop.admin.create_user("Eve", "eve@example.com", "battery staple")
    await shop.admin.grant_model(MODEL)
    async with OpenWebUIClient(shop.server.url, eve) as user, ChatPage(user) as page:
        for kind in ({}, {"temporary": True}):
            await page.ask(MODEL, "Where?", files=[document], filter_ids=[UPLOADS], **kind)
    assert len(shop.completions()) == 2
    for asked in map(words, shop.completions()):
        assert (FOUND in asked, "input_file" in asked) == (False, False)
        assert "was left out: it is no longer there, or not yours to read" in asked


async def test_what_admins_have_decided_survives_three_syncs_and_a_restart(shop: Stage) -> None:
    admin = shop.admin
    routing = await admin.function(ROUTING)
    assert routing is not None
    edited = f"{routing['content']}\n# ours\n"
    form = {"id": ROUTING, "name": "Ours", "content": edited, "meta": routing["meta"]}
    await admin.post(f"/api/v1/functions/id/{ROUTING}/update", form)
    await admin.post(f"/api/v1/functions/id/{ROUTING}/toggle")
    await admin.delete_function(SEARCH)

    for number, is_default in enumerate((True, False, True)):
        if number == 2:
            await shop.server.stop()
            await shop.server.start()
        # A newer text of the filters, in a newer file of the pipe, and a sign that a sync has run.
        newer = shop.source.replace("title: Provider Routing", f"title: Routing {number}")
        await admin.update_function(FUNCTION_ID, "OpenRouter", newer)
        await shop.set_valves(**CHOICE, AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS=is_default)
        await until(lambda: listed(shop, "defaultFilterIds"), {ROUTING} if is_default else set())

    stored = await admin.function(ROUTING)
    assert stored is not None
    assert (stored["name"], stored["content"], stored["is_active"]) == ("Ours", edited, False)
    assert await admin.function(SEARCH) is None
    assert await listed(shop, "filterIds") == {ROUTING, UPLOADS}
    assert await switches(shop) == {UPLOADS}


async def attach_read(shop: Stage, name: str, content: bytes) -> dict[str, Any]:
    """Attach a file, and let Open WebUI find the same words in each."""
    file = await attach(shop.admin, name, content)
    path = f"/api/v1/files/{file['id']}/data/content/update"
    await shop.admin.post(path, {"content": FOUND})
    return file


def questions(shop: Stage) -> list[RecordedRequest]:
    """What the chat's own model was asked: retrieval has its queries worded by another."""
    return [request for request in shop.completions() if request.body["model"] != TASK_MODEL]


def words(request: RecordedRequest) -> str:
    """All of a request, as text to look into."""
    return json.dumps(request.body, ensure_ascii=False)


async def notes(shop: Stage, turn: Turn) -> list[str]:
    """What the message says of files."""
    saved = await shop.admin.message(turn.chat_id, turn.reply.message_id)
    told = [status.get("description", "") for status in saved.get("statusHistory", [])]
    return [line for line in told if "left out" in line or "stayed" in line]


async def until(look: Callable[[], Awaitable[set[str]]], wanted: set[str]) -> None:
    """Ask for the model list, which lets a sync begin, until things are as they should be."""

    async def is_unfinished() -> bool:
        return await look() != wanted

    assert not await settled(is_unfinished)


async def filters_of(shop: Stage) -> list[dict[str, Any]]:
    """What the chat's menu offers for the model."""
    entries = {model["id"]: model for model in await shop.admin.models()}
    return entries.get(MODEL, {}).get("filters", [])


async def switches(shop: Stage) -> set[str]:
    return {entry["id"] for entry in await filters_of(shop)}


async def listed(shop: Stage, field: str) -> set[str]:
    """What the model's row names, whether it is switched on or not."""
    await shop.admin.models()
    rows = {row["id"]: row for row in await shop.admin.get("/api/v1/models/base")}
    return set(rows[MODEL]["meta"].get(field) or [])


def offered(request: Any) -> list[str]:
    """The tools of a request: their names, or their types where OpenRouter runs them."""
    return [tool.get("name") or tool["type"] for tool in request.body.get("tools") or []]
