"""An answer as the event stream of POST /responses, in order and fields as on the wire."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .answers import Answer, AnswerItem, FunctionCall, GeneratedImage, Message, Reasoning, WebSearch
from .identifiers import generation_id, item_id

Event = dict[str, Any]
Item = dict[str, Any]

_ID_PREFIXES = {
    Message: "msg",
    Reasoning: "rs",
    FunctionCall: "fc",
    WebSearch: "st",
    GeneratedImage: "msg",
}


def responses_events(answer: Answer, response: Event, usage: Event | None) -> list[Event]:
    """All events of an answer, from `response.created` to the terminal one."""
    events: list[Event] = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
    ]
    output: list[Item] = []
    for index, item in enumerate(answer.items):
        last = index == len(answer.items) - 1
        status = "incomplete" if answer.incomplete and last else "completed"
        finished = finished_item(item, item_id(_ID_PREFIXES[type(item)]), status)
        events.extend(_item_events(item, finished, index))
        output.append(finished)
    final = finished_response(response, answer, output, usage)
    events.append({"type": f"response.{final['status']}", "response": final})
    return numbered(events)


def numbered(events: list[Event]) -> list[Event]:
    """Give each event its `sequence_number`: from 0, without gaps."""
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def opening_response(model: str, body: Event | None = None) -> Event:
    """The response object of `response.created`: the request's echo, nothing answered yet."""
    body = body or {}
    created = int(time.time())

    def echo(key: str, default: Any = None) -> Any:
        value = body.get(key)
        return default if value is None else value

    return {
        "id": generation_id(),
        "object": "response",
        "created_at": created,
        "model": model,
        "status": "in_progress",
        "completed_at": None,
        "output": [],
        "error": None,
        "incomplete_details": None,
        "tools": [_echoed_tool(tool) for tool in echo("tools", [])],
        "tool_choice": echo("tool_choice", "auto"),
        "parallel_tool_calls": echo("parallel_tool_calls", True),
        "max_output_tokens": echo("max_output_tokens"),
        "temperature": echo("temperature", 1),
        "top_p": echo("top_p", 1),
        "presence_penalty": echo("presence_penalty", 0),
        "frequency_penalty": echo("frequency_penalty", 0),
        "top_logprobs": echo("top_logprobs", 0),
        "max_tool_calls": echo("max_tool_calls"),
        "metadata": echo("metadata", {}),
        "background": False,
        "previous_response_id": None,
        "service_tier": "auto",
        "truncation": echo("truncation", "disabled"),
        "store": False,
        "instructions": echo("instructions"),
        "text": echo("text", {"format": {"type": "text"}}),
        "reasoning": echo("reasoning"),
        "safety_identifier": echo("safety_identifier"),
        "prompt_cache_key": echo("prompt_cache_key"),
        "prompt_cache_options": echo("prompt_cache_options"),
        "usage": None,
    }


def finished_response(
    response: Event, answer: Answer, output: list[Item], usage: Event | None
) -> Event:
    """The response object of the terminal event; also the whole body without streaming."""
    reasoning = response["reasoning"] or {}
    final = {
        **response,
        "status": "incomplete" if answer.incomplete else "completed",
        "completed_at": None if answer.incomplete else int(time.time()),
        "output": output,
        "service_tier": "default",
        "reasoning": {
            "context": reasoning.get("context"),
            "effort": reasoning.get("effort"),
            "summary": reasoning.get("summary"),
        },
        "usage": usage,
    }
    if answer.incomplete:
        final["incomplete_details"] = {"reason": answer.incomplete}
    return final


def failed_response(response: Event, error: Event, error_type: str, usage: Event | None) -> Event:
    """The response object of `response.failed`."""
    failed = {**response, "status": "failed", "error": error, "service_tier": "default"}
    return {**failed, "usage": usage, "error_type": error_type}


def finished_item(item: AnswerItem, identifier: str, status: str = "completed") -> Item:
    """One output item as `response.output_item.done` carries it."""
    if isinstance(item, Message):
        return _finished_message(item, identifier, status)
    if isinstance(item, Reasoning):
        return _finished_reasoning(item, identifier, status)
    if isinstance(item, FunctionCall):
        return {
            "id": identifier,
            "type": "function_call",
            "status": status,
            "call_id": item.call_id,
            "name": item.name,
            "arguments": item.arguments,
        }
    if isinstance(item, WebSearch):
        sources = [{"type": "url", "url": url} for url in item.urls]
        return {
            "id": identifier,
            "type": "web_search_call" if item.native else "openrouter:web_search",
            "status": status,
            "action": {"type": "search", "query": item.query, "sources": sources},
        }
    if not isinstance(item, GeneratedImage):
        raise TypeError("The Responses API gives no sound")
    return {
        "id": identifier,
        "type": "image_generation_call",
        "status": status,
        "result": item.data_url,
    }


