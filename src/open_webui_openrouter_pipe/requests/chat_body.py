"""The same request as a chat-completions body, for what the Responses API cannot carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..api.bodies import ChatBody, CompletionsBody, ResponsesBody
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from .caching import mark_breakpoints
from .content_parts import chat_parts, parts_only_chat_takes
from .replay import MADE_UP_ID

CHAT_ONLY_FIELDS = (
    "stop",
    "seed",
    "min_p",
    "top_a",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "prediction",
    "audio",
)
"""Parameters that only `/chat/completions` takes (schema `ChatRequest`)."""

_SAME_FIELDS = (
    "model",
    "models",
    "temperature",
    "top_p",
    "top_k",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "reasoning",
    "modalities",
    "image_config",
    "plugins",
    "provider",
    "service_tier",
    "prompt_cache_key",
    "cache_control",
    "session_id",
    "user",
    "metadata",
    "trace",
    "parallel_tool_calls",
    "stop_server_tools_when",
)


def needs_chat_endpoint(body: CompletionsBody) -> list[str]:
    """What the caller asks for and `/responses` would refuse or ignore."""
    needed = [name for name in CHAT_ONLY_FIELDS if body.get(name) not in (None, "", [], {})]
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities and "audio" not in needed:
        needed.append("audio")
    return [*needed, *parts_only_chat_takes(objects_in(body.get("messages")))]


def build_chat_body(request: ResponsesBody, body: CompletionsBody) -> ChatBody:
    """Derive the chat request from the Responses request and the caller's chat-only parameters."""
    sent = cast("Mapping[str, Any]", request)
    fields: dict[str, Any] = {name: sent[name] for name in _SAME_FIELDS if name in sent}
    fields |= {name: body[name] for name in CHAT_ONLY_FIELDS if body.get(name) is not None}
    fields["messages"] = build_messages(request.get("input", []))
    if "max_output_tokens" in request:
        fields["max_tokens"] = request["max_output_tokens"]
    text = request.get("text", {})
    if "format" in text:
        fields["response_format"] = _nested_format(as_object(text["format"]))
    if "verbosity" in text:
        fields["verbosity"] = text["verbosity"]
    if "tools" in request:
        fields["tools"] = [_nested_function(tool) for tool in request["tools"]]
    if "tool_choice" in request:
        fields["tool_choice"] = _nested_choice(request["tool_choice"])
    if cache_control := fields.get("cache_control"):
        mark_breakpoints(fields["messages"], fields.get("tools", ()), cache_control)
    return cast("ChatBody", fields)


def build_messages(items: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """Turn input items into chat messages; what one answer consists of becomes one message."""
    messages: list[JsonObject] = []
    for item in items:
        match item.get("type"):
            case "function_call_output":
                output = item["output"]
                content = output if isinstance(output, str) else chat_parts(objects_in(output))
                answered = {"tool_call_id": item["call_id"], "content": content}
                messages.append({"role": "tool", **answered})
            case "function_call":
                _last_answer(messages).setdefault("tool_calls", []).append(_nested_call(item))
            case "reasoning":
                details = _last_answer(messages).setdefault("reasoning_details", [])
                details.extend(_details(item, len(details)))
            case _ if item.get("role") == "assistant":
                message = _last_answer(messages)
                message["content"] = (message["content"] or "") + text_of(item.get("content"))
            case _:
                content = chat_parts(objects_in(item.get("content")))
                messages.append({"role": item.get("role"), "content": content})
    return messages


def _last_answer(messages: list[JsonObject]) -> JsonObject:
    """The assistant message that is being put together."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _nested_call(item: Mapping[str, Any]) -> JsonObject:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _details(item: Mapping[str, Any], first_index: int) -> list[JsonObject]:
    """A reasoning item as the details it came from."""
    tag = {key: item[key] for key in ("id", "format") if item.get(key)}
    if text_of(tag.get("id")).startswith(MADE_UP_ID):
        del tag["id"]
    details: list[JsonObject] = [
        {"type": "reasoning.summary", "summary": part["text"], **tag}
        for part in objects_in(item.get("summary"))
    ]
    if item.get("signature") or item.get("content"):
        text = "".join(text_of(part.get("text")) for part in objects_in(item.get("content")))
        signed = {"signature": item["signature"]} if item.get("signature") else {}
        details.append({"type": "reasoning.text", "text": text, **signed, **tag})
    if item.get("encrypted_content"):
        details.append({"type": "reasoning.encrypted", "data": item["encrypted_content"], **tag})
    return [{**detail, "index": first_index + n} for n, detail in enumerate(details)]


def _nested_function(tool: JsonObject) -> JsonObject:
    if tool.get("type") != "function":
        return tool
    function = {key: value for key, value in tool.items() if key not in ("type", "cache_control")}
    caching = {"cache_control": tool["cache_control"]} if tool.get("cache_control") else {}
    return {"type": "function", "function": function, **caching}


def _nested_choice(choice: str | JsonObject) -> str | JsonObject:
    if isinstance(choice, str) or choice.get("type") != "function":
        return choice
    return {"type": "function", "function": {"name": choice.get("name")}}


def _nested_format(answer_format: JsonObject) -> JsonObject:
    if answer_format.get("type") != "json_schema":
        return answer_format
    schema = {key: value for key, value in answer_format.items() if key != "type"}
    return {"type": "json_schema", "json_schema": schema}
