"""Pauses between reads, in which the network gathers what would else come piece by piece."""

from __future__ import annotations

from .events import Event, ReasoningDelta, TextDelta

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
SHORTEST_WINDOW = 0.03
# Still smooth to read; longer ones would save little.
LONGEST_WINDOW = 0.3
# What is sent costs the server far more than what is read: so many pieces it sends in all.
PIECES_PER_SECOND = 125


def window_for(streams: int) -> float:
    """Seconds for which text is gathered, while so many answers are written at once."""
    return min(max(SHORTEST_WINDOW, streams / PIECES_PER_SECOND), LONGEST_WINDOW)


def shows_text(batch: list[Event]) -> bool:
    """Whether a reader has seen text of this batch: only then is there time to gather more.

    The first words are not held back, and while the model is silent there is no timer.
    """
    return any(isinstance(event, TextDelta | ReasoningDelta) for event in batch)
