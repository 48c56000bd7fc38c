"""Parameters of chat completions become fields of a Responses request."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.requests.parameters import translate_parameters

SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"temperature": 0.3}, {"temperature": 0.3}),
        ({"temperature": 0}, {"temperature": 0}),
        ({"temperature": "0.3"}, {"temperature": 0.3}),
        ({"top_p": 0.9}, {"top_p": 0.9}),
        ({"frequency_penalty": -1}, {"frequency_penalty": -1}),
        ({"presence_penalty": 1.5}, {"presence_penalty": 1.5}),
        ({"top_k": "40"}, {"top_k": 40}),
        ({"top_k": 40.0}, {"top_k": 40}),
        ({"top_logprobs": 3}, {"top_logprobs": 3}),
        ({"max_tokens": 100}, {"max_output_tokens": 100}),
        ({"max_tokens": "100"}, {"max_output_tokens": 100}),
        ({"max_completion_tokens": 100}, {"max_output_tokens": 100}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_output_tokens": 7}),
        ({"max_output_tokens": 9, "max_tokens": 5}, {"max_output_tokens": 9}),
        ({"verbosity": "low"}, {"text": {"verbosity": "low"}}),
        (
            {"response_format": {"type": "json_object"}},
            {"text": {"format": {"type": "json_object"}}},
        ),
        (
            {"verbosity": "low", "response_format": {"type": "text"}},
            {"text": {"verbosity": "low", "format": {"type": "text"}}},
        ),
    ],
)
def test_each_parameter_finds_its_field(body: dict[str, Any], fields: dict[str, Any]) -> None:
    assert translate_parameters(body) == fields


def test_a_schema_for_the_answer_is_laid_flat() -> None:
    nested = {"name": "titles", "strict": True, "schema": SCHEMA, "description": "A title"}
    body = {"response_format": {"type": "json_schema", "json_schema": nested}}
    assert translate_parameters(body) == {
        "text": {"format": {"type": "json_schema", **nested}},
    }


def test_a_schema_without_a_name_gets_one() -> None:
    body = {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}
    answer_format = translate_parameters(body)["text"]["format"]
    assert answer_format["name"]
    assert answer_format["schema"] == SCHEMA


@pytest.mark.parametrize(
    "body",
    [
        {name: None for name in ("temperature", "top_k", "max_tokens", "reasoning", "text")},
        {"response_format": None, "reasoning_effort": None, "verbosity": None},
        {"temperature": "warm", "top_p": "", "top_k": [], "max_tokens": {}},
        {"temperature": True, "top_k": False},
        {"temperature": "nan", "top_p": "inf", "top_k": "nan", "top_logprobs": "-inf"},
        {"temperature": float("nan"), "top_k": float("inf"), "max_tokens": "1e999"},
        {"max_tokens": 10**400},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"reasoning_effort": ""},
        {"response_format": {"type": "grammar"}},
        {"response_format": {"type": "json_schema"}},
        {"response_format": "json"},
        {"stop": ["x"], "seed": 7, "logit_bias": {}, "min_p": 0.1},
    ],
)
def test_what_is_null_or_cannot_be_read_is_left_out(body: dict[str, Any]) -> None:
    assert translate_parameters(body) == {}


def test_the_hosts_own_body_is_left_as_it_is() -> None:
    body = {"reasoning": {"max_tokens": 9}, "reasoning_effort": "low", "verbosity": "low"}
    before = {**body, "reasoning": {**body["reasoning"]}}
    translate_parameters(body)
    assert body == before
