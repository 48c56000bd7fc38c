"""Items of the answer as Open WebUI stores them in a message's `output` list."""

from __future__ import annotations

from ..api.events import MessageItem, ReasoningItem
from .renderer import HostEvent


def output_text_part(text: str) -> HostEvent:
    """Text in the only kind of part that the next turn's history keeps."""
    return {"type": "output_text", "text": text, "annotations": []}


def message_output(item: MessageItem, status: str, content: list[HostEvent]) -> HostEvent:
    """A message item."""
    message: HostEvent = {
        "type": "message",
        "id": item.id,
        "status": status,
        "role": "assistant",
        "content": content,
    }
    return message | {"phase": item.phase} if item.phase else message


def reasoning_output(item: ReasoningItem) -> HostEvent:
    """A reasoning item."""
    reasoning: HostEvent = {
        "type": "reasoning",
        "id": item.id,
        "status": item.status,
        "summary": [{"type": "summary_text", "text": text} for text in item.summary],
    }
    if item.content:
        reasoning["content"] = [{"type": "reasoning_text", "text": text} for text in item.content]
    return reasoning
