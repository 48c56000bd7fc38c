"""What a request asks, read from either API's body into one form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson

Json = dict[str, Any]

_PART_KINDS = {
    "input_image": "image",
    "image_url": "image",
    "input_file": "file",
    "file": "file",
    "input_audio": "audio",
    "input_video": "video",
    "video_url": "video",
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One thing said: by whom, the words, and what was attached (image, file, audio, video)."""

    role: str
    text: str
    attachments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A function the client offers."""

    name: str
    parameters: Json


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a call returned."""

    name: str
    output: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request in one form for both APIs."""

    turns: tuple[Turn, ...]
    tools: tuple[OfferedTool, ...]
    server_tools: tuple[str, ...]
    tool_outputs: tuple[ToolOutput, ...]
    tool_choice: Any
    reasoning: Json
    include: tuple[str, ...]
    max_output_tokens: int | None
    response_format: Json
    modalities: tuple[str, ...]
    cacheable: bool

    @property
    def prompt(self) -> str:
        """The newest words of the user."""
        return next((turn.text for turn in reversed(self.turns) if turn.role == "user"), "")

    @property
    def earlier(self) -> list[str]:
        """What the user said before that."""
        return [turn.text for turn in self.turns if turn.role == "user"][:-1]

    @property
    def attachments(self) -> set[str]:
        """Every kind of attachment anywhere in the conversation."""
        return {kind for turn in self.turns for kind in turn.attachments}


def read_conversation(path: str, body: Json) -> Conversation:
    """Read a body of `/responses` or `/chat/completions`; never fails on what it does not know."""
    return _from_responses(body) if path == "/responses" else _from_chat(body)


def _from_responses(body: Json) -> Conversation:
    entries = body.get("input") or []
    if isinstance(entries, str):
        entries = [{"role": "user", "content": entries}]
    turns = [Turn("system", body["instructions"])] if body.get("instructions") else []
    turns += [_turn_of_item(item) for item in entries if isinstance(item, dict)]
    names = {
        item.get("call_id"): item.get("name", "")
        for item in entries
        if item.get("type") == "function_call"
    }
    outputs = [
        ToolOutput(names.get(item.get("call_id")) or "tool", _text_of(item.get("output")))
        for item in _after_last_user(entries)
        if item.get("type") == "function_call_output"
    ]
    tools = [tool for tool in body.get("tools") or () if tool.get("type") == "function"]
    return Conversation(
        turns=tuple(turns),
        tools=tuple(OfferedTool(tool["name"], tool.get("parameters") or {}) for tool in tools),
        server_tools=_server_tools(body),
        tool_outputs=tuple(outputs),
        tool_choice=body.get("tool_choice"),
        reasoning=body.get("reasoning") or {},
        include=tuple(body.get("include") or ()),
        max_output_tokens=body.get("max_output_tokens"),
        response_format=(body.get("text") or {}).get("format") or {},
        modalities=tuple(body.get("modalities") or ()),
        cacheable=_asks_for_cache(body),
    )


def _from_chat(body: Json) -> Conversation:
    messages = [message for message in body.get("messages") or () if isinstance(message, dict)]
    names: dict[str, str] = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            names[call.get("id", "")] = (call.get("function") or {}).get("name", "")
    outputs = [
        ToolOutput(
            names.get(message.get("tool_call_id", "")) or "tool", _text_of(message.get("content"))
        )
        for message in _after_last_user(messages)
        if message.get("role") == "tool"
    ]
    tools = [tool.get("function") or {} for tool in body.get("tools") or ()]
    effort = {"effort": body["reasoning_effort"]} if body.get("reasoning_effort") else {}
    response_format = body.get("response_format") or {}
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    return Conversation(
        turns=tuple(_turn_of_message(message) for message in messages),
        tools=tuple(
            OfferedTool(tool["name"], tool.get("parameters") or {}) for tool in tools if tool
        ),
        server_tools=_server_tools(body),
        tool_outputs=tuple(outputs),
        tool_choice=body.get("tool_choice"),
        reasoning=effort | (body.get("reasoning") or {}),
        include=("reasoning.encrypted_content",),
        max_output_tokens=limit,
        response_format={**response_format, **(response_format.get("json_schema") or {})},
        modalities=tuple(body.get("modalities") or ()),
        cacheable=_asks_for_cache(body),
    )


def _turn_of_item(item: Json) -> Turn:
    kind = item.get("type", "message")
    if kind == "message":
        return Turn(item.get("role", "user"), *_read_content(item.get("content")))
    if kind == "function_call":
        return Turn("call", f"{item.get('name')} {item.get('arguments')}")
    if kind.endswith("_output"):
        return Turn("tool", *_read_content(item.get("output")))
    return Turn(kind, _text_of(item.get("content")) + _text_of(item.get("summary")))


def _turn_of_message(message: Json) -> Turn:
    calls = "".join(
        f"{call.get('function', {}).get('name')} {call.get('function', {}).get('arguments')}"
        for call in message.get("tool_calls") or ()
    )
    text, attachments = _read_content(message.get("content"))
    return Turn(message.get("role", "user"), text + calls, attachments)


def _read_content(content: Any) -> tuple[str, tuple[str, ...]]:
    if not isinstance(content, list):
        return _text_of(content), ()
    kinds = [_PART_KINDS.get(part.get("type", "")) for part in content if isinstance(part, dict)]
    return _text_of(content), tuple(kind for kind in kinds if kind)


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict))
        return "\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
    return "" if content is None else orjson.dumps(content).decode()


def _after_last_user(entries: Iterable[Any]) -> list[Json]:
    kept: list[Json] = []
    for entry in entries:
        if isinstance(entry, dict):
            kept = [] if entry.get("role") == "user" else [*kept, entry]
    return kept


def _server_tools(body: Json) -> tuple[str, ...]:
    offered = [tool.get("type", "") for tool in body.get("tools") or ()]
    offered += [plugin.get("id", "") for plugin in body.get("plugins") or ()]
    if str(body.get("model", "")).endswith(":online"):
        offered.append("web")
    return tuple(kind for kind in offered if kind != "function")


def _asks_for_cache(body: Json) -> bool:
    if body.get("cache_control"):
        return True
    entries = body.get("input") or body.get("messages") or ()
    for entry in entries if isinstance(entries, list) else ():
        content = entry.get("content") if isinstance(entry, dict) else None
        for part in content if isinstance(content, list) else ():
            if {"cache_control", "prompt_cache_breakpoint"} & part.keys():
                return True
    return False
