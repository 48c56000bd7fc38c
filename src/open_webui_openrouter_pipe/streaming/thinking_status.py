"""Thinking told in status lines: the model's own sentences, few of them."""

from __future__ import annotations

import re
from collections.abc import Callable

from .renderer import HostEvent
from .status import status_event

# Open WebUI writes the whole chat to its database with every line.
PAUSE_SECONDS = 4.0
_LONGEST_LINE = 160
_SHORTEST_LINE = 12
# What follows a complete sentence or a heading; languages without spaces need none.
_BORDER = re.compile(r"(?<=[.!?\u2026])[\"')\]*]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_DECORATION = re.compile(r"^[\s#>*_`-]+|[\s*_`]+$")


class ThinkingStatus:
    """Picks the newest complete sentence whenever a line is due."""

    __slots__ = ("_clock", "_due_at", "_is_open", "_text")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._text = ""
        self._due_at = float("-inf")
        self._is_open = False

    def take(self, text: str) -> list[HostEvent]:
        """The next piece of thinking; a status line, if one is due."""
        self._text += text
        if self._clock() < self._due_at:
            return []
        *complete, self._text = _BORDER.split(self._text)
        return self._line(complete)

    def finish(self, seconds: float) -> list[HostEvent]:
        """The end of the thought; it closes what was shown, for the answer's words come now."""
        complete, self._text = _BORDER.split(self._text), ""
        lines = [] if self._is_open or self._clock() < self._due_at else self._line(complete)
        if not self._is_open:
            return lines
        self._is_open = False
        return [*lines, status_event(f"Thought for {seconds:.0f} s", done=True)]

    def _line(self, sentences: list[str]) -> list[HostEvent]:
        for sentence in reversed(sentences):
            words = _DECORATION.sub("", sentence)
            if len(words) >= _SHORTEST_LINE:
                self._due_at = self._clock() + PAUSE_SECONDS
                self._is_open = True
                return [status_event(_shortened(words), done=False)]
        return []


def _shortened(sentence: str) -> str:
    """At most a line of it, cut between words."""
    if len(sentence) <= _LONGEST_LINE:
        return sentence
    head = sentence[: _LONGEST_LINE - 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:") + "\N{HORIZONTAL ELLIPSIS}"
