"""A refused request, changed so that it may pass: each repair once, before the first word."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from ..api.bodies import ResponsesBody
from ..core.errors import OpenRouterAPIError
from ..core.json_values import as_object, text_of
from .allow_list import ALLOWED_FIELDS
from .next_round import TOOL_FIELDS
from .reasoning import EFFORTS

Repair = Callable[[ResponsesBody, str], ResponsesBody]

_QUOTED = re.compile(r"[\"'`]([A-Za-z_.]+)[\"'`]")
# For an answer: where a request may go, and what it may cost.
_NEVER_GIVEN_UP = {"model", "input", "stream", "provider", "stop_server_tools_when"}


def repair_request(
    request: ResponsesBody, error: OpenRouterAPIError, tried: set[str]
) -> ResponsesBody | None:
    """The request without what was refused; `None` when there is nothing left to try.

    `tried` remembers the repairs already made for this turn.
    """
    failure = error.failure
    complaint = " ".join((failure.code, failure.message, failure.upstream_message))
    for name, pattern, repair in _REPAIRS:
        if name in tried or not pattern.search(complaint):
            continue
        tried.add(name)
        repaired = repair(request, complaint)
        if repaired != request:
            return repaired
    return None


def _without_reasoning_items(request: ResponsesBody, complaint: str) -> ResponsesBody:
    kept = [item for item in request.get("input", []) if item.get("type") != "reasoning"]
    return cast("ResponsesBody", {**request, "input": kept})


def _with_some_reasoning(request: ResponsesBody, complaint: str) -> ResponsesBody:
    reasoning = {key: value for key, value in request.get("reasoning", {}).items()}
    reasoning.pop("enabled", None)
    if reasoning.get("effort") == "none":
        reasoning["effort"] = "low"
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _with_accepted_effort(request: ResponsesBody, complaint: str) -> ResponsesBody:
    """The nearest effort among those the answer names, or none when it names none."""
    reasoning = dict(as_object(request.get("reasoning")))
    refused = text_of(reasoning.pop("effort", None))
    named = [word for word in EFFORTS if re.search(rf"\b{word}\b", complaint) and word != refused]
    if named and refused in EFFORTS:
        wanted = EFFORTS.index(refused)
        reasoning["effort"] = min(named, key=lambda word: abs(EFFORTS.index(word) - wanted))
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _without_token_budget(request: ResponsesBody, complaint: str) -> ResponsesBody:
    reasoning = dict(as_object(request.get("reasoning")))
    reasoning.pop("max_tokens", None)
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _without_named_fields(request: ResponsesBody, complaint: str) -> ResponsesBody:
    named = {word.split(".")[0] for word in _QUOTED.findall(complaint)}
    refused = (named & ALLOWED_FIELDS) - _NEVER_GIVEN_UP
    return cast("ResponsesBody", {k: v for k, v in request.items() if k not in refused})


def _without_tools(request: ResponsesBody, complaint: str) -> ResponsesBody:
    kept = {name: value for name, value in request.items() if name not in TOOL_FIELDS}
    return cast("ResponsesBody", kept)


_REPAIRS: tuple[tuple[str, re.Pattern[str], Repair], ...] = (
    (
        "encrypted reasoning",
        re.compile(
            r"invalid_encrypted_content|encrypted content .*could not be verified|"
            r"item with id .*not found",
            re.I,
        ),
        _without_reasoning_items,
    ),
    ("tools", re.compile(r"no endpoints found that support tool use", re.I), _without_tools),
    (
        "mandatory reasoning",
        re.compile(r"reasoning is mandatory|cannot be disabled", re.I),
        _with_some_reasoning,
    ),
    (
        "one of effort and budget",
        re.compile(r"only one of .*effort.*max_tokens", re.I),
        _without_token_budget,
    ),
    (
        "effort",
        re.compile(
            r"effort.*(invalid|unsupported|not supported|expected one of)|"
            r"(invalid|unsupported|not supported).*effort",
            re.I,
        ),
        _with_accepted_effort,
    ),
    (
        "parameter",
        re.compile(
            r"(unknown|unsupported|unrecognized|unexpected) (parameter|argument|field)|"
            r"(parameter|argument|field)s? .*not (supported|permitted|allowed)",
            re.I,
        ),
        _without_named_fields,
    ),
)
