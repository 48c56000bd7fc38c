"""Rounds from scripted Events: whatever ids a vendor gives, every call has its one output."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.bodies import ResponsesBody
from open_webui_openrouter_pipe.api.events import (
    ArgumentsDelta,
    Event,
    FunctionCallItem,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningItem,
    ResponseFinished,
    ResponseStarted,
    ToolOutputItem,
    Usage,
)
from open_webui_openrouter_pipe.api.gateway.selection import EndpointName
from open_webui_openrouter_pipe.attempts import Ask
from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import HostHandles, RequestContext
from open_webui_openrouter_pipe.rounds import Rounds
from open_webui_openrouter_pipe.streaming.response_events import ResponseEvents
from open_webui_openrouter_pipe.streaming.transcript import Transcript
from open_webui_openrouter_pipe.tools.toolbox import CallOutcome, CallOwner

Json = dict[str, Any]
QUESTION: Json = {"role": "user", "content": [{"type": "input_text", "text": "Who?"}]}


@dataclass(slots=True)
class ScriptedAsk(Ask):
    """An OpenRouter that answers from a list, and remembers what it was asked."""

    answers: list[list[Event]]
    asked: list[ResponsesBody]

    async def send(self) -> AsyncGenerator[list[Event]]:
        self.asked.append(self.request)
        yield self.answers.pop(0)


class Tools:
    """Tools that end in an order of their own; some never say how."""

    def __init__(
        self,
        order: Sequence[int],
        silent: frozenset[str] = frozenset(),
        sources: dict[str, Json] | None = None,
    ) -> None:
        self.definitions: list[Json] = []
        self._order = order
        self._silent = silent
        self._sources = sources or {}

    def host_name(self, name: str) -> str:
        return name

    def owner_of(self, calls: Sequence[FunctionCallItem]) -> CallOwner:
        return CallOwner.PIPE

    async def run(
        self, calls: Sequence[FunctionCallItem], context_left: int | None
    ) -> AsyncGenerator[CallOutcome]:
        places = [place for place in self._order if place < len(calls)]
        for place in dict.fromkeys([*places, *range(len(calls))]):
            call = calls[place]
            if call.name not in self._silent:
                found = self._sources.get(call.name)
                output = ToolOutputItem("out", call.call_id, f"of {call.name}")
                yield CallOutcome(output, [found] if found else [])
        yield CallOutcome(ToolOutputItem("out", "nobody", "of nothing"))


def answer(
    rounds: list[list[Event]], tools: Any, **metadata: Any
) -> tuple[list[Json], list[ResponsesBody]]:
    """What a chat is shown, and what OpenRouter is asked."""
    context = RequestContext(
        request_id="r",
        function_id="f",
        settings=take_snapshot(SystemValves(MAX_FUNCTION_CALL_LOOPS=100)),
        model="a/one",
        host=HostHandles(metadata=metadata),
    )
    transcript = Transcript({"call_old"})
    request = cast("ResponsesBody", {"model": "a/one", "input": [QUESTION]})
    ask = ScriptedAsk(
        context=context,
        runtime=cast("Any", None),
        body={},
        request=request,
        endpoint=EndpointName.RESPONSES,
        charge=transcript.charge,
        answers=[*rounds],
        asked=[],
    )

    async def run() -> list[Json]:
        renderer = ResponseEvents()
        answering = Rounds(ask, None, tools, transcript).run()
        return [piece async for batch in answering for piece in renderer.render(batch)]

    return asyncio.run(run()), ask.asked


def reduce(events: list[Json]) -> list[Json]:
    """The output list, by the host's rules: what has a known id replaces, wherever it stands."""
    output: list[Json] = []
    for event in events:
        place, item = event.get("output_index", -1), event.get("item")
        if event.get("type") == "response.output_item.added":
            known = [n for n, old in enumerate(output) if is_same(old, item)]
            if known:
                output[known[0]] = item
            else:
                output.insert(place, item)
        elif event.get("type") == "response.output_item.done":
            assert place <= len(output)
            output[place : place + 1] = [item]
    return output


def is_same(old: Json, item: Json) -> bool:
    called = item.get("call_id") and (old["type"], old.get("call_id"))
    return old["id"] == item["id"] or called == (item["type"], item.get("call_id"))


def calls_of(round_of_calls: list[tuple[str, str]], number: int) -> list[Event]:
    """One round: each call opens under its ids, a reasoning item before the first."""
    events: list[Event] = [ResponseStarted(f"gen-{number}", "a/one")]
    thought = ReasoningItem("rs", details=[{"type": "reasoning.encrypted", "data": f"d{number}"}])
    events += [ItemStarted(0, ReasoningItem("rs")), ItemFinished(0, thought)]
    for place, (item_id, call_id) in enumerate(round_of_calls, 1):
        item = FunctionCallItem(item_id, call_id, f"t{number}_{place}")
        events += [ItemStarted(place, item), ArgumentsDelta(place, '{"a":1}')]
        finished = FunctionCallItem(item_id, call_id, item.name, '{"a":1}')
        events.append(ItemFinished(place, finished))
    return [*events, ResponseFinished("gen", "a/one", Usage(1, 1, 2, cost=0.5))]


ITEM_IDS = st.sampled_from(["", "fc_tmp_1", "fc_tmp_2", "rs", "msg_tmp_1"])
CALL_IDS = st.sampled_from(
    [
        "",
        "call_old",
        "call_1",
        "call_2",
        "toolu_01A",
        "toolu_bdrk_01",
        "functions.add:0",
        "tool_add_1",
        "fc_tmp_1",
    ]
)
ROUNDS = st.lists(st.lists(st.tuples(ITEM_IDS, CALL_IDS), min_size=1, max_size=4), max_size=4)


