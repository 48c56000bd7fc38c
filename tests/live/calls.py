"""Answers in which the model calls tools, and what the next request says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipe_lab.host.turn import Item
from pipe_lab.simulator import Answer, FunctionCall, RecordedRequest, Reply, answer_reply

Call = tuple[str, Mapping[str, Any]]


def calls_reply(*calls: Call, first: int = 1) -> Reply:
    """One round: every call at once, with the ids `call_1`, `call_2`, …"""
    items = [
        FunctionCall(name, f"call_{number}", (json.dumps(arguments),))
        for number, (name, arguments) in enumerate(calls, start=first)
    ]
    return answer_reply(Answer(tuple(items)))


def exchange(request: RecordedRequest) -> list[tuple[str, str]]:
    """The calls and outputs in a request's input, in order: (`call` or `output`, id)."""
    kinds = {"function_call": "call", "function_call_output": "output"}
    items = [item for item in request.body["input"] if item.get("type") in kinds]
    return [(kinds[item["type"]], item["call_id"]) for item in items]


def output_of(request: RecordedRequest, call_id: str = "call_1") -> str:
    """What the model was told that a call has returned."""
    (output,) = [
        item["output"]
        for item in request.body["input"]
        if item.get("type") == "function_call_output" and item["call_id"] == call_id
    ]
    return output if isinstance(output, str) else words(output)


def saved_pair(saved: Mapping[str, Any], call_id: str = "call_1") -> tuple[Item, Item]:
    """A call and its output, as the chat keeps them."""
    call, output = [item for item in saved["output"] if item.get("call_id") == call_id]
    assert (call["type"], output["type"]) == ("function_call", "function_call_output")
    return call, output


def words(parts: list[Item]) -> str:
    """The text among an item's parts."""
    return "".join(part.get("text", "") for part in parts)
