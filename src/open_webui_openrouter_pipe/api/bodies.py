"""The two request bodies: what Open WebUI sends, and what OpenRouter takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

CompletionsBody = Mapping[str, Any]
"""A chat-completions body from Open WebUI: known keys are read, unknown ones ignored."""


class ResponsesBody(TypedDict, total=False):
    """The body of `POST /responses`: every field the pipe sends (schema `ResponsesRequest`)."""

    model: str
    models: list[str]
    input: list[dict[str, Any]]
    stream: bool
    max_output_tokens: int
    temperature: float
    top_p: float
    top_k: int
    top_logprobs: int
    frequency_penalty: float
    presence_penalty: float
    reasoning: dict[str, Any]
    text: dict[str, Any]
    include: list[str]
    modalities: list[str]
    image_config: dict[str, Any]
    plugins: list[dict[str, Any]]
    provider: dict[str, Any]
    truncation: str
    service_tier: str
    prompt_cache_key: str
    cache_control: dict[str, Any]
    session_id: str
    user: str
    metadata: dict[str, str]
    trace: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    stop_server_tools_when: list[dict[str, Any]]


class ChatBody(TypedDict, total=False):
    """The body of `POST /chat/completions`: every field we send (schema `ChatRequest`)."""

    model: str
    models: list[str]
    messages: list[dict[str, Any]]
    stream: bool
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    top_a: float
    min_p: float
    top_logprobs: int
    logprobs: bool
    logit_bias: dict[str, float]
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    seed: int
    stop: str | list[str]
    reasoning: dict[str, Any]
    response_format: dict[str, Any]
    verbosity: str
    prediction: dict[str, Any]
    modalities: list[str]
    audio: dict[str, Any]
    image_config: dict[str, Any]
    plugins: list[dict[str, Any]]
    provider: dict[str, Any]
    service_tier: str
    prompt_cache_key: str
    cache_control: dict[str, Any]
    session_id: str
    user: str
    metadata: dict[str, str]
    trace: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    stop_server_tools_when: list[dict[str, Any]]
