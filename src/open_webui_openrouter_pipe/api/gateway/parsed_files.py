"""What OpenRouter has read out of documents: it goes back with the next turn, or is paid again."""

from __future__ import annotations

from collections.abc import Iterable

from ...core.ids import PARSED_DETAIL
from ...core.json_codec import encode_json
from ...core.json_values import JsonObject, as_object, text_of
from ...core.logging_system import LOG

# It is kept in the row of the chat, which every reader of the chat loads.
_MOST_KEPT_BYTES = 512 * 1024


class ParsedFiles:
    """The `file` annotations of one answer; those that the request brought are not kept again."""

    __slots__ = ("_known", "_room", "waiting")

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = set(known)
        self.waiting: list[JsonObject] = []
        self._room = _MOST_KEPT_BYTES

    def add(self, annotation: JsonObject) -> None:
        """Take one; what is too large is left out, and paid for again if it is asked about."""
        mark = hash_of_file(annotation)
        if not mark or mark in self._known:
            return
        self._known.add(mark)
        size = len(encode_json(annotation))
        if size > self._room:
            LOG.warning("files: what was read out of one is too large to be kept: %d bytes", size)
            return
        self._room -= size
        self.waiting.append(annotation)

    def take_details(self) -> list[JsonObject]:
        """What has come since the last time, as a detail of the answer's reasoning."""
        files, self.waiting = self.waiting, []
        return [{"type": PARSED_DETAIL, "files": files}] if files else []


def hash_of_file(annotation: JsonObject) -> str:
    """By what OpenRouter knows the document again."""
    return text_of(as_object(annotation.get("file")).get("hash"))
