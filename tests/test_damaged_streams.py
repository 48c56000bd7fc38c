"""Streams that were damaged on the way: nothing raises, and no text that arrived is lost."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.streams import Json, Shown, cut, payloads, show

FILES = sorted((Path(__file__).parent / "transcripts").glob("*.sse"))
# MUTATIONS=10000 takes ten seconds.
MUTATIONS = int(os.environ.get("MUTATIONS", "600"))
WRONG: list[Any] = [None, True, 0, -1, 7, 2**70, 0.5, [], [None], {}, {"x": []}]
ENDS = ("response.completed", "response.incomplete", "response.failed", "response.error", "error")

Mutation = Callable[[list[bytes], random.Random], None]


def drop(events: list[bytes], dice: random.Random) -> None:
    del events[dice.randrange(len(events))]


def double(events: list[bytes], dice: random.Random) -> None:
    place = dice.randrange(len(events))
    events.insert(dice.randrange(len(events)), events[place])


def reorder(events: list[bytes], dice: random.Random) -> None:
    event = events.pop(dice.randrange(len(events)))
    events.insert(dice.randrange(len(events) + 1), event)


def truncate(events: list[bytes], dice: random.Random) -> None:
    del events[dice.randrange(1, len(events) + 1) :]
    events[-1] = events[-1][: dice.randrange(len(events[-1]) + 1)]


def spoil(events: list[bytes], dice: random.Random) -> None:
    """Make an event's JSON invalid."""
    place = dice.randrange(len(events))
    event = events[place]
    for _ in range(9):
        at, more = (
            dice.randrange(len(event)),
            dice.choice([b'"', b"}", b"]", b"\n", b"\r", b"\xff"]),
        )
        events[place] = event[:at] + more + event[at:]
        if not any(payloads(events[place])):
            return
    events[place] = event[:-1]


def mistype(events: list[bytes], dice: random.Random) -> None:
    place = dice.randrange(len(events))
    if events[place].startswith(b"data: {"):
        data = json.loads(events[place].removeprefix(b"data: "))
        holder, key = dice.choice(list(places_in(data)))
        holder[key] = dice.choice(WRONG)
        events[place] = b"data: " + json.dumps(data).encode()


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in a JSON object, as its holder and its key."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


MUTATE: list[Mutation] = [drop, double, reorder, mistype, truncate, spoil]


def damaged(body: bytes, seed: int) -> bytes:
    dice = random.Random(seed)
    events = [event for event in body.split(b"\n\n") if event]
    # What spoils the JSON itself comes last: the others read it.
    steps = sorted(dice.choices(MUTATE, k=dice.randrange(1, 5)), key=MUTATE.index)
    for mutate in steps:
        if events and all(events):
            mutate(events, dice)
    return b"\n\n".join(events) + dice.choice([b"", b"\n", b"\n\n"])


def received(body: bytes, *, is_chat: bool) -> list[str]:
    """Every piece of the answer's text that came before the end of the stream."""
    pieces: list[str] = []
    for data in payloads(body):
        if not isinstance(data, dict):
            if data is None and is_chat:
                break
            continue
        pieces += chat_pieces(data) if is_chat else responses_pieces(data)
        bare = data.get("error") and not isinstance(data.get("type"), str)
        if data.get("type") in ENDS or bare or (is_chat and ends_chat(data)):
            break
    return [piece for piece in pieces if piece]


def responses_pieces(data: Json) -> list[str]:
    is_text = data.get("type") in ("response.output_text.delta", "response.refusal.delta")
    return [data["delta"]] if is_text and isinstance(data.get("delta"), str) else []


def chat_pieces(data: Json) -> list[str]:
    delta = choice_of(data).get("delta")
    if not isinstance(delta, dict):
        return []
    return [value for key in ("content", "refusal") if isinstance(value := delta.get(key), str)]


def ends_chat(data: Json) -> bool:
    return bool(choice_of(data).get("error")) or choice_of(data).get("finish_reason") == "error"


def choice_of(data: Json) -> Json:
    choices = data.get("choices")
    found = [one for one in choices if isinstance(one, dict)] if isinstance(choices, list) else []
    return found[0] if found else {}


def assert_nothing_lost(pieces: list[str], shown: Shown) -> None:
    for said in (shown.of_chat(), shown.of_client(), shown.of_object()):
        assert [piece for piece in pieces if piece not in said.text] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_damaged_stream_neither_raises_nor_loses_text(path: Path) -> None:
    body, is_chat = path.read_bytes(), path.stem.startswith("chat")
    for seed in range(MUTATIONS // len(FILES) + 1):
        broken = damaged(body, seed)
        shown = show(cut(broken, 50 + seed % 500), is_chat=is_chat)
        try:
            assert_nothing_lost(received(broken, is_chat=is_chat), shown)
        except AssertionError:
            print(f"mutation {seed} of {path.stem}:\n{broken!r}")  # noqa: T201
            raise


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_undamaged_text_arrives_as_it_was_received(path: Path) -> None:
    body, is_chat = path.read_bytes(), path.stem.startswith("chat")
    pieces = received(body, is_chat=is_chat)
    assert "".join(pieces) in show([body], is_chat=is_chat).of_chat().text
