"""The pages an answer leans on, as Open WebUI's sources."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from ..api.events import Citation
from ..core.json_codec import encode_json
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from .renderer import HostEvent

_CITED: JsonObject = {"name": "OpenRouter", "id": "openrouter"}


class Sources:
    """Gathers what an answer leans on, each once, in the order it was found.

    Open WebUI numbers sources as they come, and takes those of one address for one. Only those
    that tools found are cited by number, so they come before those the model itself named.
    """

    __slots__ = ("_by_origin", "_known")

    def __init__(self) -> None:
        self._by_origin: dict[bytes, HostEvent] = {}
        self._known: set[tuple[str, str]] = set()

    def add(self, citations: Iterable[Citation]) -> None:
        """Take a message's citations in: each page counts once, whoever found it."""
        for citation in citations:
            if any(citation.url == address for address, _ in self._known):
                continue
            metadata = {
                "source": citation.url,
                "url": citation.url,
                "name": citation.title or citation.url,
            }
            self._take(_CITED, citation.excerpt or citation.title or citation.url, metadata)

    def add_found(self, sources: Iterable[JsonObject]) -> None:
        """Take in what a tool leaned on: each passage counts once."""
        for source in sources:
            notes = objects_in(source.get("metadata"))
            documents = source.get("document")
            passages = cast("list[Any]", documents) if isinstance(documents, list) else []
            for place, passage in enumerate(passages):
                note = notes[place] if place < len(notes) else {}
                self._take(as_object(source.get("source")), text_of(passage), note)

    def events(self) -> list[HostEvent]:
        """One event for each origin, for each one costs a write of the whole chat."""
        found = sorted(self._by_origin.values(), key=lambda data: data["source"] is _CITED)
        return [{"event": {"type": "source", "data": data}} for data in found]

    def _take(self, origin: JsonObject, passage: str, metadata: JsonObject) -> None:
        address = _address_of(origin, metadata)
        if (address, passage) in self._known:
            return
        self._known.add((address, passage))
        empty: HostEvent = {"source": origin, "document": [], "metadata": []}
        data = self._by_origin.setdefault(encode_json(origin), empty)
        data["document"].append(passage)
        data["metadata"].append(metadata)


def _address_of(origin: JsonObject, metadata: JsonObject) -> str:
    named = (metadata.get("source"), metadata.get("url"), origin.get("url"), origin.get("id"))
    return next((address for name in named if (address := text_of(name))), "")
