"""Output items, citations and usage of the Responses API, read into values."""

from __future__ import annotations

from typing import Any

from ...core.json_values import JsonObject, as_object, number_of, objects_in, text_of, whole_of
from ..events import (
    Citation,
    Event,
    FunctionCallItem,
    ImageItem,
    MessageItem,
    Notice,
    OtherItem,
    OutputItem,
    ReasoningItem,
    ServerToolItem,
    Usage,
)

_IMAGE_TYPES = frozenset({"image_generation_call", "openrouter:image_generation"})
_HOSTED_TOOL_TYPES = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "computer_call"}
)


def read_item(item: JsonObject) -> OutputItem:
    """Read one output item; a kind this version does not know keeps its name only."""
    kind = text_of(item.get("type"))
    item_id = text_of(item.get("id"))
    status = text_of(item.get("status")) or "completed"
    if kind == "message":
        return _read_message(item, item_id, status)
    if kind == "reasoning":
        return _read_reasoning(item, item_id, status)
    if kind == "function_call":
        return FunctionCallItem(
            id=item_id,
            call_id=text_of(item.get("call_id")),
            name=text_of(item.get("name")),
            arguments=text_of(item.get("arguments")),
            status=status,
        )
    if kind in _IMAGE_TYPES:
        return ImageItem(id=item_id, data_url=_image_url_of(item), status=status)
    if kind in _HOSTED_TOOL_TYPES or kind.startswith("openrouter:"):
        details = {key: value for key, value in item.items() if key not in ("id", "type", "status")}
        return ServerToolItem(id=item_id, type=kind, details=details, status=status)
    return OtherItem(id=item_id, type=kind)


def _read_message(item: JsonObject, item_id: str, status: str) -> MessageItem:
    parts = objects_in(item.get("content"))
    annotations = [note for part in parts for note in objects_in(part.get("annotations"))]
    return MessageItem(
        id=item_id,
        text="".join(_words(part, "text") or _words(part, "refusal") for part in parts),
        is_refusal=any(part.get("type") == "refusal" for part in parts),
        citations=[found for note in annotations if (found := read_citation(note)) is not None],
        phase=text_of(item.get("phase")),
        status=status,
    )


def _read_reasoning(item: JsonObject, item_id: str, status: str) -> ReasoningItem:
    return ReasoningItem(
        id=item_id,
        summary=[_words(part, "text") for part in objects_in(item.get("summary"))],
        content=[_words(part, "text") for part in objects_in(item.get("content"))],
        details=_replay_details(item),
        status=status,
    )


def _words(part: JsonObject, name: str) -> str:
    """The text of a part: what the deltas said must not give way to a number."""
    text = part.get(name)
    return text if isinstance(text, str) else ""


def _replay_details(item: JsonObject) -> list[JsonObject]:
    """What the API needs back: the encrypted blob, or the raw text with its signature.

    Text that is neither encrypted nor signed may be left out of the next request.
    """
    tag = {key: item[key] for key in ("id", "format") if item.get(key)}
    encrypted, signature = text_of(item.get("encrypted_content")), text_of(item.get("signature"))
    details: list[JsonObject] = []
    if signature:
        text = "".join(text_of(part.get("text")) for part in objects_in(item.get("content")))
        details.append({"type": "reasoning.text", "text": text, "signature": signature, **tag})
    if encrypted:
        details.append({"type": "reasoning.encrypted", "data": encrypted, **tag})
    if details:
        summary = [text_of(part.get("text")) for part in objects_in(item.get("summary"))]
        details[:0] = [{"type": "reasoning.summary", "summary": text, **tag} for text in summary]
    return details


def _image_url_of(item: JsonObject) -> str:
    """The picture as a data URL: OpenRouter sends one, other servers bare base64."""
    data = text_of(item.get("result")) or text_of(item.get("imageB64"))
    if not data:
        return text_of(item.get("imageUrl"))
    return picture_address(data)


def picture_address(data: str) -> str:
    """A picture that came as base64 as a data URL; an address stays as it is."""
    return data if data.startswith(("data:", "https:")) else f"data:image/png;base64,{data}"


def read_citation(annotation: JsonObject) -> Citation | None:
    """Read a `url_citation`, flat (Responses) or nested (chat completions)."""
    if annotation.get("type") != "url_citation":
        return None
    fields = as_object(annotation.get("url_citation")) or annotation
    url = text_of(fields.get("url"))
    if not url:
        return None
    return Citation(url, text_of(fields.get("title")), text_of(fields.get("content")))


def trimming_notices(answer: JsonObject) -> list[Event]:
    """What the person should know when OpenRouter has shortened the chat."""
    stages = objects_in(as_object(answer.get("openrouter_metadata")).get("pipeline"))
    if not any(stage.get("type") == "context_compression" for stage in stages):
        return []
    return [
        Notice(
            "\N{WARNING SIGN} The chat was too long: its middle was left out", in_closing_line=True
        )
    ]


def read_usage(value: Any) -> Usage | None:
    """Read the usage of an answer, of either endpoint; `None` when there is none."""
    usage = as_object(value)
    if not usage:
        return None
    inputs = as_object(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"))
    outputs = as_object(
        usage.get("output_tokens_details") or usage.get("completion_tokens_details")
    )
    is_byok = usage.get("is_byok")
    return Usage(
        input_tokens=_first_whole(usage.get("input_tokens"), usage.get("prompt_tokens")),
        output_tokens=_first_whole(usage.get("output_tokens"), usage.get("completion_tokens")),
        total_tokens=whole_of(usage.get("total_tokens")),
        cached_tokens=whole_of(inputs.get("cached_tokens")),
        cache_write_tokens=whole_of(inputs.get("cache_write_tokens")),
        reasoning_tokens=whole_of(outputs.get("reasoning_tokens")),
        cost=number_of(usage.get("cost")),
        is_byok=is_byok if isinstance(is_byok, bool) else None,
        cost_details=_numbers_in(usage.get("cost_details")),
    )


def _first_whole(*candidates: Any) -> int | None:
    return next((number for number in map(whole_of, candidates) if number is not None), None)


def _numbers_in(value: Any) -> dict[str, float]:
    pairs = as_object(value).items()
    return {key: number for key, part in pairs if (number := number_of(part)) is not None}
