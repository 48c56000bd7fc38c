"""What an answer consists of, before either API gives it a form on the wire."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Literal

Annotation = dict[str, Any]
_WORD = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Message:
    """Words for the reader, in the pieces they are streamed in."""

    pieces: tuple[str, ...]
    annotations: tuple[Annotation, ...] = ()
    refusal: bool = False
    phase: str | None = None

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Thinking: a summary, raw text, or nothing one can read."""

    pieces: tuple[str, ...]
    form: Literal["summary", "text"] = "text"
    encrypted_content: str | None = None
    signature: str | None = None
    format: str | None = None

    @property
    def text(self) -> str:
        """All pieces together."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call of a tool that the client offered."""

    name: str
    call_id: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments as JSON text."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class WebSearch:
    """A search that ran on the server, by the vendor itself (native) or by OpenRouter."""

    query: str
    urls: tuple[str, ...]
    native: bool = False


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A picture, as a `data:` URL; and how it looked on the way, where that was another."""

    data_url: str
    sketches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Speech:
    """Words that are spoken: the transcript in pieces, the sound in pieces of base64."""

    transcript: tuple[str, ...]
    sound: tuple[str, ...]


AnswerItem = Message | Reasoning | FunctionCall | WebSearch | GeneratedImage | Speech


@dataclass(frozen=True, slots=True)
class Answer:
    """The items of one answer in their order, and why it ended early, if it did."""

    items: tuple[AnswerItem, ...]
    incomplete: Literal["max_output_tokens", "content_filter"] | None = None

    @property
    def finish_reason(self) -> str:
        """The word the chat API has for how it ended."""
        if self.incomplete:
            return "length" if self.incomplete == "max_output_tokens" else "content_filter"
        calls = any(isinstance(item, FunctionCall) for item in self.items)
        return "tool_calls" if calls else "stop"


def words_of(text: str) -> tuple[str, ...]:
    """Cut a text into words that carry the space before them."""
    return tuple(_WORD.findall(text))


def pieces_of(text: str, count: int) -> tuple[str, ...]:
    """Cut a text into `count` pieces of nearly the same length (fewer when it is too short)."""
    count = max(1, min(count, len(text)))
    bounds = [len(text) * number // count for number in range(count + 1)]
    return tuple(text[start:end] for start, end in itertools.pairwise(bounds))
