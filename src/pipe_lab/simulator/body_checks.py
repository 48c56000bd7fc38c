"""Refuses bodies whose form is wrong, as OpenRouter does before it looks for a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .error_bodies import error_plain, error_validation
from .replies import Reply

Json = dict[str, Any]
Issue = dict[str, Any]

EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ITEM_TYPES = _names(
    """
    message reasoning function_call function_call_output custom_tool_call
    custom_tool_call_output web_search_call file_search_call image_generation_call
    code_interpreter_call computer_call computer_call_output item_reference compaction
    context_compaction additional_tools agent_message local_shell_call local_shell_call_output
    shell_call shell_call_output apply_patch_call apply_patch_call_output mcp_call
    mcp_list_tools mcp_approval_request mcp_approval_response
    """
)
_INPUT_PARTS = _names(
    """
    input_text input_image input_file input_audio input_video
    """
)
_OUTPUT_PARTS = frozenset({"output_text", "refusal"})
_TOOL_TYPES = _names(
    """
    function custom namespace local_shell shell apply_patch computer_use_preview web_search
    web_search_2025_08_26 web_search_preview web_search_preview_2025_03_11 file_search
    code_interpreter mcp image_generation
    """
)
_SERVER_TOOLS = _names(
    """
    web_search web_fetch datetime image_generation files advisor subagent fusion
    experimental__search_models apply_patch bash shell tool_search
    """
)
_ONLY_RESPONSES = frozenset(
    {"openrouter:shell", "openrouter:apply_patch", "openrouter:tool_search"}
)
_INCLUDES = _names(
    """
    reasoning.encrypted_content file_search_call.results message.input_image.image_url
    computer_call_output.output.image_url code_interpreter_call.outputs
    """
)
_REQUIRED = {
    "message": ("role", "content"),
    "reasoning": ("id", "summary"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
}
_CHAT_PARTS = _names(
    """
    text image_url input_audio file video_url
    """
)
_CHAT_ROLES = _names(
    """
    system developer user assistant tool
    """
)
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def check_body(path: str, body: Any) -> Reply | None:
    """The refusal of a malformed body, or None."""
    if not isinstance(body, dict):
        return Reply(status=400, body=error_plain(400, "Request body is not a JSON object"))
    return _check_responses(body) if path == "/responses" else _check_chat(body)


def _check_responses(body: Json) -> Reply | None:
    if not body.get("model") and not body.get("models"):
        missing = error_validation("Missing required parameter: 'model'.")
        return Reply(status=400, body=missing)
    issues = [*_field_issues(body), *_input_issues(body.get("input")), *_tool_issues(body)]
    if issues:
        refusal = error_validation("Invalid Responses API request", issues)
        return Reply(status=400, body=refusal)
    return _check_common(body)


def _check_chat(body: Json) -> Reply | None:
    if not body.get("model") and not body.get("models"):
        return _refuse("No models provided")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return _refuse('Input required: specify "prompt" or "messages"')
    for number, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _CHAT_ROLES:
            return _refuse(f"messages.{number}.role: Invalid option")
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            if part.get("type") not in _CHAT_PARTS:
                return _refuse(f"messages.{number}.content: Invalid input")
    if "audio" in (body.get("modalities") or ()) and (refusal := _check_audio(body)):
        return refusal
    for number, tool in enumerate(body.get("tools") or ()):
        kind = tool.get("type", "")
        nested = kind == "function" and isinstance(tool.get("function"), dict)
        if not (nested or kind == "web_search" or _is_server_tool(kind)) or kind in _ONLY_RESPONSES:
            return _refuse(f"tools.{number}: Invalid input")
    return _check_common(body)


def _check_audio(body: Json) -> Reply | None:
    if not body.get("stream"):
        return _refuse("Audio output requires stream: true")
    audio_format = (body.get("audio") or {}).get("format")
    if str(body.get("model")).startswith("openai/") and audio_format != "pcm16":
        return _refuse(
            f"Unsupported value: 'audio.format' does not support '{audio_format}' when "
            "stream=true. Supported values are: 'pcm16'."
        )
    return None


def _check_common(body: Json) -> Reply | None:
    reasoning = body.get("reasoning") or {}
    effort = reasoning.get("effort") or body.get("reasoning_effort")
    if effort is not None and effort not in EFFORTS:
        options = "|".join(f'"{option}"' for option in EFFORTS)
        return _refuse(f"reasoning.effort: Invalid option: expected one of {options}")
    if effort is not None and reasoning.get("max_tokens") is not None:
        both = 'Only one of "reasoning.effort" and "reasoning.max_tokens" can be specified'
        return _refuse(both)
    for key, low, high in (("temperature", 0, 2), ("top_p", 0, 1)):
        value = body.get(key)
        if value is not None and not (isinstance(value, int | float) and low <= value <= high):
            return _refuse(f"{key}: Invalid input: expected a number from {low} to {high}")
    return None


def _refuse(message: str) -> Reply:
    return Reply(status=400, body=error_plain(400, message))


def _issue(path: list[Any], message: str = "Invalid input") -> Issue:
    return {"code": "invalid_union", "errors": [], "path": path, "message": message}


def _field_issues(body: Json) -> Iterator[Issue]:
    if body.get("store"):
        yield _issue(["store"], "Invalid input: expected false")
    if body.get("previous_response_id") is not None:
        yield _issue(["previous_response_id"], "Invalid input: expected null")
    for number, value in enumerate(body.get("include") or ()):
        if value not in _INCLUDES:
            yield _issue(["include", number], "Invalid option")
    for value in body.get("modalities") or ():
        if value not in ("text", "image"):
            yield _issue(["modalities"], "Invalid option")
    for key, limit in (("user", 256), ("session_id", 256)):
        if len(body.get(key) or "") > limit:
            yield _issue([key], f"Too big: expected string to have <={limit} characters")
    yield from _metadata_issues(body.get("metadata") or {})


def _metadata_issues(metadata: Json) -> Iterator[Issue]:
    if len(metadata) > 16:
        yield _issue(["metadata"], "Too many pairs")
    for key, value in metadata.items():
        if not isinstance(value, str) or len(key) > 64 or len(value) > 512 or set("[]") & set(key):
            yield _issue(["metadata", key])


def _input_issues(entries: Any) -> Iterator[Issue]:
    if entries is None or isinstance(entries, str):
        return
    if not isinstance(entries, list):
        yield _issue(["input"])
        return
    for number, item in enumerate(entries):
        if not isinstance(item, dict) or not _valid_item(item):
            yield _issue(["input", number])


def _valid_item(item: Json) -> bool:
    kind = item.get("type", "message")
    if kind not in _ITEM_TYPES and not kind.startswith("openrouter:"):
        return False
    if any(key not in item for key in _REQUIRED.get(kind, ())):
        return False
    if kind == "message":
        return _valid_message(item)
    if kind == "function_call":
        return isinstance(item["arguments"], str)
    if kind == "function_call_output":
        return _valid_content(item["output"], _INPUT_PARTS)
    return True


def _valid_message(item: Json) -> bool:
    role = item.get("role")
    if role not in ("user", "system", "assistant", "developer"):
        return False
    return _valid_content(item["content"], _OUTPUT_PARTS if role == "assistant" else _INPUT_PARTS)


def _valid_content(content: Any, allowed: frozenset[str]) -> bool:
    if isinstance(content, str):
        return True
    if not isinstance(content, list):
        return False
    return all(isinstance(part, dict) and _valid_part(part, allowed) for part in content)


def _valid_part(part: Json, allowed: frozenset[str]) -> bool:
    kind = part.get("type")
    if kind not in allowed:
        return False
    if kind in ("input_text", "output_text"):
        return isinstance(part.get("text"), str) and "cache_control" not in part
    if kind == "input_image":
        return isinstance(part.get("image_url"), str)
    if kind == "input_audio":
        audio = part.get("input_audio")
        return isinstance(audio, dict) and audio.get("format") in ("mp3", "wav")
    if kind == "input_file":
        return any(key in part for key in ("file_data", "file_url", "file_id"))
    return isinstance(part.get("video_url" if kind == "input_video" else "refusal"), str)


def _tool_issues(body: Json) -> Iterator[Issue]:
    for number, tool in enumerate(body.get("tools") or ()):
        kind = tool.get("type", "") if isinstance(tool, dict) else ""
        if kind not in _TOOL_TYPES and not _is_server_tool(kind):
            yield _issue(["tools", number])
        elif kind == "function" and not _FUNCTION_NAME.fullmatch(str(tool.get("name", ""))):
            yield _issue(["tools", number, "name"])


def _is_server_tool(kind: str) -> bool:
    prefix, _, name = kind.partition(":")
    return prefix == "openrouter" and name in _SERVER_TOOLS
