"""Any answer goes through Open WebUI's own code and comes back as the conversation it was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    Event,
    ItemFinished,
    MessageItem,
    OutputItem,
    ResponseFinished,
    ServerToolItem,
    TextDelta,
    ToolOutputItem,
)
from open_webui_openrouter_pipe.api.gateway.items import read_item
from open_webui_openrouter_pipe.requests.history import build_input
from open_webui_openrouter_pipe.requests.retention import remember
from open_webui_openrouter_pipe.streaming.collector import Collector
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents
from pipe_lab.host.reducer import HostFunctions
from tests.requests.contexts import settings

pytestmark = pytest.mark.host

Json = dict[str, Any]
IMAGE = "data:image/png;base64,AAAA"
TEXTS = st.text(min_size=1, max_size=12)


@dataclass
class Round:
    """What the model says in one go, and what its calls bring back."""

    items: list[Json]
    results: list[tuple[str, list[str]]]
    """Text and pictures, one for each call."""
    card: bool = False
    """Whether OpenRouter looked something up at the end."""


MESSAGE = st.builds(
    lambda text, phase: {"type": "message", "text": text, "phase": phase},
    TEXTS,
    st.sampled_from(["", "", "commentary", "final_answer"]),
)
CALL = st.builds(
    lambda name: {"type": "function_call", "name": name, "arguments": '{"a":1}'},
    st.sampled_from(["weather", "search"]),
)
ENCRYPTED = st.builds(
    lambda data, summaries: {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summaries],
        "encrypted_content": data,
    },
    st.sampled_from(["blob-1", "blob-2"]),
    st.lists(TEXTS, max_size=2),
)
SIGNED = st.builds(
    lambda text: {
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        "signature": "s",
        "format": "anthropic-claude-v1",
    },
    TEXTS,
)
OPEN = st.builds(
    lambda text: {"type": "reasoning", "content": [{"type": "reasoning_text", "text": text}]}, TEXTS
)
PICTURES = st.lists(st.just(IMAGE), max_size=2)


@st.composite
def rounds(draw: st.DrawFn) -> Round:
    items = draw(st.lists(MESSAGE | CALL | ENCRYPTED | SIGNED | OPEN, max_size=6))
    calls = sum(item["type"] == "function_call" for item in items)
    results = st.lists(st.tuples(TEXTS, PICTURES), min_size=calls, max_size=calls)
    return Round(items, draw(results), card=not calls)


def numbered(turn: list[Round]) -> list[Round]:
    """The same with an id for every item."""
    for n, one in enumerate(turn):
        one.items = [
            {**item, "id": f"id_{n}_{place}"}
            | ({"call_id": f"c_{n}_{place}"} if item["type"] == "function_call" else {})
            for place, item in enumerate(one.items)
        ]
    return turn


def as_item(item: Json) -> OutputItem:
    if item["type"] == "message":
        return MessageItem(item["id"], item["text"], phase=item["phase"])
    return read_item(item)


def events_of(one: Round, first: int) -> list[Event]:
    """What a round consists of, its outputs after all else."""
    items = [as_item(item) for item in one.items]
    events: list[Event] = []
    for place, item in enumerate(items, first):
        if isinstance(item, MessageItem):
            events.append(TextDelta(place, item.text[:3]))
        events.append(ItemFinished(place, item))
    if one.card:
        clock = ServerToolItem(f"st_{first}", "openrouter:datetime", {"datetime": "noon"})
        events.append(ItemFinished(first + len(items), clock))
    outputs = enumerate(results_of(one), first + len(items))
    return [*events, *(ItemFinished(place, output) for place, output in outputs)]


def results_of(one: Round) -> list[ToolOutputItem]:
    calls = [item for item in one.items if item["type"] == "function_call"]
    return [
        ToolOutputItem(f"o_{call['call_id']}", call["call_id"], text, images=list(pictures))
        for call, (text, pictures) in zip(calls, one.results, strict=True)
    ]


def seen_by_host(turn: list[Round], mode: str = "open_webui") -> list[Json]:
    """What Open WebUI is shown of the whole answer."""
    events: list[Event] = []
    first = 0
    for one in turn:
        events += events_of(one, first)
        first += 100
    events.append(ResponseFinished("gen-1", "a/one", None))
    return ResponseEvents(thinking=mode).render(Collector().take(events))


def expected(one: Round) -> list[Json]:
    """The input items of a round, as the model gave them."""
    reasons = any(item["type"] == "reasoning" for item in one.items)
    items = [_expected_item(item) for item in one.items]
    if not reasons:
        # Nothing tells of the order: the texts joined, then the calls.
        texts = [item["content"] for item in items if item.get("role")]
        spoken = [{"role": "assistant", "content": "\n".join(texts)}] if texts else []
        items = [*spoken, *(item for item in items if item.get("type") == "function_call")]
    outputs = [
        {"type": "function_call_output", "call_id": item.call_id, "output": text}
        for item, (text, _) in zip(results_of(one), one.results, strict=True)
    ]
    return [*(item for item in items if item), *outputs, *_expected_pictures(one)]


def _expected_item(item: Json) -> Json:
    match item["type"]:
        case "message":
            phase = {"phase": item["phase"]} if item["phase"] else {}
            return {"role": "assistant", "content": item["text"], **phase}
        case "function_call":
            return {key: item[key] for key in ("type", "call_id", "name", "arguments")}
        case _:
            sealed = "encrypted_content" in item or "signature" in item
            return item if sealed else {}


def _expected_pictures(one: Round) -> list[Json]:
    pictures = [url for _, urls in one.results for url in urls]
    if not pictures:
        return []
    said = "Here are the images from the tool results above. Please analyze them."
    shown = [{"type": "input_image", "image_url": url, "detail": "auto"} for url in pictures]
    content = [{"type": "input_text", "text": said}, *shown]
    return [{"type": "message", "role": "user", "content": content}]


@given(st.lists(rounds(), min_size=1, max_size=4).map(numbered))
def test_the_next_turn_finds_the_conversation_as_it_was(
    host_functions: HostFunctions, turn: list[Round]
) -> None:
    messages = host_functions.reduce(seen_by_host(turn))["messages"]
    rebuilt = build_input(remember(messages, settings()))
    assert rebuilt == [item for one in turn for item in expected(one)]


@pytest.mark.parametrize("mode", ["open_webui", "status", "both"])
def test_thinking_shown_elsewhere_goes_back_all_the_same(
    host_functions: HostFunctions, mode: str
) -> None:
    summary = [{"type": "summary_text", "text": "So."}]
    thought = {"type": "reasoning", "id": "r", "summary": summary, "encrypted_content": "e"}
    call = {"type": "function_call", "call_id": "c", "id": "f", "name": "weather"}
    answer = Round([thought, call], [("rain", [])])
    messages = host_functions.reduce(seen_by_host([answer], mode))["messages"]
    assert [item["type"] for item in build_input(messages)] == [
        "reasoning",
        "function_call",
        "function_call_output",
    ]
    assert build_input(messages)[0]["encrypted_content"] == "e"
