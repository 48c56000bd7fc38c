"""The simulator refuses what OpenRouter refuses, with the same status and words."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from pipe_lab.simulator import Simulator, text_reply

Json = dict[str, Any]
IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "auto"}
TOOL = {"type": "function", "name": "add", "parameters": {"type": "object", "properties": {}}}
CALL = {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "5"}


def user(*parts: Any) -> Json:
    return {"type": "message", "role": "user", "content": list(parts)}


def assistant(part_type: str) -> Json:
    content = [{"type": part_type, "text": "hi"}]
    return {"type": "message", "role": "assistant", "content": content}


async def ask(client: httpx.AsyncClient, model: str = "openai/gpt-4o", **fields: Any) -> Any:
    return await client.post("/responses", json={"model": model, "input": "hi", **fields})


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"store": True}, ["store"]),
        ({"previous_response_id": "gen-1"}, ["previous_response_id"]),
        ({"input": [{"type": "unknown"}]}, ["input", 0]),
        ({"input": [user({"type": "text", "text": "hi"})]}, ["input", 0]),
        ({"input": [user({"type": "output_text", "text": "hi"})]}, ["input", 0]),
        ({"input": [user({**IMAGE, "image_url": {"url": "x"}})]}, ["input", 0]),
        ({"input": ["hi", assistant("input_text")]}, ["input", 0]),
        ({"input": [{"role": "tool", "content": "5"}]}, ["input", 0]),
        ({"input": [{**CALL, "arguments": {}}]}, ["input", 0]),
        ({"tools": [{"type": "magic"}]}, ["tools", 0]),
        ({"tools": [{"type": "openrouter:magic"}]}, ["tools", 0]),
        ({"tools": [{**TOOL, "name": "has space"}]}, ["tools", 0, "name"]),
        ({"include": ["everything"]}, ["include", 0]),
        ({"modalities": ["audio"]}, ["modalities"]),
        ({"metadata": {"key": 1}}, ["metadata", "key"]),
        ({"session_id": "x" * 257}, ["session_id"]),
    ],
)
async def test_malformed_responses_bodies_name_the_place(
    client: httpx.AsyncClient, fields: Json, path: list[Any]
) -> None:
    response = await ask(client, **fields)
    body = response.json()
    assert response.status_code == 400
    assert body["error"] == {
        "code": "invalid_prompt",
        "message": "Invalid Responses API request",
    }
    assert orjson.loads(body["metadata"]["raw"])[0]["path"] == path


@pytest.mark.parametrize(
    ("model", "fields", "status", "message"),
    [
        ("no/model", {}, 400, "no/model is not a valid model ID"),
        ("quillworks/inkstone-12b", {"tools": [TOOL]}, 404, "No endpoints found that support tool"),
        ("deepseek/deepseek-r1", {"input": [user(IMAGE)]}, 404, "that support image input"),
        ("openai/gpt-5", {"reasoning": {"effort": "none"}}, 400, "Reasoning is mandatory"),
        ("openai/gpt-5", {"reasoning": {"enabled": False}}, 400, "Reasoning is mandatory"),
        ("openai/gpt-5", {"reasoning": {"effort": "huge"}}, 400, "reasoning.effort: Invalid"),
        ("openai/gpt-4o", {"modalities": ["image"]}, 404, "output modalities"),
        ("black-forest-labs/flux.2-pro", {"modalities": ["text"]}, 404, "output modalities"),
        ("openai/text-embedding-3-small", {}, 404, "output modalities"),
        ("openai/gpt-5:batch", {}, 400, "Batch API"),
        ("openai/gpt-4o", {"temperature": 3}, 400, "temperature"),
        ("openai/gpt-4o", {"input": "word " * 100_000}, 400, "maximum context length is 128000"),
    ],
)
async def test_what_a_model_cannot_do_is_refused_in_the_real_words(
    client: httpx.AsyncClient, model: str, fields: Json, status: int, message: str
) -> None:
    response = await ask(client, model, **fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, status)
    assert message in error["message"]


async def test_effort_and_budget_exclude_each_other(client: httpx.AsyncClient) -> None:
    reasoning = {"effort": "low", "max_tokens": 2000}
    response = await ask(client, "anthropic/claude-opus-4.6", reasoning=reasoning)
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith('Only one of "reasoning.effort"')


@pytest.mark.parametrize(
    ("items", "raw"),
    [
        ([CALL], "No tool output found for function call call_1."),
        ([OUTPUT], "No tool call found for function call output with call_id call_1."),
        ([{"type": "reasoning", "id": "rs_abc", "summary": []}], "Item with id 'rs_abc' not found"),
    ],
)
async def test_items_that_do_not_fit_together_are_refused_upstream(
    client: httpx.AsyncClient, items: list[Json], raw: str
) -> None:
    error = (await ask(client, input=[{"role": "user", "content": "hi"}, *items])).json()["error"]
    assert error["message"] == "Provider returned error"
    assert raw in error["metadata"]["raw"]


async def test_encrypted_reasoning_belongs_to_one_model(client: httpx.AsyncClient) -> None:
    asked = {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
    first = (await ask(client, "openai/gpt-5", **asked)).json()
    thought = first["output"][0]
    items = [{"role": "user", "content": "hi"}, thought, {"role": "user", "content": "more"}]
    assert (await ask(client, "openai/gpt-5", input=items)).status_code == 200
    other = await ask(client, "openai/gpt-5-mini", input=items)
    assert other.status_code == 400
    assert "invalid_encrypted_content" in other.json()["error"]["metadata"]["raw"]


async def test_a_tiny_output_limit_is_refused_by_openai_only(client: httpx.AsyncClient) -> None:
    refused = await ask(client, max_output_tokens=5)
    assert "minimum value" in refused.json()["error"]["metadata"]["raw"]
    assert (await ask(client, "deepseek/deepseek-chat", max_output_tokens=5)).is_success


async def test_a_missing_model_is_named(client: httpx.AsyncClient) -> None:
    response = await client.post("/responses", json={"input": "hi"})
    assert response.json() == {
        "error": {"code": "invalid_prompt", "message": "Missing required parameter: 'model'."},
        "metadata": None,
    }


async def test_a_script_does_not_hide_a_malformed_body(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(text_reply("ok"))
    assert (await ask(client, store=True)).status_code == 400


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"messages": []}, "Input required"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [user({"type": "input_text", "text": "hi"})]}, "messages.0.content"),
        ({"tools": [TOOL]}, "tools.0"),
        ({"tools": [{"type": "openrouter:shell"}]}, "tools.0"),
        ({"reasoning_effort": "huge"}, "reasoning.effort: Invalid option"),
    ],
)
async def test_malformed_chat_bodies_are_refused(
    client: httpx.AsyncClient, fields: Json, message: str
) -> None:
    body = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "hi"}], **fields}
    response = await client.post("/chat/completions", json=body)
    assert response.status_code == 400
    assert message in response.json()["error"]["message"]
