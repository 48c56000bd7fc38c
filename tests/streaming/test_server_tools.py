"""What OpenRouter did for the answer, as cards; pages it leans on, as sources; the closing line."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.events import (
    ArgumentsDelta,
    Citation,
    CitationFound,
    Event,
    FunctionCallItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ServerToolItem,
    SourcesFound,
    TextDelta,
    ToolOutputItem,
    Usage,
)
from open_webui_openrouter_pipe.core.errors import BusyError
from open_webui_openrouter_pipe.streaming.collector import Collector
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents
from open_webui_openrouter_pipe.streaming.server_tools import server_tool_cards

Json = dict[str, Any]
END = ResponseFinished("gen-1", "a/one", None)


def render(*events: Event) -> list[Json]:
    return ResponseEvents().render(Collector().take(list(events)))


def shown(events: list[Json]) -> list[tuple[str, int, str, str]]:
    """Event, place, type and status of each item that is shown."""
    return [
        (
            event["type"].rpartition(".")[2],
            event["output_index"],
            event["item"]["type"],
            event["item"]["status"],
        )
        for event in events
        if "item" in event
    ]


SOURCES = [{"type": "url", "url": "https://a.example", "title": "x"}, None]


@pytest.mark.parametrize(
    ("type_", "details", "action"),
    [
        (
            "web_search_call",
            {"action": {"type": "search", "query": "tides", "sources": SOURCES}},
            {
                "type": "search",
                "query": "tides",
                "sources": [{"type": "url", "url": "https://a.example"}],
            },
        ),
        (
            "openrouter:web_search",
            {},
            {"type": "search", "query": "", "sources": []},
        ),
        (
            "web_search_call",
            {"action": {"type": "search", "query": "", "queries": ["tides", "moon"]}},
            {"type": "search", "query": "", "sources": [], "queries": ["tides", "moon"]},
        ),
        (
            "web_search_call",
            {"action": {"type": "open_page", "url": "https://a.example"}},
            {"type": "open_page", "url": "https://a.example"},
        ),
        (
            "web_search_call",
            {"action": {"type": "find_in_page", "url": "https://a.example", "pattern": "ebb"}},
            {"type": "find_in_page", "url": "https://a.example", "pattern": "ebb"},
        ),
        (
            "openrouter:web_fetch",
            {"url": "https://a.example", "content": "a page", "httpStatus": 200},
            {"type": "open_page", "url": "https://a.example"},
        ),
    ],
)
def test_a_search_is_the_card_open_webui_has_for_it(
    type_: str, details: Json, action: Json
) -> None:
    started = ServerToolItem("ws_1", type_, status="in_progress")
    finished = ServerToolItem("ws_1", type_, details)
    events = render(ItemStarted(0, started), ItemFinished(0, finished), END)
    assert shown(events) == [
        ("added", 0, "web_search_call", "in_progress"),
        ("done", 0, "web_search_call", "completed"),
    ]
    assert events[1]["item"]["action"] == action


@pytest.mark.parametrize(
    ("details", "arguments", "text"),
    [
        ({"datetime": "noon", "timezone": "UTC"}, '{"timezone":"UTC"}', "noon"),
        ({"query": "x", "result": {"a": 1}}, '{"query":"x"}', '{"a":1}'),
        ({"stdout": "one", "error": "two"}, "{}", "two"),
        ({"action": "read"}, '{"action":"read"}', "completed"),
    ],
)
def test_another_tool_of_the_server_is_a_call_with_its_output(
    details: Json, arguments: str, text: str
) -> None:
    call, output = server_tool_cards(ServerToolItem("st_1", "openrouter:datetime", details))
    assert (call["type"], call["name"], call["status"]) == (
        "function_call",
        "datetime",
        "completed",
    )
    assert call["arguments"] == arguments
    assert output["type"] == "function_call_output"
    assert text in output["output"][0]["text"]
    assert call["call_id"] == output["call_id"] == "openrouter:st_1"


@pytest.mark.parametrize("data", ["data:image/png;base64,iVBORw0KGgo=", "iVBORw0K" * 200])
@pytest.mark.parametrize("field", ["screenshotB64", "result", "outputs"])
def test_no_file_stands_in_a_card(field: str, data: str) -> None:
    details: Json = {"action": "click", field: [{"url": data}] if field == "outputs" else data}
    cards = server_tool_cards(ServerToolItem("st_1", "openrouter:browser_use", details))
    assert "iVBOR" not in str(cards)
    assert "click" in str(cards)
    assert "characters]" in str(cards)


def test_the_cards_of_a_server_tool_come_together_and_the_answer_follows() -> None:
    tool = ServerToolItem("st_1", "openrouter:datetime", {"datetime": "noon"})
    events = render(
        ItemStarted(0, ServerToolItem("st_1", "openrouter:datetime", status="in_progress")),
        ItemFinished(0, tool),
        TextDelta(1, "Noon."),
        END,
    )
    assert shown(events) == [
        ("done", 0, "function_call", "completed"),
        ("done", 1, "function_call_output", "completed"),
        ("added", 2, "message", "in_progress"),
        ("done", 2, "message", "completed"),
    ]


def test_server_tools_without_ids_are_told_apart() -> None:
    tools = [ServerToolItem("", "openrouter:datetime", {"datetime": "noon"}) for _ in range(2)]
    events = render(ItemFinished(0, tools[0]), ItemFinished(1, tools[1]), END)
    call_ids = [event["item"]["call_id"] for event in events if "item" in event]
    assert call_ids[0] == call_ids[1] != call_ids[2] == call_ids[3]


def test_a_call_of_a_tool_shows_its_arguments_as_they_come() -> None:
    events = render(
        ItemStarted(0, FunctionCallItem("f", "c", "add")),
        ArgumentsDelta(0, '{"a"'),
        ArgumentsDelta(0, ":1}"),
        ItemFinished(0, FunctionCallItem("other", "", "")),
        END,
    )
    assert shown(events) == [
        ("added", 0, "function_call", "in_progress"),
        ("done", 0, "function_call", "completed"),
        ("done", 0, "function_call", "in_progress"),
    ]
    assert "".join(e["delta"] for e in events if "delta" in e) == '{"a":1}'
    item = next(e["item"] for e in events if e["type"] == "response.output_item.done")
    assert item == {
        "type": "function_call",
        "id": "f",
        "call_id": "c",
        "name": "add",
        "arguments": '{"a":1}',
        "status": "completed",
    }


@pytest.mark.parametrize(
    "end",
    [
        ResponseFailed(BusyError("x")),
        ResponseFinished("g", "m", None, "max_output_tokens"),
    ],
    ids=["failed", "cut"],
)
def test_a_call_that_never_closed_is_not_left_for_running(end: Event) -> None:
    call = FunctionCallItem("f", "c", "add")
    events = render(ItemStarted(0, call), ArgumentsDelta(0, '{"a'), end)
    assert shown(events)[1:] == [
        ("done", 0, "function_call", "incomplete"),
        ("added", 1, "function_call_output", "failed"),
    ]
    assert events[2]["item"]["arguments"] == '{"a'


def source_events(events: list[Json]) -> list[Json]:
    asides = [event["event"] for event in events if "event" in event]
    return [aside["data"] for aside in asides if aside["type"] == "source"]


A, B = Citation("https://a.example", "A"), Citation("https://b.example", excerpt="quoted")


def cited() -> list[Event]:
    return [
        TextDelta(0, "Hi"),
        CitationFound(0, A),
        CitationFound(0, B),
        CitationFound(0, A),
        ItemFinished(0, MessageItem("m", "Hi", citations=[A, Citation("https://a.example")])),
        ItemFinished(1, MessageItem("n", "Ho", citations=[B])),
    ]


@pytest.mark.parametrize("end", [END, ResponseFailed(BusyError("x"))], ids=["end", "failure"])
def test_each_page_is_one_source_in_one_event_before_the_end(end: Event) -> None:
    events = render(*cited(), end)
    assert "source" in events[-2]["event"]["type"]
    [data] = source_events(events)
    assert [entry["source"] for entry in data["metadata"]] == [A.url, B.url]
    assert [entry["name"] for entry in data["metadata"]] == ["A", B.url]
    assert data["document"] == ["A", "quoted"]


def test_what_a_page_says_is_kept_whoever_quotes_it_first() -> None:
    plain, quoting = Citation(A.url, "A"), Citation(A.url, "A", "the words")
    for first, second in ((plain, quoting), (quoting, plain)):
        message = MessageItem("m", "Hi", citations=[second])
        events = render(CitationFound(0, first), ItemFinished(0, message), END)
        assert source_events(events)[0]["document"] == ["the words"]


def test_no_annotation_of_an_item_doubles_its_source() -> None:
    items = [event["item"] for event in render(*cited(), END) if "item" in event]
    parts = [part for item in items for part in item["content"]]
    assert parts and all(part["annotations"] == [] for part in parts)


def test_without_citations_there_is_no_source() -> None:
    assert source_events(render(TextDelta(0, "Hi"), END)) == []


def found(address: str, *passages: str, tool: str = "search_web") -> Json:
    return {
        "source": {"name": tool, "id": tool},
        "document": list(passages),
        "metadata": [{"source": address, "name": address} for _ in passages],
    }


def test_what_a_tool_found_and_what_is_cited_count_once_in_order() -> None:
    events = render(
        SourcesFound([found("notes.pdf", "one", "two"), found(B.url, "whole page")]),
        SourcesFound([found("notes.pdf", "two"), found("x", "y", tool="fetch")]),
        *cited(),
        END,
    )
    search, fetch, pages = source_events(events)
    assert search["document"] == ["one", "two", "whole page"]
    assert [entry["source"] for entry in search["metadata"]] == ["notes.pdf", "notes.pdf", B.url]
    assert fetch["document"] == ["y"]
    assert [entry["source"] for entry in pages["metadata"]] == [A.url]


def test_what_tools_found_is_numbered_before_what_the_model_cites() -> None:
    events = render(*cited(), SourcesFound([found("x", "y")]), END)
    assert [data["document"] for data in source_events(events)] == [["y"], ["A", "quoted"]]


def test_a_source_of_odd_form_breaks_nothing() -> None:
    events = render(SourcesFound([{}, {"document": "x"}, {"document": ["bare"]}]), END)
    assert [data["document"] for data in source_events(events)] == [["bare"]]


def test_a_tools_output_keeps_its_pictures_files_and_pages() -> None:
    output = ToolOutputItem("o", "c", "Done", ["data:x"], [{"id": "f"}], ["<p>"], "failed")
    call = FunctionCallItem("f", "c", "draw", "{}")
    events = render(ItemFinished(0, call), ItemFinished(1, output), END)
    [_, _, shown_output, failed_call] = [event["item"] for event in events if "item" in event]
    assert failed_call == {
        "type": "function_call",
        "id": "f",
        "call_id": "c",
        "name": "draw",
        "arguments": "{}",
        "status": "failed",
    }
    assert shown_output == {
        "type": "function_call_output",
        "id": "fco_c",
        "call_id": "c",
        "output": [
            {"type": "input_text", "text": "Done"},
            {"type": "input_image", "image_url": "data:x"},
        ],
        "status": "failed",
        "files": [{"id": "f"}],
        "embeds": ["<p>"],
    }


def test_how_the_parts_stood_is_told_for_each_round_by_itself() -> None:
    thought = ReasoningItem("r", details=[{"type": "reasoning.encrypted", "data": "e"}])
    events = render(
        ItemFinished(0, thought),
        ItemFinished(1, MessageItem("m", "One moment.", phase="commentary")),
        ItemFinished(2, FunctionCallItem("f", "c", "draw", "{}")),
        ItemFinished(3, ToolOutputItem("o", "c", "Done")),
        ItemFinished(4, MessageItem("n", "Here.", phase="final_answer")),
        END,
    )
    told = [e["item"] for e in events if e.get("item", {}).get("type") == "reasoning"][-1]
    parts = told["reasoning_details"][-1]["parts"]
    assert [part["kind"] for part in parts] == ["reasoning", "message", "call"]


def test_the_chat_keeps_the_address_of_a_picture_the_model_saw() -> None:
    file = {"type": "image", "url": "/api/v1/files/1/content"}
    output = ToolOutputItem("o", "c", "Done", ["data:x"], [file])
    [event] = [e for e in render(ItemFinished(1, output), END) if "item" in e]
    assert event["item"]["output"][1] == {"type": "input_image", "image_url": file["url"]}
    assert event["item"]["files"] == [file]


def closing_lines(usage: Usage | None, *, show_usage: bool = True) -> list[str]:
    now = iter([10.0, 14.2, 14.2])
    renderer = ResponseEvents(show_usage=show_usage, clock=lambda: next(now))
    events = renderer.render([ResponseFinished("gen-1", "a/one", usage)])
    return [event["event"]["data"]["description"] for event in events if "event" in event]


def test_the_closing_line_stands_under_the_answer_when_it_is_wanted() -> None:
    usage = Usage(input_tokens=1204, output_tokens=350, cached_tokens=900, cost=0.0012)
    [line] = closing_lines(usage)
    assert line == "4.2 s · 1,204 tokens in (900 cached), 350 out · 83 tokens/s · $0.0012"
    assert closing_lines(usage, show_usage=False) == []
    assert closing_lines(None) == []
