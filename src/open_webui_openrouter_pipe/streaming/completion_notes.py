"""What an API client gets beside the words: the pages cited, and the thinking to send back."""

from __future__ import annotations

from typing import Any

from ..api.events import Citation, MessageItem, OutputItem, ReasoningItem, ToolOutputItem
from ..core.ids import PARSED_DETAIL
from ..core.json_values import JsonObject, objects_in


class CompletionNotes:
    """Gathers it over the answer, in chat completions' form."""

    __slots__ = ("_citations", "_details", "_files")

    def __init__(self) -> None:
        self._citations: dict[str, Citation] = {}
        self._details: list[JsonObject] = []
        self._files: list[JsonObject] = []

    def take(self, item: OutputItem) -> None:
        """Note what a finished item carries."""
        match item:
            case MessageItem():
                for citation in item.citations:
                    self._citations.setdefault(citation.url, citation)
            case ReasoningItem():
                for detail in item.details:
                    is_parsed = detail.get("type") == PARSED_DETAIL
                    self._files.extend(objects_in(detail.get("files")) if is_parsed else [])
                    self._details.extend([] if is_parsed else [detail])
            case ToolOutputItem():
                # Thinking belongs to the calls it led to, and those run here are not shown.
                self._details.clear()
            case _:
                pass

    def of_completion(self) -> dict[str, Any]:
        """The fields of the message, or of the last delta; empty where there is nothing."""
        notes: dict[str, Any] = {}
        if self._details:
            notes["reasoning_details"] = [
                {"index": place, **detail} for place, detail in enumerate(self._details)
            ]
        if self._citations or self._files:
            cited = [_annotation(found) for found in self._citations.values()]
            notes["annotations"] = [*cited, *self._files]
        return notes


def _annotation(citation: Citation) -> JsonObject:
    # Where in the text it stands the search engines often do not say: zeros, as OpenRouter sends.
    cited = {"url": citation.url, "title": citation.title, "start_index": 0, "end_index": 0}
    if citation.excerpt:
        cited["content"] = citation.excerpt
    return {"type": "url_citation", "url_citation": cited}
