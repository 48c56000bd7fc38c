"""The request of another round: the one before, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..api.bodies import ResponsesBody
from ..api.events import (
    FunctionCallItem,
    MessageItem,
    OutputItem,
    ReasoningItem,
    ToolOutputItem,
)
from ..core.ids import PARSED_DETAIL, api_tool_name
from ..core.json_values import objects_in, text_of
from ..models.family import ModelFamily
from .replay import call_arguments, reasoning_items, unsigned_reasoning_item


def add_round(
    request: ResponsesBody, items: Sequence[OutputItem], outputs: Sequence[ToolOutputItem]
) -> ResponsesBody:
    """The request with what the model gave, in its order, and behind it the calls' outputs.

    Calls without an output are left out, and a tool that had to be called need not be again.
    """
    answered = {output.call_id for output in outputs}
    added = [entry for item in items for entry in _replayed(item, answered)]
    added += map(tool_output, outputs)
    fields = {**request, "input": [*request.get("input", []), *added]}
    if fields.get("tool_choice") not in (None, "auto", "none"):
        fields["tool_choice"] = "auto"
    return cast("ResponsesBody", fields)


def ask_for_words(
    request: ResponsesBody, family: ModelFamily | None, reminder: str = ""
) -> ResponsesBody:
    """The request in a form that calls no tools, with a reminder to the model at its end.

    The definitions stay where the model can be told not to use them: some providers refuse
    calls of tools that are not defined, and the prompt cache begins with them.
    """
    fields: dict[str, Any] = {**request}
    heeds_it = family is None or "tool_choice" in family.supported_parameters
    if heeds_it and "tools" in fields:  # a refusal may have taken them out
        fields["tool_choice"] = "none"
    else:
        fields = {name: fields[name] for name in fields if name not in TOOL_FIELDS}
    if reminder:
        message = {"type": "message", "role": "user"}
        message |= {"content": [{"type": "input_text", "text": reminder}]}
        fields["input"] = [*request.get("input", []), message]
    return cast("ResponsesBody", fields)


def question_in(request: ResponsesBody) -> str:
    """What the person said last; empty where that is nothing in words."""
    asked = [item for item in request.get("input", []) if item.get("role") == "user"]
    parts = objects_in(asked[-1].get("content")) if asked else []
    return "\n".join(filter(None, (text_of(part.get("text")) for part in parts)))


def say_before_question(request: ResponsesBody, words: str) -> ResponsesBody:
    """The request with these words where Open WebUI puts its own: before the person's."""
    items = [*request.get("input", [])]
    for place in reversed(range(len(items))):
        if items[place].get("role") == "user":
            content = [{"type": "input_text", "text": words}, *items[place]["content"]]
            items[place] = {**items[place], "content": content}
            break
    return cast("ResponsesBody", {**request, "input": items})


TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "stop_server_tools_when"})
"""What only a request with tools may hold."""


def tool_output(output: ToolOutputItem) -> dict[str, Any]:
    """What a call brought back, as an item of the input."""
    content: str | list[dict[str, Any]] = output.text
    if output.images:
        content = [{"type": "input_text", "text": output.text}] if output.text else []
        content += [
            {"type": "input_image", "image_url": url, "detail": "auto"} for url in output.images
        ]
    return {"type": "function_call_output", "call_id": output.call_id, "output": content}


def _replayed(item: OutputItem, answered: set[str]) -> list[dict[str, Any]]:
    match item:
        case ReasoningItem():
            parsed = [each for each in item.details if each.get("type") == PARSED_DETAIL]
            return [*parsed, *(reasoning_items(item.details) or unsigned_reasoning_item(item))]
        case MessageItem() if item.text:
            phase = {"phase": item.phase} if item.phase else {}
            return [{"role": "assistant", "content": item.text, **phase}]
        case FunctionCallItem() if item.call_id in answered:
            call = {"call_id": item.call_id, "name": api_tool_name(item.name)}
            return [{"type": "function_call", **call, "arguments": call_arguments(item.arguments)}]
        case _:
            return []
