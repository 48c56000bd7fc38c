"""What the three renderers have in common: Events in, pieces for one kind of reader out."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar

from ..api.events import Event

HostEvent = dict[str, Any]
"""A dictionary that Open WebUI understands in a pipe's stream."""

Piece = TypeVar("Piece")
"""What one kind of reader takes: a dictionary or bytes."""


class Renderer(Protocol[Piece]):
    """Turns the Events of one answer into what its reader takes."""

    def render(self, batch: list[Event]) -> list[Piece]:
        """The pieces that this batch adds."""
        ...
