"""Items of the answer as Open WebUI stores them in a message's `output` list."""

from __future__ import annotations

import base64

from ..api.events import (
    FunctionCallItem,
    ImageItem,
    MediaItem,
    MessageItem,
    ReasoningItem,
    ToolOutputItem,
)
from ..core.ids import PARSED_DETAIL
from ..core.json_values import as_object, objects_in, text_of
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


def image_part(item: ImageItem, index: int) -> HostEvent:
    """A picture as chat completions carry it, in `images`."""
    return {"type": "image_url", "image_url": {"url": item.data_url}, "index": index}


def audio_part(item: MediaItem) -> HostEvent:
    """Sound as chat completions carry it, in `audio`."""
    data = base64.b64encode(item.content).decode()
    return {"id": item.id, "data": data, "transcript": item.transcript, "expires_at": 0}


def reasoning_output(item: ReasoningItem) -> HostEvent:
    """A reasoning item; its details come back in the next turn's history."""
    reasoning: HostEvent = {
        "type": "reasoning",
        "id": item.id,
        "status": item.status,
        "summary": [{"type": "summary_text", "text": text} for text in _summary_to_show(item)],
    }
    if item.content:
        reasoning["content"] = [{"type": "reasoning_text", "text": text} for text in item.content]
    if item.details:
        reasoning["reasoning_details"] = item.details
    return reasoning


def _summary_to_show(item: ReasoningItem) -> list[str]:
    """The summary; where there was no thinking, what the card is there for."""
    files = [
        text_of(as_object(file.get("file")).get("name"))
        for detail in item.details
        if detail.get("type") == PARSED_DETAIL
        for file in objects_in(detail.get("files"))
    ]
    if not files or item.is_visible:
        return item.summary
    return [f"OpenRouter read {', '.join(filter(None, files)) or 'a document'} for this model."]


def function_call_output_item(call_id: str, text: str) -> HostEvent:
    """What a call brought back."""
    return {
        "type": "function_call_output",
        "id": f"fco_{call_id}",
        "call_id": call_id,
        "output": [{"type": "input_text", "text": text}],
        "status": "completed",
    }


def tool_output_item(item: ToolOutputItem) -> HostEvent:
    """What a call of one of our tools brought back, pictures, files and pages included."""
    stored = function_call_output_item(item.call_id, item.text) | {"status": item.status}
    # The chat keeps the address of a picture, not the picture itself.
    kept = [text_of(file.get("url")) for file in item.files if file.get("type") == "image"]
    images = [{"type": "input_image", "image_url": url} for url in kept or item.images]
    stored["output"] = [*stored["output"], *images]
    shown = {"files": item.files, "embeds": item.embeds}
    return stored | {name: entries for name, entries in shown.items() if entries}


def function_call_item(item: FunctionCallItem) -> HostEvent:
    """A call of a tool; without an output Open WebUI runs it when the stream ends."""
    return {
        "type": "function_call",
        "id": item.id,
        "call_id": item.call_id,
        "name": item.name,
        "arguments": item.arguments or ("{}" if item.status == "completed" else ""),
        "status": item.status,
    }
