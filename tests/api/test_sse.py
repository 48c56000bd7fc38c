"""Server-sent events: the same payloads however the bytes are cut."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.api.sse import SseDecoder

LINE = st.binary(max_size=12).map(lambda raw: re.sub(rb"[\r\n]", b".", raw))
NOISE = st.sampled_from([b": OPENROUTER PROCESSING", b":", b"event: x", b"id: 1", b"retry", b"dat"])


def decode(chunks: list[bytes]) -> list[bytes]:
    decoder = SseDecoder()
    payloads = [payload for chunk in chunks for payload in decoder.feed(chunk)]
    return payloads + decoder.flush()


def cut(body: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(bounds)]


@st.composite
def streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A body and the payloads in it."""
    lines: list[bytes] = []
    payloads: list[bytes] = []
    for data in draw(st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5)):
        lines += draw(st.lists(NOISE | st.just(b""), max_size=2))
        for line in data:
            with_space = line.startswith(b" ") or draw(st.booleans())
            lines.append((b"data: " if with_space else b"data:") + line)
            lines += draw(st.lists(NOISE, max_size=1))
        lines.append(b"")
        payloads.append(b"\n".join(data))
    body = b""
    for line in lines:
        end = draw(st.sampled_from([b"\n", b"\r", b"\r\n"]))
        # A bare LF after a bare CR would be one line's end, not an empty line.
        follows_cr = not line and end == b"\n" and body.endswith(b"\r")
        body += line + (b"\r\n" if follows_cr else end)
    return body, payloads


@given(streams(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_stream_under_any_chunking_gives_its_payloads(
    stream: tuple[bytes, list[bytes]], places: list[int]
) -> None:
    body, payloads = stream
    assert decode(cut(body, places)) == payloads
    assert decode([body[at : at + 1] for at in range(len(body))]) == payloads


@pytest.mark.parametrize("end", ["", "\n", "\r", "\r\n"])
def test_the_last_event_needs_no_blank_line(end: str) -> None:
    assert decode([b"data: a\n\ndata: b" + end.encode()]) == [b"a", b"b"]


def test_a_payload_is_given_out_as_soon_as_its_blank_line_is_here() -> None:
    decoder = SseDecoder()
    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [b"a"]
    assert decoder.feed(b"\ndata: b\n\n") == [b"b"]
    assert decoder.flush() == []


def test_an_empty_piece_between_cr_and_lf_changes_nothing() -> None:
    assert decode([b"data: a\r", b"", b"\ndata: b\n\n"]) == [b"a\nb"]