def last_round() -> list[Event]:
    words = ItemFinished(0, MessageItem("msg_tmp_1", "Done."))
    return [words, ResponseFinished("gen", "a/one", Usage(1, 1, 2, cost=0.5))]


@given(ROUNDS, st.lists(st.integers(0, 3)), st.sampled_from(["", "t0_1", "t1_2"]))
def test_every_call_is_paired_with_one_output_in_order(
    rounds: list[list[tuple[str, str]]], order: list[int], silent: str
) -> None:
    script = [calls_of(calls, number) for number, calls in enumerate(rounds)]
    events, asked = answer([*script, last_round()], Tools(order, frozenset({silent})))
    expected: list[tuple[str, str]] = []
    for number, calls in enumerate(rounds):
        names = [f"t{number}_{place}" for place in range(1, len(calls) + 1)]
        expected.append(("reasoning", ""))
        expected += [("function_call", name) for name in names]
        expected += [("function_call_output", name) for name in names]
    saved = reduce(events)
    assert in_words(saved) == [*expected, ("message", "")]
    sent = asked[-1].get("input", [])[1:]
    assert in_words(sent) == expected
    ids = [entry["call_id"] for entry in sent if entry["type"] == "function_call"]
    assert len(set(ids)) == len(ids) and "" not in ids and "call_old" not in ids
    texts = [entry["output"] for entry in sent if "output" in entry]
    names = [name for kind, name in expected if kind == "function_call_output"]
    told = [
        f"of {name}" if name != silent else "The tool ended without a result." for name in names
    ]
    assert texts == told
    assert [e["output"][0]["text"] for e in saved if "output" in e] == told
    assert events[-1]["response"]["usage"]["cost"] == 0.5 * len(asked)


def in_words(items: list[Json]) -> list[tuple[str, str]]:
    """Kind of each item, and the name of the tool it belongs to."""
    names = {entry["call_id"]: entry["name"] for entry in items if "name" in entry}
    return [(entry["type"], names.get(entry.get("call_id", "-"), "")) for entry in items]


def page(name: str) -> Json:
    return {"source": {"name": name}, "document": ["said"], "metadata": [{"source": name}]}


def number(sources: list[Json], ids: dict[str, int], include_content: bool = True) -> str:
    """As Open WebUI does: each source has the number of its first appearance."""
    names = [note["source"] for source in sources for note in source["metadata"]]
    for name in names:
        ids.setdefault(name, len(ids) + 1)
    body = "said" if include_content else ""
    return "".join(f'<source id="{ids[name]}" name="{name}">{body}</source>\n' for name in names)


class Config:
    """The host's settings."""

    @staticmethod
    async def get(key: str) -> str:
        assert key == "rag.template"
        return "Cite"


async def rag_template(template: str, context: str, query: str) -> str:
    return f"{template} {context} for {query}"


def give_host(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> None:
    """An Open WebUI whose chat middleware has these parts."""
    middleware, utils = ModuleType("middleware"), ModuleType("utils")
    vars(middleware).update(parts)
    vars(utils)["middleware"] = middleware
    monkeypatch.setitem(sys.modules, "open_webui", ModuleType("open_webui"))
    monkeypatch.setitem(sys.modules, "open_webui.utils", utils)
    monkeypatch.setitem(sys.modules, "open_webui.utils.middleware", middleware)


def cited_rounds() -> list[list[Event]]:
    rounds = ([("", "c1"), ("", "c2")], [("", "c3")])
    return [*(calls_of(calls, place) for place, calls in enumerate(rounds)), last_round()]


FOUND = {"t0_1": page("a"), "t0_2": page("b"), "t1_1": page("a")}
TAGS = [f'<source id="{place}" name="{name}"></source>' for place, name in ((1, "b"), (2, "a"))]


@pytest.mark.parametrize("has_files", [False, True])
def test_the_model_is_told_the_numbers_of_sources_and_the_chat_does_not_keep_them(
    monkeypatch: pytest.MonkeyPatch, has_files: bool
) -> None:
    give_host(monkeypatch, get_source_context=number, Config=Config, rag_template=rag_template)
    files = {"sources": [page("b")]} if has_files else {}
    events, asked = answer(cited_rounds(), Tools([1, 0], sources=FOUND), **files)
    sent = asked[-1].get("input", [])
    outputs = [entry["output"] for entry in sent if "output" in entry]
    # The second call was the first to end, so that the page shows its source first.
    assert outputs == [f"of t0_1\n\n{TAGS[1]}", f"of t0_2\n\n{TAGS[0]}", f"of t1_1\n\n{TAGS[1]}"]
    shown = [event["event"]["data"] for event in events if "event" in event]
    assert [data["source"]["name"] for data in shown] == ["b", "a"]
    words = {"type": "input_text", "text": f"Cite {TAGS[0]} for Who?"}
    question = QUESTION if has_files else {**QUESTION, "content": [words, *QUESTION["content"]]}
    assert [request.get("input", [])[0] for request in asked[1:]] == [question] * 2
    assert "<source" not in str(reduce(events))


@pytest.mark.parametrize("parts", [{}, {"get_source_context": number}])
def test_where_the_host_cannot_number_sources_the_answer_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, parts: Json
) -> None:
    give_host(monkeypatch, **parts)
    with caplog.at_level(logging.WARNING):
        rounds = [calls_of([("", "c1")], 0), last_round()]
        events, asked = answer(rounds, Tools([0], sources=FOUND))
    assert in_words(reduce(events))[-1] == ("message", "")
    assert [entry["output"] for entry in asked[-1].get("input", []) if "output" in entry] == [
        "of t0_1"
    ]
    assert len({record.message for record in caplog.records if "number" in record.message}) == 1