def _finished_message(item: Message, identifier: str, status: str) -> Item:
    done: Item = {
        "id": identifier,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [_content_part(item, item.text, list(item.annotations))],
    }
    return done | ({"phase": item.phase} if item.phase else {})


def _finished_reasoning(item: Reasoning, identifier: str, status: str) -> Item:
    done: Item = {"id": identifier, "type": "reasoning", "status": status, "summary": []}
    if item.pieces and item.form == "summary":
        done["summary"] = [{"type": "summary_text", "text": item.text}]
    elif item.pieces:
        done["content"] = [{"type": "reasoning_text", "text": item.text}]
    for key in ("encrypted_content", "format", "signature"):
        if value := getattr(item, key):
            done[key] = value
    return done


def _content_part(item: Message, text: str, annotations: list[Any]) -> Event:
    if item.refusal:
        return {"type": "refusal", "refusal": text}
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def _item_events(item: AnswerItem, finished: Item, index: int) -> Iterator[Event]:
    yield {
        "type": "response.output_item.added",
        "output_index": index,
        "item": _shell(finished),
    }
    at = {"output_index": index, "item_id": finished["id"]}
    if isinstance(item, Message):
        yield from _message_events(item, finished, at)
    elif isinstance(item, Reasoning) and item.pieces:
        yield from _reasoning_events(item, at)
    elif isinstance(item, FunctionCall):
        for piece in item.pieces:
            yield {"type": "response.function_call_arguments.delta", **at, "delta": piece}
        done = {"name": item.name, "arguments": item.arguments}
        yield {"type": "response.function_call_arguments.done", **at, **done}
    elif isinstance(item, WebSearch) and item.native:
        for step in ("in_progress", "searching", "completed"):
            yield {"type": f"response.web_search_call.{step}", **at}
    elif isinstance(item, GeneratedImage):
        yield from _image_events(item, at)
    yield {"type": "response.output_item.done", "output_index": index, "item": finished}


def _shell(finished: Item) -> Item:
    """The item as `output_item.added` shows it: begun, still empty."""
    empty = {"content": [], "summary": [], "arguments": "", "result": None}
    dropped = {"encrypted_content", "format", "signature", "action"}
    if finished["type"] == "reasoning":
        dropped.add("content")
    kept = {key: value for key, value in finished.items() if key not in dropped}
    return {key: empty.get(key, value) for key, value in kept.items()} | {"status": "in_progress"}


def _message_events(item: Message, finished: Item, at: Event) -> Iterator[Event]:
    here = {**at, "content_index": 0}
    kind = "refusal" if item.refusal else "output_text"
    logprobs: Event = {} if item.refusal else {"logprobs": []}
    yield {
        "type": "response.content_part.added",
        **here,
        "part": _content_part(item, "", []),
    }
    for piece in item.pieces:
        yield {"type": f"response.{kind}.delta", **here, "delta": piece, **logprobs}
    for number, annotation in enumerate(item.annotations):
        yield {
            "type": "response.output_text.annotation.added",
            **here,
            "annotation_index": number,
            "annotation": annotation,
        }
    whole = "refusal" if item.refusal else "text"
    yield {"type": f"response.{kind}.done", **here, whole: item.text, **logprobs}
    yield {"type": "response.content_part.done", **here, "part": finished["content"][0]}


def _reasoning_events(item: Reasoning, at: Event) -> Iterator[Event]:
    if item.form == "summary":
        here = {**at, "summary_index": 0}
        part, kind = "reasoning_summary_part", "reasoning_summary_text"
        part_type = "summary_text"
    else:
        here = {**at, "content_index": 0}
        part, kind = "content_part", "reasoning_text"
        part_type = "reasoning_text"
    yield {"type": f"response.{part}.added", **here, "part": {"type": part_type, "text": ""}}
    for piece in item.pieces:
        yield {"type": f"response.{kind}.delta", **here, "delta": piece}
    yield {"type": f"response.{kind}.done", **here, "text": item.text}
    yield {"type": f"response.{part}.done", **here, "part": {"type": part_type, "text": item.text}}


def _image_events(item: GeneratedImage, at: Event) -> Iterator[Event]:
    yield {"type": "response.image_generation_call.in_progress", **at}
    yield {"type": "response.image_generation_call.generating", **at}
    for number, sketch in enumerate(item.sketches or (item.data_url,)):
        yield {
            "type": "response.image_generation_call.partial_image",
            **at,
            "partial_image_b64": sketch.partition("base64,")[2],
            "partial_image_index": number,
        }
    yield {"type": "response.image_generation_call.completed", **at}


def _echoed_tool(tool: Any) -> Any:
    if isinstance(tool, dict) and tool.get("type") == "function":
        return {"strict": None, **tool}
    return tool
