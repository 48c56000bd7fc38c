"""The stream of chat completions becomes the Events of the Responses API."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.events import (
    ArgumentsDelta,
    Citation,
    CitationFound,
    Event,
    FunctionCallItem,
    ImageItem,
    ItemFinished,
    ItemStarted,
    MediaItem,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    TextDelta,
    Usage,
)
from open_webui_openrouter_pipe.api.gateway.batch import EventBatch
from open_webui_openrouter_pipe.api.gateway.chat_reader import (
    ChatReader,
    merge_detail,
    read_finished_completion,
)
from open_webui_openrouter_pipe.core.errors import StreamInterruptedError

Json = dict[str, Any]
STARTED = ResponseStarted("gen-1", "a/b")
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "cost": 0.5}
READ_USAGE = Usage(3, 2, cost=0.5)
DONE = b"data: [DONE]"


def chunk(delta: Json | None = None, finish: str | None = None, **fields: Any) -> Json:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "gen-1", "model": "a/b", "choices": [choice], **fields}


def text(piece: str) -> Json:
    return chunk({"role": "assistant", "content": piece})


def wire(*events: Any) -> bytes:
    encoded = (e if isinstance(e, bytes) else b"data: " + json.dumps(e).encode() for e in events)
    return b"".join(event + b"\n\n" for event in encoded)


def read(*chunks: bytes) -> list[Event]:
    reader = ChatReader()
    events = [event for one in chunks for event in reader.feed(one)]
    return EventBatch([*events, *([] if reader.finished else reader.end())]).close()


def events_of(*events: Any) -> list[Event]:
    """The Events of a whole stream, without its start and its end."""
    started, *middle, end = read(wire(*events, chunk(finish="stop"), DONE))
    assert started == STARTED
    assert isinstance(end, ResponseFinished)
    return middle


END = ResponseFinished("gen-1", "a/b", READ_USAGE)


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(
            [chunk({}, "stop"), chunk({"content": ""}, "stop", usage=USAGE), DONE], id="twice"
        ),
        pytest.param([chunk({}, "stop"), chunk({}, None, usage=USAGE), DONE], id="null"),
        pytest.param([chunk({}, "stop"), chunk(usage=USAGE, choices=[]), DONE], id="no choices"),
        pytest.param([chunk({}, "stop", usage=USAGE), DONE], id="in one"),
        pytest.param([chunk({}, "stop", usage=USAGE)], id="no [DONE]"),
        pytest.param([chunk({}, None, usage=USAGE), DONE], id="no finish reason"),
        pytest.param(
            [chunk({}, "stop", usage=USAGE), chunk({}, "stop", usage=None), DONE], id="usage first"
        ),
    ],
)
def test_every_form_of_the_end_gives_one_end_with_the_usage(ending: list[Any]) -> None:
    message = ItemFinished(0, MessageItem(""))
    assert read(wire(text("Hi"), *ending))[-2:] == [message, END]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", ""),
        ("tool_calls", ""),
        ("length", "max_output_tokens"),
        ("content_filter", "content_filter"),
    ],
)
def test_an_answer_says_why_it_was_cut(finish: str, reason: str) -> None:
    [*_, end] = read(wire(text("Hi"), chunk(finish=finish), DONE))
    assert end == ResponseFinished("gen-1", "a/b", None, reason)


@pytest.mark.parametrize("finish", ["length", "content_filter"])
def test_a_call_of_an_answer_that_was_cut_is_not_complete(finish: str) -> None:
    call = {"index": 0, "id": "c", "function": {"name": "n", "arguments": '{"a'}}
    [*_, finished, _] = read(wire(chunk({"tool_calls": [call]}), chunk(finish=finish), DONE))
    assert finished == ItemFinished(0, FunctionCallItem("", "c", "n", status="incomplete"))


@pytest.mark.parametrize("stream", [b"", wire(text("Hi")), DONE + b"\n\n", wire(chunk({}), DONE)])
def test_a_stream_without_its_end_is_interrupted(stream: bytes) -> None:
    [*_, last] = read(stream)
    assert isinstance(last, ResponseFailed)
    assert isinstance(last.error, StreamInterruptedError)


def test_a_stream_that_breaks_after_its_usage_keeps_it() -> None:
    [*_, last] = read(wire(text("Hi"), chunk(usage=USAGE)))
    assert isinstance(last, ResponseFailed)
    assert last.usage == READ_USAGE


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (chunk({}, "error", error={"code": 502, "message": "Broke"}), "OpenRouter (502): Broke"),
        (chunk({}, error={"code": 502, "message": "Broke"}), "OpenRouter (502): Broke"),
        (
            chunk(choices=[], error={"code": 504, "message": "Broke"}, usage=USAGE),
            "OpenRouter (504): Broke",
        ),
        ({"error": {"code": "server_error", "message": "Broke"}}, "OpenRouter (500): Broke"),
        ({"error": "Broke"}, "OpenRouter: Broke"),
        (
            {"choices": [{"finish_reason": "error", "error": {"code": 429, "message": "Broke"}}]},
            "OpenRouter (429): Broke",
        ),
        (chunk({}, "error"), "OpenRouter: The answer broke off without a reason."),
    ],
    ids=["top", "no finish", "no choices", "bare", "text", "in the choice", "unexplained"],
)
def test_an_error_in_a_chunk_ends_the_answer(sent: Json, cause: str) -> None:
    *kept, last = read(wire(text("Hi"), chunk({}, "length"), sent, text("late"), DONE))
    assert [event.text for event in kept if isinstance(event, TextDelta)] == ["Hi"]
    assert isinstance(last, ResponseFailed)
    assert last.error.cause == cause
    assert last.usage == (READ_USAGE if "usage" in sent else None)


def test_the_text_beside_an_error_is_kept() -> None:
    sent = chunk({"content": "last words"}, "error", error={"code": 500, "message": "Broke"})
    *_, delta, last = read(wire(sent))
    assert delta == TextDelta(0, "last words")
    assert isinstance(last, ResponseFailed)


def test_text_opens_one_message() -> None:
    assert events_of(text(""), text("Hel"), text(""), text("lo")) == [
        ItemStarted(0, MessageItem("")),
        TextDelta(0, "Hello"),
        ItemFinished(0, MessageItem("")),
    ]


def test_a_refusal_is_text_that_says_so() -> None:
    events = events_of(chunk({"refusal": "I will "}), chunk({"refusal": "not."}))
    assert events[1:] == [
        TextDelta(0, "I will not."),
        ItemFinished(0, MessageItem("", is_refusal=True)),
    ]


def test_the_transcript_of_speech_is_its_text() -> None:
    events = events_of(chunk({"audio": {"transcript": "Hi"}}), chunk({"audio": {"data": "AAAA"}}))
    assert events[1] == TextDelta(0, "Hi")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 1000])
def test_sound_is_whole_wherever_its_pieces_were_cut(size: int) -> None:
    sound = bytes(range(256))
    data = base64.b64encode(sound).decode()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    events = events_of(*(chunk({"audio": {"data": piece}}) for piece in pieces))
    assert events[-1] == ItemFinished(0, MediaItem("", "audio", bytearray(sound)))


def test_sound_that_is_no_base64_costs_only_itself() -> None:
    damaged = [chunk({"audio": {"data": piece}}) for piece in ("AAAA", "A===", "AAAA")]
    assert events_of(*damaged)[-1] == ItemFinished(0, MediaItem("", "audio", bytearray(6)))


def thought(words: str | None, *details: Json, **fields: Any) -> Json:
    return chunk({"reasoning": words, "reasoning_details": list(details), **fields})


def detail(kind: str, **fields: Any) -> Json:
    return {"type": f"reasoning.{kind}", "index": 0, **fields}


def test_thinking_is_one_item_that_closes_before_the_answer() -> None:
    assert events_of(
        thought("Let ", detail("text", text="Let ")),
        thought("me see", detail("text", text="me see")),
        thought(None, detail("text", signature="s")),
        thought(None),
        text("Hi"),
    ) == [
        ItemStarted(0, closed := ReasoningItem("", details=[SIGNED])),
        ReasoningDelta(0, 0, "Let me see", is_summary=False),
        ItemFinished(0, closed),
        ItemStarted(1, MessageItem("")),
        TextDelta(1, "Hi"),
        ItemFinished(0, closed),
        ItemFinished(1, MessageItem("")),
    ]


SIGNED = {"type": "reasoning.text", "index": 0, "text": "Let me see", "signature": "s"}


def test_thinking_after_the_answer_or_a_call_is_an_item_of_its_own() -> None:
    call = {"index": 0, "id": "c", "function": {"name": "n", "arguments": "{}"}}
    events = events_of(
        thought("one"), text("Hi"), thought("two"), chunk({"tool_calls": [call]}), thought("three")
    )
    opened = [(e.output_index, type(e.item)) for e in events if isinstance(e, ItemStarted)]
    assert opened == [
        (0, ReasoningItem),
        (1, MessageItem),
        (2, ReasoningItem),
        (3, FunctionCallItem),
        (4, ReasoningItem),
    ]


@pytest.mark.parametrize(
    ("sent", "delta"),
    [
        (thought("hm"), ("hm", False)),
        (chunk({"reasoning_content": "hm"}), ("hm", False)),
        (thought(None, detail("text", text="hm")), ("hm", False)),
        (thought(None, detail("summary", summary="hm")), ("hm", True)),
        (thought("hm", detail("summary", summary="hm")), ("hm", True)),
        (chunk({"reasoning": "hm", "reasoning_content": "hm"}), ("hm", False)),
    ],
)
def test_thinking_is_read_once_whatever_carries_it(sent: Json, delta: tuple[str, bool]) -> None:
    _, thinking, _ = events_of(sent)
    assert thinking == ReasoningDelta(0, 0, *delta)


@pytest.mark.parametrize(
    "sent", [thought(None), thought(""), thought(None, detail("text", text="")), thought(None, {})]
)
def test_thinking_without_words_or_secrets_opens_nothing(sent: Json) -> None:
    assert [type(e) for e in events_of(sent, text("Hi"))] == [ItemStarted, TextDelta, ItemFinished]


def test_hidden_thinking_opens_an_item_without_words() -> None:
    secret = detail("encrypted", data="e", id="tool_1")
    started, finished = events_of(thought(None, secret))
    assert finished == ItemFinished(0, ReasoningItem("", details=[secret]))
    assert isinstance(started, ItemStarted)


@pytest.mark.parametrize(
    ("pieces", "merged"),
    [
        (
            [detail("summary", summary="a"), detail("encrypted", data="e")],
            [detail("summary", summary="a"), detail("encrypted", data="e")],
        ),
        (
            [detail("text", text="a", id=None), detail("text", text="b", signature="s")],
            [detail("text", text="ab", signature="s")],
        ),
        (
            [detail("text", text="a"), {**detail("text", text="b"), "index": 1}],
            [detail("text", text="a"), {**detail("text", text="b"), "index": 1}],
        ),
        (
            [detail("encrypted", data="a", id="x"), detail("encrypted", data="b", id="y")],
            [detail("encrypted", data="a", id="x"), detail("encrypted", data="b", id="y")],
        ),
        (
            [detail("text", text="a", id="x"), detail("text", text="b", id="x")],
            [detail("text", text="ab", id="x")],
        ),
        (
            [detail("text", text="a", signature="s"), detail("text", text=None, signature=None)],
            [detail("text", text="a", signature="s")],
        ),
        (
            [detail("text", text="a"), detail("text", format="f", text="")],
            [detail("text", text="a", format="f")],
        ),
    ],
)
def test_pieces_of_a_detail_merge_by_type_index_and_id(
    pieces: list[Json], merged: list[Json]
) -> None:
    details: list[Json] = []
    for piece in pieces:
        merge_detail(details, piece)
    assert details == merged


def call(index: int | None, arguments: str, call_id: str = "", name: str = "") -> Json:
    head = {"id": call_id, "type": "function"} if call_id else {}
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return chunk({"content": None, "tool_calls": [{"index": index, **head, "function": function}]})


def test_pieces_of_calls_side_by_side_find_their_call() -> None:
    assert events_of(
        call(0, "", "c0", "add"), call(0, '{"a"'), call(1, "", "c1", "now"), call(0, ":1}")
    ) == [
        ItemStarted(0, FunctionCallItem("", "c0", "add")),
        ArgumentsDelta(0, '{"a"'),
        ItemStarted(1, FunctionCallItem("", "c1", "now")),
        ArgumentsDelta(0, ":1}"),
        ItemFinished(0, FunctionCallItem("", "c0", "add")),
        ItemFinished(1, FunctionCallItem("", "c1", "now")),
    ]


def test_another_id_at_the_same_place_is_another_call() -> None:
    events = events_of(call(0, "{}", "c0", "add"), call(0, "{}", "c1", "now"), call(0, " ", "c1"))
    opened = [e.item for e in events if isinstance(e, ItemStarted)]
    assert opened == [FunctionCallItem("", "c0", "add"), FunctionCallItem("", "c1", "now")]
    assert [e for e in events if isinstance(e, ArgumentsDelta)] == [
        ArgumentsDelta(0, "{}"),
        ArgumentsDelta(1, "{} "),
    ]


def test_a_call_without_a_place_is_the_first() -> None:
    started, delta, _ = events_of(call(None, "{}", "c0", "add"))
    assert started == ItemStarted(0, FunctionCallItem("", "c0", "add"))
    assert delta == ArgumentsDelta(0, "{}")


@pytest.mark.parametrize(
    "pieces",
    [
        [call(0, "{", "", "add"), call(0, "}", "call_1")],
        [call(0, "{", "call_1"), call(0, "}", "", "add")],
        [call(0, "{"), call(0, "}", "call_1", "add")],
    ],
)
def test_the_id_and_the_name_of_a_call_may_come_late(pieces: list[Json]) -> None:
    events = events_of(*pieces, chunk(finish="tool_calls"))
    calls = [event.item for event in events if isinstance(event, ItemFinished)]
    assert [(item.call_id, item.name) for item in calls] == [("call_1", "add")]  # type: ignore[union-attr]


def test_a_picture_is_an_item_that_comes_whole() -> None:
    url = "data:image/png;base64,AAAA"
    image = {"type": "image_url", "image_url": {"url": url}, "index": 0}
    events = events_of(text("Look:"), chunk({"images": [image, {"type": "image_url"}]}))
    item = ImageItem("", url)
    assert events[2:4] == [ItemStarted(1, item), ItemFinished(1, item)]


def test_citations_belong_to_the_message() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    file = {"type": "file", "file": {"hash": "x"}}
    events = events_of(chunk({"content": "", "annotations": [note, file, None]}), text("Hi"))
    assert events[:3] == [
        ItemStarted(0, MessageItem("")),
        CitationFound(0, Citation("https://a.example", "A")),
        TextDelta(0, "Hi"),
    ]


@pytest.mark.parametrize(
    "sent",
    [
        b": OPENROUTER PROCESSING",
        b"data: {broken",
        b"data: [1]",
        {},
        {"id": "gen-1", "choices": [], "debug": {"echo_upstream_body": {}}},
        {"choices": None},
        {"choices": "x"},
        {"choices": [None]},
        chunk({"content": {"text": "?"}, "reasoning": 0 == 1, "tool_calls": "x", "images": 5}),
        chunk({"tool_calls": [None], "annotations": {}, "reasoning_details": "x", "audio": 1}),
    ],
)
def test_what_says_nothing_or_is_unknown_passes_by(sent: Any) -> None:
    events = read(wire(text("a"), sent, text("b"), chunk(finish="stop"), DONE))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["ab"]


def test_nothing_is_read_after_the_end() -> None:
    reader = ChatReader()
    reader.feed(wire(text("Hi"), chunk(finish="stop"), DONE))
    assert reader.finished
    assert reader.feed(wire(text("late"))) == []


def test_a_whole_completion_gives_its_items_and_its_end() -> None:
    message = {"role": "assistant", "content": "Hi", "reasoning": "hm"}
    body = chunk(usage=USAGE) | {"choices": [{"message": message, "finish_reason": "length"}]}
    events = read_finished_completion(body)
    assert events[0] == STARTED
    assert ReasoningDelta(0, 0, "hm", is_summary=False) in events
    assert TextDelta(1, "Hi") in events
    assert events[-1] == ResponseFinished("gen-1", "a/b", READ_USAGE, "max_output_tokens")


def test_a_whole_completion_that_failed_ends_once() -> None:
    failed = {"error": {"code": 502, "message": "Gone"}, "finish_reason": "error"}
    events = read_finished_completion({"id": "gen-1", "choices": [failed]})
    assert isinstance(events[-1], ResponseFailed)
    assert sum(isinstance(event, ResponseFailed | ResponseFinished) for event in events) == 1


def test_a_whole_completion_that_failed_keeps_its_text() -> None:
    error = {"code": 502, "message": "Broke"}
    message = {"role": "assistant", "content": "Hi"}
    body = {"id": "g", "choices": [{"message": message, "finish_reason": "error", "error": error}]}
    events = read_finished_completion(body)
    assert TextDelta(0, "Hi") in events
    assert [type(e) for e in events if isinstance(e, ResponseFailed)] == [ResponseFailed]


PIECES = st.one_of(
    st.builds(text, st.text(max_size=4)),
    st.builds(lambda t: thought(t, detail("text", text=t)), st.text(max_size=4)),
    st.builds(
        call,
        st.integers(0, 2),
        st.text(max_size=3),
        st.sampled_from(["", "c0", "c1"]),
        st.sampled_from(["", "add"]),
    ),
    st.sampled_from(
        [
            b": ",
            b"data: {broken",
            DONE,
            chunk({"refusal": "ü"}),
            chunk(finish="stop", usage=USAGE),
            chunk({"images": [{"image_url": {"url": "data:,"}}]}),
            {"error": {"code": 500, "message": "Broke"}},
        ]
    ),
)


@given(
    st.lists(PIECES, max_size=8),
    st.sampled_from([b"\n", b"\r\n"]),
    st.lists(st.integers(0, 5_000), max_size=9),
)
def test_any_stream_under_any_chunking_gives_the_same_events(
    events: list[Any], line_end: bytes, places: list[int]
) -> None:
    body = wire(*events).replace(b"\n", line_end)
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    pieces = [body[start:end] for start, end in itertools.pairwise(bounds)]
    whole = described(read(body))
    assert described(read(*pieces)) == whole
    assert described(read(*(body[at : at + 1] for at in range(len(body))))) == whole


def described(events: list[Event]) -> list[str]:
    """Events as text, because two errors are never equal."""
    return [
        event.error.for_person() if isinstance(event, ResponseFailed) else repr(event)
        for event in events
    ]
