"""Text that came with the end of its part, where neither deltas nor the item's end brought it."""

from __future__ import annotations

from ...core.json_values import JsonObject, as_object, text_of, whole_of
from ..events import FunctionCallItem, ItemFinished, MessageItem, OutputItem, ReasoningItem

# Of each event that ends a part: which part of which kind of item, and the field with its words.
_ENDS = {
    "response.output_text.done": ("message", "content_index", "text"),
    "response.refusal.done": ("refusal", "content_index", "refusal"),
    "response.reasoning_text.done": ("content", "content_index", "text"),
    "response.reasoning_summary_text.done": ("summary", "summary_index", "text"),
    "response.function_call_arguments.done": ("arguments", "", "arguments"),
}
# The events that hold the part itself repeat what these say; its type tells the kind.
_PART_ENDS = {
    "response.content_part.done": "content_index",
    "response.reasoning_summary_part.done": "summary_index",
}
_KINDS_OF_PART = {
    "output_text": ("message", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("content", "text"),
    "summary_text": ("summary", "text"),
}


class PartEnds:
    """Remembers what the parts of an answer ended with, by the place of their item."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[int, dict[tuple[str, int], str]] = {}

    def take(self, data: JsonObject) -> None:
        """Note the event, if it is one that ends a part."""
        kind = text_of(data.get("type"))
        if kind in _PART_ENDS:
            part = as_object(data.get("part"))
            name, words = _KINDS_OF_PART.get(text_of(part.get("type")), ("", ""))
            position, text = data.get(_PART_ENDS[kind]), part.get(words)
        else:
            name, index, words = _ENDS.get(kind, ("", "", ""))
            position, text = data.get(index), data.get(words)
        place = whole_of(data.get("output_index", 0))
        if name and place is not None and place >= 0 and isinstance(text, str) and text:
            self._texts.setdefault(place, {})[name, whole_of(position) or 0] = text

    def items(self) -> list[ItemFinished]:
        """The items that the parts belong to, as far as they are known."""
        return [ItemFinished(place, _item_with(parts)) for place, parts in self._texts.items()]


def _item_with(parts: dict[tuple[str, int], str]) -> OutputItem:
    texts: dict[str, list[str]] = {name: [] for name, _ in parts}
    for (name, _), text in sorted(parts.items(), key=lambda entry: entry[0][1]):
        texts[name].append(text)
    if "arguments" in texts:
        return FunctionCallItem("", "", "", texts["arguments"][0])
    if "content" in texts or "summary" in texts:
        return ReasoningItem("", texts.get("summary", []), texts.get("content", []))
    words = "".join(text for _, text in sorted(parts.items(), key=lambda entry: entry[0][1]))
    return MessageItem("", words, is_refusal="refusal" in texts)
