"""Sound of an answer, put together from its pieces."""

from __future__ import annotations

import base64

from ...core.logging_system import LOG
from ..events import MediaItem


class SoundPieces:
    """Adds pieces of base64 to an item; each is decoded as it comes, wherever it was cut."""

    __slots__ = ("_rest", "is_silent", "item")

    def __init__(self) -> None:
        self.item = MediaItem("", "audio")
        self.is_silent = True
        """Whether nothing has come of it but its transcript."""
        self._rest = ""

    def add(self, data: str, transcript: str) -> None:
        """Take the next piece."""
        self.item.transcript += transcript
        self.is_silent = self.is_silent and not data
        waiting = self._rest + data
        whole = len(waiting) // 4 * 4
        self._rest = waiting[whole:]
        try:
            self.item.content += base64.b64decode(waiting[:whole])
        except ValueError:
            LOG.warning("sound: a piece is no base64 and was passed over")
