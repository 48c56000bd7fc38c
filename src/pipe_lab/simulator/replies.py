"""A reply: what the simulator sends for one call, and how, down to the last byte."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from .answers import Answer, Message, Reasoning, pieces_of, words_of
from .chat_chunks import chat_chunks
from .responses_events import opening_response, responses_events
from .usage import Tokens, chat_usage, responses_usage

Event = dict[str, Any] | str | bytes

# What a model of this price class costs; used where a reply is written without a catalog row.
_PLAIN_ROW = {"pricing": {"prompt": "0.0000025", "completion": "0.00001"}}
DONE = b"data: [DONE]\n\n"


@dataclass
class Reply:
    """One scripted reply; either a stream of events or a whole body."""

    events: list[Event] | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | str | bytes | None = None
    # Cut the byte stream into pieces of so many bytes, across the borders of events.
    chunk_size: int | None = None
    # Seconds between two events (two pieces, when the stream is cut).
    pause: float = 0.0
    # Seconds before the first byte.
    delay: float = 0.0
    # After so many events nothing more comes until `Simulator.release()`.
    stall_after: int | None = None
    # After so many events the TCP connection is aborted.
    disconnect_after: int | None = None
    # After so many events the body ends cleanly, without terminal event and without [DONE].
    end_after: int | None = None
    done: bool = True

    def encoded_events(self) -> Iterator[bytes]:
        """The events as they go on the wire, [DONE] included."""
        for event in self.events or ():
            yield encode_event(event)
        if self.done:
            yield DONE

    def encoded_body(self) -> bytes:
        """The whole body as bytes."""
        if isinstance(self.body, bytes):
            return self.body
        if isinstance(self.body, str):
            return self.body.encode()
        return b"" if self.body is None else orjson.dumps(self.body)


def encode_event(event: Event) -> bytes:
    """A dict becomes one `data:` line of compact JSON; text and bytes stay as they are."""
    if isinstance(event, dict):
        return b"data: " + orjson.dumps(event) + b"\n\n"
    return event.encode() if isinstance(event, str) else event


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """The reply as plain JSON, for a simulator in another process."""
    fields = asdict(reply)
    if reply.events is not None:
        fields["events"] = [_bytes_to_json(event) for event in reply.events]
    fields["body"] = _bytes_to_json(reply.body)
    return fields


def reply_from_json(fields: dict[str, Any]) -> Reply:
    """The way back from `reply_to_json`; also reads what a person wrote by hand."""
    reply = Reply(**fields)
    if reply.events is not None:
        reply.events = [_bytes_from_json(event) for event in reply.events]
    reply.body = _bytes_from_json(reply.body)
    return reply


def _bytes_to_json(value: Any) -> Any:
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _bytes_from_json(value: Any) -> Any:
    if isinstance(value, dict) and list(value) == ["base64"]:
        return base64.b64decode(value["base64"])
    return value


def text_reply(  # noqa: PLR0913
    text: str,
    deltas: list[str] | int | None = None,
    usage: dict[str, Any] | None = None,
    *,
    reasoning: str | None = None,
    model: str = "openai/gpt-4o",
    comments: bool = True,
) -> Reply:
    """The complete /responses stream of a text answer, word by word unless told otherwise."""
    answer = _text_answer(text, deltas, reasoning)
    figures = responses_usage(_PLAIN_ROW, _plain_tokens(answer)) | (usage or {})
    return answer_reply(answer, figures, model=model, comments=comments)


def answer_reply(
    answer: Answer,
    usage: dict[str, Any] | None = None,
    *,
    model: str = "openai/gpt-4o",
    comments: bool = True,
) -> Reply:
    """The complete /responses stream of any answer: calls, searches, pictures, refusals."""
    figures = usage or responses_usage(_PLAIN_ROW, _plain_tokens(answer))
    events: list[Event] = [*responses_events(answer, opening_response(model), figures)]
    return Reply(events=[": \n\n", *events] if comments else events)


def chat_text_reply(  # noqa: PLR0913
    text: str,
    deltas: list[str] | int | None = None,
    usage: dict[str, Any] | None = None,
    *,
    reasoning: str | None = None,
    model: str = "openai/gpt-4o",
    comments: bool = True,
) -> Reply:
    """The complete /chat/completions stream of a text answer."""
    answer = _text_answer(text, deltas, reasoning)
    figures = chat_usage(_PLAIN_ROW, _plain_tokens(answer)) | (usage or {})
    return chat_answer_reply(answer, figures, model=model, comments=comments)


def chat_answer_reply(
    answer: Answer,
    usage: dict[str, Any] | None = None,
    *,
    model: str = "openai/gpt-4o",
    comments: bool = True,
) -> Reply:
    """The complete /chat/completions stream of any answer."""
    figures = usage or chat_usage(_PLAIN_ROW, _plain_tokens(answer))
    chunks: list[Event] = [*chat_chunks(answer, model, "OpenAI", figures)]
    return Reply(events=[": OPENROUTER PROCESSING\n\n", *chunks] if comments else chunks)


def _text_answer(text: str, deltas: list[str] | int | None, reasoning: str | None) -> Answer:
    if isinstance(deltas, int):
        pieces = pieces_of(text, deltas)
    else:
        pieces = words_of(text) if deltas is None else tuple(deltas)
    message = Message(pieces)
    if reasoning is None:
        return Answer((message,))
    return Answer((Reasoning(words_of(reasoning)), message))


def _plain_tokens(answer: Answer) -> Tokens:
    thinking = sum(len(item.pieces) for item in answer.items if isinstance(item, Reasoning))
    words = sum(len(item.pieces) for item in answer.items if isinstance(item, Message))
    return Tokens(input=17, output=thinking + words, reasoning=thinking)
