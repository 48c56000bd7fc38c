"""The pages an answer leans on, as Open WebUI's sources."""

from __future__ import annotations

from collections.abc import Iterable

from ..api.events import Citation
from .renderer import HostEvent


class Sources:
    """Gathers the citations of an answer; each page counts once, in the order it was cited."""

    __slots__ = ("_by_url",)

    def __init__(self) -> None:
        self._by_url: dict[str, Citation] = {}

    def add(self, citations: Iterable[Citation]) -> None:
        """Take a message's citations in."""
        for citation in citations:
            self._by_url.setdefault(citation.url, citation)

    def events(self) -> list[HostEvent]:
        """One event for all of them, for each one costs a write of the whole chat."""
        found = list(self._by_url.values())
        if not found:
            return []
        data = {
            "source": {"name": "OpenRouter", "id": "openrouter"},
            "document": [citation.excerpt or citation.title or citation.url for citation in found],
            "metadata": [
                {
                    "source": citation.url,
                    "url": citation.url,
                    "name": citation.title or citation.url,
                }
                for citation in found
            ],
        }
        return [{"event": {"type": "source", "data": data}}]
