"""Sampling, length and format: chat-completions names become the Responses API's."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from ..core.json_values import as_object, number_of, text_of
from ..core.logging_system import LOG

_SAME_NAME_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def translate_parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read the parameters of a chat-completions body into Responses fields; nulls are left out."""
    fields: dict[str, Any] = {}
    for name in _SAME_NAME_NUMBERS:
        if (number := _number_in(body.get(name))) is not None:
            fields[name] = number
    for name in ("top_k", "top_logprobs"):
        if (number := _number_in(body.get(name))) is not None:
            fields[name] = round(number)
    if (limit := _output_limit(body)) is not None:
        fields["max_output_tokens"] = limit
    if text := _text_options(body):
        fields["text"] = text
    return fields


def _output_limit(body: Mapping[str, Any]) -> int | None:
    for name in ("max_output_tokens", "max_completion_tokens", "max_tokens"):
        limit = _number_in(body.get(name))
        if limit is not None and limit >= 1:
            return round(limit)
    return None


def _text_options(body: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(as_object(body.get("text")))
    if answer_format := _answer_format(body.get("response_format")):
        options["format"] = answer_format
    if verbosity := text_of(body.get("verbosity")):
        options["verbosity"] = verbosity
    return options


def _answer_format(response_format: Any) -> dict[str, Any]:
    """The flat form the Responses API takes of chat's nested `json_schema`."""
    options = as_object(response_format)
    if not options:
        return {}
    kind = options.get("type")
    if kind in ("text", "json_object"):
        return {"type": kind}
    schema = as_object(options.get("json_schema"))
    if kind == "json_schema" and schema.get("schema"):
        flat = {key: schema[key] for key in ("schema", "strict", "description") if key in schema}
        return {"type": kind, "name": schema.get("name") or "answer", **flat}
    LOG.warning("parameters: response_format of type %r cannot be sent and was left out", kind)
    return {}


def _number_in(value: Any) -> float | int | None:
    """A finite number, also where a settings form made text of it."""
    try:
        number = float(value) if isinstance(value, str) else number_of(value)
        return number if number is not None and isfinite(number) else None
    except (ValueError, OverflowError):
        return None
