"""An answer as the chunks of POST /chat/completions, and as its whole body."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from .answers import (
    Answer,
    AnswerItem,
    FunctionCall,
    GeneratedImage,
    Message,
    Reasoning,
    Speech,
)
from .identifiers import generation_id

Chunk = dict[str, Any]

# The vendor's own word for how an answer ended.
_NATIVE_FINISH = {
    "OpenAI": {
        "stop": "completed",
        "tool_calls": "completed",
        "length": "max_output_tokens",
    },
    "Anthropic": {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"},
    "Google": {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"},
}


def chat_chunks(answer: Answer, model: str, provider: str, usage: Chunk | None) -> list[Chunk]:
    """All chunks of an answer; the last one repeats the finish reason and carries the usage."""
    head = _head("chat.completion.chunk", model, provider)
    chunks = [_chunk(head, delta) for delta in _deltas(answer)]
    finish = {"service_tier": "default"} if provider == "OpenAI" else {}
    ended = _chunk(head | finish, {"content": "", "role": "assistant"}, answer.finish_reason)
    chunks.append(ended)
    return [*chunks, {**ended, "usage": usage}]


def chat_body(answer: Answer, model: str, provider: str, usage: Chunk | None) -> Chunk:
    """The whole body of an answer that is not streamed."""
    message: Chunk = {"role": "assistant", "content": None, "refusal": None, "reasoning": None}
    for delta in _deltas(Answer(tuple(_in_one_piece(item) for item in answer.items))):
        _merge_delta(message, delta)
    choice = {
        "index": 0,
        "logprobs": None,
        **_finish(answer.finish_reason, provider),
        "message": message,
    }
    head = _head("chat.completion", model, provider)
    return {**head, "system_fingerprint": None, "choices": [choice], "usage": usage}


def _head(kind: str, model: str, provider: str) -> Chunk:
    created = int(time.time())
    return {
        "id": generation_id(),
        "object": kind,
        "created": created,
        "model": model,
        "provider": provider,
    }


def _finish(reason: str | None, provider: str) -> Chunk:
    native = _NATIVE_FINISH.get(provider, {}).get(reason or "", reason)
    return {"finish_reason": reason, "native_finish_reason": native}


def _chunk(head: Chunk, delta: Chunk, reason: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, **_finish(reason, head["provider"])}
    return {**head, "choices": [choice]}


def _in_one_piece(item: AnswerItem) -> AnswerItem:
    if isinstance(item, Message):
        return replace(item, pieces=(item.text,))
    if isinstance(item, Reasoning):
        return replace(item, pieces=(item.text,) if item.pieces else ())
    if isinstance(item, FunctionCall):
        return replace(item, pieces=(item.arguments,))
    return item


def _deltas(answer: Answer) -> Iterator[Chunk]:
    calls = 0
    for item in answer.items:
        yield from _item_deltas(item, calls)
        calls += isinstance(item, FunctionCall)


def _item_deltas(item: AnswerItem, call_index: int) -> Iterator[Chunk]:
    if isinstance(item, Message):
        key = "refusal" if item.refusal else "content"
        for piece in item.pieces:
            yield {"content": "", "role": "assistant", key: piece}
        for annotation in item.annotations:
            yield {"content": "", "role": "assistant", "annotations": [_nested(annotation)]}
    elif isinstance(item, Reasoning):
        yield from _reasoning_deltas(item)
    elif isinstance(item, FunctionCall):
        yield from _call_deltas(item, call_index)
    elif isinstance(item, Speech):
        yield from _speech_deltas(item)
    elif isinstance(item, GeneratedImage):
        image = {"type": "image_url", "image_url": {"url": item.data_url}, "index": 0}
        yield {"content": "", "role": "assistant", "images": [image]}


def _speech_deltas(item: Speech) -> Iterator[Chunk]:
    for piece in item.transcript:
        yield {"content": "", "role": "assistant", "audio": {"transcript": piece}}
    for piece in item.sound:
        yield {"content": "", "role": "assistant", "audio": {"data": piece}}
    yield {"content": "", "role": "assistant", "audio": {"expires_at": int(time.time()) + 3600}}


def _nested(annotation: Chunk) -> Chunk:
    fields = {key: value for key, value in annotation.items() if key != "type"}
    return {"type": annotation["type"], annotation["type"]: fields}


def _reasoning_deltas(item: Reasoning) -> Iterator[Chunk]:
    key = "summary" if item.form == "summary" else "text"
    base = {"type": f"reasoning.{key}"}
    tail = {"format": item.format, "index": 0}
    for piece in item.pieces:
        detail = {**base, key: piece, **tail}
        yield _reasoning_delta(piece, detail)
    if item.signature:
        yield _reasoning_delta(None, {**base, "signature": item.signature, **tail})
    if item.encrypted_content:
        encrypted = {"type": "reasoning.encrypted", "data": item.encrypted_content, **tail}
        yield _reasoning_delta(None, encrypted)


def _reasoning_delta(text: str | None, detail: Chunk) -> Chunk:
    return {
        "content": "",
        "role": "assistant",
        "reasoning": text,
        "reasoning_details": [detail],
    }


def _call_deltas(item: FunctionCall, index: int) -> Iterator[Chunk]:
    first = {
        "index": index,
        "id": item.call_id,
        "type": "function",
        "function": {"name": item.name, "arguments": ""},
    }
    yield {"content": None, "role": "assistant", "tool_calls": [first]}
    for piece in item.pieces:
        more = {"index": index, "function": {"arguments": piece}}
        yield {"content": None, "role": "assistant", "tool_calls": [more]}


def _merge_delta(message: Chunk, delta: Chunk) -> None:
    for key in ("content", "reasoning", "refusal"):
        if delta.get(key):
            message[key] = (message[key] or "") + delta[key]
    for key in ("annotations", "images", "reasoning_details"):
        if key in delta:
            message.setdefault(key, []).extend(delta[key])
    for key, piece in delta.get("audio", {}).items():
        spoken = message.setdefault("audio", {"data": "", "transcript": ""})
        spoken[key] = spoken[key] + piece if isinstance(piece, str) else piece
    for call in delta.get("tool_calls", ()):
        _merge_call(message.setdefault("tool_calls", []), call)


def _merge_call(calls: list[Chunk], call: Chunk) -> None:
    if "id" in call:
        calls.append({**call, "function": dict(call["function"])})
    else:
        calls[call["index"]]["function"]["arguments"] += call["function"]["arguments"]
