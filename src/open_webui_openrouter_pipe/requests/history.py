"""Chat messages become input items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..core.ids import LAYOUT_DETAIL, SERVER_TOOL_CALL_PREFIX, api_tool_name
from ..core.json_values import as_object, objects_in, text_of
from .content_parts import input_parts
from .parsed_files import parsed_items
from .replay import call_arguments, in_their_order, reasoning_items

InputItem = dict[str, Any]

_ROLES = frozenset({"system", "developer", "user"})


def build_input(
    messages: Sequence[Mapping[str, Any]], *, keep_results: bool = True, chat_id: str = ""
) -> list[InputItem]:
    """Turn the messages Open WebUI sends into the `input` of a Responses request, in order.

    Messages that say nothing, such as the place of an answer that failed, are left out;
    so are tool calls without their result and results without their call. `keep_results` says
    whether tools' results of earlier turns go out too, `chat_id` which chat they are of.
    """
    pairs = _find_pairs(messages)
    if not keep_results:
        begin = _newest_turn(messages)
        pairs = {place: call_ids for place, call_ids in pairs.items() if place > begin}
    items: list[InputItem] = []
    for place, message in enumerate(messages):
        role = text_of(message.get("role"))
        if role in _ROLES:
            items.extend(_spoken_item(role, message))
        elif role == "assistant":
            details = objects_in(message.get("reasoning_details"))
            items.extend(parsed_items(message, chat_id, details))
            items.extend(_assistant_items(message, pairs.get(place, set())))
        elif place in pairs:
            items.append(_tool_output(message))
    return items


def call_ids_in(body: Mapping[str, Any]) -> set[str]:
    """The ids of the calls that earlier answers made."""
    messages = objects_in(body.get("messages"))
    return {call_id for message in messages for call_id, _ in _calls_in(message)}


def _find_pairs(messages: Sequence[Mapping[str, Any]]) -> dict[int, set[str]]:
    """The ids of the calls that have their result after them, at the places of both."""
    waiting: dict[str, int] = {}
    pairs: dict[int, set[str]] = {}
    for place, message in enumerate(messages):
        if message.get("role") == "assistant":
            waiting |= dict.fromkeys((call_id for call_id, _ in _calls_in(message)), place)
        elif message.get("role") == "tool":
            call_id = text_of(message.get("tool_call_id"))
            if call_id in waiting:
                pairs.setdefault(waiting.pop(call_id), set()).add(call_id)
                pairs[place] = {call_id}
    return pairs


def _newest_turn(messages: Sequence[Mapping[str, Any]]) -> int:
    """Where the person spoke last; what follows a result directly is a picture the host moved."""
    roles = [message.get("role") for message in messages]
    places = (place for place, role in enumerate(roles) if role == "user")
    return max((place for place in places if "tool" not in roles[place - 1 : place]), default=-1)


def _calls_in(message: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls of tools that can be told apart, each with its function.

    What OpenRouter did itself is shown as a call too, but nobody has a tool of that name.
    """
    calls: dict[str, dict[str, Any]] = {}
    for call in objects_in(message.get("tool_calls")):
        call_id, function = text_of(call.get("id")), as_object(call.get("function"))
        is_shown_only = not call_id or call_id.startswith(SERVER_TOOL_CALL_PREFIX)
        if text_of(function.get("name")) and not is_shown_only:
            calls.setdefault(call_id, function)
    return list(calls.items())


def _spoken_item(role: str, message: Mapping[str, Any]) -> list[InputItem]:
    parts = input_parts(message.get("content"))
    return [{"type": "message", "role": role, "content": parts}] if parts else []


def _assistant_items(message: Mapping[str, Any], answered: set[str]) -> list[InputItem]:
    details = objects_in(message.get("reasoning_details"))
    thoughts = reasoning_items(details)
    text = _plain_text(message.get("content"))
    calls = [_call_item(*call) for call in _calls_in(message) if call[0] in answered]
    layouts = [detail for detail in details if detail.get("type") == LAYOUT_DETAIL]
    if layouts:
        parts = objects_in(layouts[-1].get("parts"))
        if (items := in_their_order(parts, thoughts, text, calls)) is not None:
            return items
    # The short form: it needs no item id, and ids of earlier answers mean nothing upstream.
    spoken = [{"role": "assistant", "content": text}] if text else []
    # Reasoning stands before what it led to.
    return [*thoughts, *spoken, *calls]


def _call_item(call_id: str, function: Mapping[str, Any]) -> InputItem:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": api_tool_name(text_of(function.get("name"))),
        "arguments": call_arguments(text_of(function.get("arguments"))),
    }


def _tool_output(message: Mapping[str, Any]) -> InputItem:
    parts = input_parts(message.get("content"))
    has_images = any(part["type"] == "input_image" for part in parts)
    return {
        "type": "function_call_output",
        "call_id": text_of(message.get("tool_call_id")),
        "output": parts if has_images else _plain_text(message.get("content")),
    }


def _plain_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (text_of(part.get("text")) for part in objects_in(content))))
