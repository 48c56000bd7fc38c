"""Thinking that a model prints as `<think>` text, told apart from its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..api.events import (
    Event,
    ItemFinished,
    ItemStarted,
    MessageItem,
    ReasoningDelta,
    ReasoningItem,
    ResponseFailed,
    ResponseFinished,
    TextDelta,
)

_TAGS = ("think", "thinking", "reasoning", "thought")
_OPENINGS = tuple(f"<{tag}>" for tag in _TAGS)
_BLOCK = re.compile(rf"\s*<({'|'.join(_TAGS)})>(.*?)(?:</\1>\n*|\Z)", re.DOTALL)


@dataclass(slots=True)
class _Message:
    """One message: what of its text is held back, and the tag that is open."""

    started: ItemStarted | None = None
    held: str = ""
    closing: str = ""
    """The closing tag that is awaited; empty outside of thinking."""
    decided: bool = False
    trims: bool = False
    """Whether the line breaks between thinking and answer are still to be dropped."""

    @property
    def is_plain(self) -> bool:
        """Whether the text passes as it is."""
        return self.decided and not self.closing and not self.trims


class ThinkTags:
    """Turns a block of thinking at the beginning of a message into reasoning.

    Only the beginning counts: a tag further on is part of the answer.
    """

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages: dict[int, _Message] = {}

    def split(self, batch: list[Event]) -> list[Event]:
        """The batch, with the thinking as deltas of reasoning items of its own."""
        events: list[Event] = []
        for event in batch:
            match event:
                case ItemStarted(index, MessageItem()):
                    self._messages.setdefault(index, _Message(event))
                case TextDelta(index, text):
                    message = self._messages.setdefault(index, _Message())
                    if message.is_plain:
                        events.append(event)
                    else:
                        self._take(index, message, message.held + text, events)
                case ItemFinished(index, MessageItem() as item):
                    self._finish(index, item, events)
                    events.append(event)
                case ResponseFinished() | ResponseFailed():
                    for index, message in self._messages.items():
                        self._release(index, message, events)
                    events.append(event)
                case _:
                    events.append(event)
        return events

    def _take(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        """Read on in a message whose thinking may begin, or has begun."""
        message.held = ""
        if not message.decided:
            beginning = text.lstrip()
            if any(tag.startswith(beginning) for tag in _OPENINGS):
                message.held = text  # it may still become a tag
                return
            message.decided = True
            opening = next((tag for tag in _OPENINGS if beginning.startswith(tag)), "")
            if opening:
                message.closing = opening.replace("<", "</")
                text = beginning.removeprefix(opening)
        if message.closing:
            self._think(index, message, text, events)
        else:
            self._speak(index, message, text, events)

    def _think(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        thought, closed, answer = text.partition(message.closing)
        if not closed:
            thought, message.held = _hold_back(text, message.closing)
        if thought:
            events.append(ReasoningDelta(_reasoning_index(index), 0, thought, is_summary=False))
        if closed:
            message.closing = ""
            message.trims = True
            events.append(ItemFinished(_reasoning_index(index), ReasoningItem("")))
            self._speak(index, message, answer, events)

    def _speak(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        if message.trims:
            text = text.lstrip("\n")
        if not text:
            return
        message.trims = False
        if message.started is not None:
            events.append(message.started)
            message.started = None
        events.append(TextDelta(index, text))

    def _finish(self, index: int, item: MessageItem, events: list[Event]) -> None:
        message = self._messages.pop(index, None)
        if message is not None and (message.decided or message.held):
            self._release(index, message, events)
        elif block := _BLOCK.match(item.text):
            place = _reasoning_index(index)
            events.append(ItemFinished(place, ReasoningItem("", content=[block.group(2)])))
        item.text = _BLOCK.sub("", item.text, count=1) if _BLOCK.match(item.text) else item.text
        if message is not None and message.started is not None:
            events.append(message.started)

    def _release(self, index: int, message: _Message, events: list[Event]) -> None:
        """Give out what was held back: nothing more can come."""
        held, message.held = message.held, ""
        if message.closing:
            if held:
                events.append(ReasoningDelta(_reasoning_index(index), 0, held, is_summary=False))
            events.append(ItemFinished(_reasoning_index(index), ReasoningItem("")))
            message.closing = ""
        elif held:
            message.decided = True
            self._speak(index, message, held, events)


def _reasoning_index(index: int) -> int:
    """A place of its own: the odd numbers below zero; the even ones are the collector's."""
    return -1 - 2 * index


def _hold_back(text: str, tag: str) -> tuple[str, str]:
    """The text, and the end of it that may be the beginning of the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return text[:-length], text[-length:]
    return text, ""
