"""Sound of an answer, put together from its pieces."""

from __future__ import annotations

import base64

from ...core.logging_system import LOG
from ..events import MediaItem


class SoundPieces:
    """Adds pieces of base64 to an item; each is decoded as it comes, wherever it was cut."""

    __slots__ = ("_rest", "item")

    def __init__(self, item: MediaItem) -> None:
        self.item = item
        self._rest = ""

    def add(self, data: str, transcript: str) -> None:
        """Take the next piece."""
        self.item.transcript += transcript
        waiting = self._rest + data
        whole = len(waiting) // 4 * 4
        self._rest = waiting[whole:]
        try:
            self.item.content += base64.b64decode(waiting[:whole])
        except ValueError:
            LOG.warning("sound: a piece is no base64 and was passed over")
