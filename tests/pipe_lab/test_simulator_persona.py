"""The simulator answers a person: echoes, remembers, writes, thinks, calls, draws, cites."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import httpx
import orjson
import pytest

from pipe_lab.simulator import Simulator

Json = dict[str, Any]
ADD = {
    "type": "function",
    "name": "add",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "fahrenheit"]},
            "days": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
    },
}


async def ask(
    client: httpx.AsyncClient, prompt: Any, model: str = "openai/gpt-4o", **fields: Any
) -> Json:
    response = await client.post("/responses", json={"model": model, "input": prompt, **fields})
    assert response.status_code == 200, response.text
    return response.json()


def text_of(answer: Json) -> str:
    messages = [item for item in answer["output"] if item["type"] == "message"]
    return "".join(part.get("text", "") for item in messages for part in item["content"])


async def test_it_greets_and_says_what_it_heard(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "hello there")
    assert "GPT-4o" in text_of(answer)
    assert "“hello there”" in text_of(answer)
    assert "first message" in text_of(answer)
    assert (answer["status"], answer["model"]) == ("completed", "openai/gpt-4o")


async def test_it_remembers_the_turns_before(client: httpx.AsyncClient) -> None:
    turns = [
        {"role": "user", "content": "my cat is Ada"},
        {"role": "assistant", "content": "Noted."},
        {"role": "user", "content": "what did I say before?"},
    ]
    assert "“my cat is Ada”" in text_of(await ask(client, turns))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("count to 5", "1, 2, 3, 4, 5."),
        ("show me markdown", "# A short tour"),
        ("a table please", "| Planet |"),
        ("write code", "```python"),
        ("help", "#stream deltas"),
        ("write 3 words", "alpha bravo charlie."),
    ],
)
async def test_it_writes_what_is_asked(
    client: httpx.AsyncClient, prompt: str, expected: str
) -> None:
    assert expected in text_of(await ask(client, prompt))


async def test_streamed_and_whole_answers_say_the_same(client: httpx.AsyncClient) -> None:
    body = {"model": "openai/gpt-4o", "input": "a table please", "stream": True}
    response = await client.post("/responses", json=body)
    lines = [line[6:] for line in response.text.split("\n") if line.startswith("data: {")]
    events = [orjson.loads(line) for line in lines]
    deltas = [event["delta"] for event in events if event["type"].endswith("text.delta")]
    assert "".join(deltas) == text_of(await ask(client, "a table please"))
    assert events[-1]["response"]["id"] == response.headers["x-generation-id"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


async def test_openai_reasons_in_a_summary_with_an_encrypted_blob(
    client: httpx.AsyncClient,
) -> None:
    fields = {
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    thought = (await ask(client, "hi", "openai/gpt-5", **fields))["output"][0]
    assert thought["type"] == "reasoning"
    assert thought["summary"][0]["type"] == "summary_text"
    assert thought["format"] == "openai-responses-v1"
    origin = thought["encrypted_content"].rpartition(".")[2]
    assert b"endpoint_slug" in base64.urlsafe_b64decode(origin + "==")


async def test_openai_shows_no_thought_without_a_summary(client: httpx.AsyncClient) -> None:
    thought = (await ask(client, "hi", "openai/gpt-5"))["output"][0]
    assert thought["summary"] == [] and "content" not in thought


async def test_anthropic_signs_its_thoughts(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "think about it", "anthropic/claude-sonnet-4.5")
    thought = answer["output"][0]
    assert thought["content"][0]["type"] == "reasoning_text"
    assert thought["signature"] and thought["format"] == "anthropic-claude-v1"
    assert answer["usage"]["output_tokens_details"]["reasoning_tokens"] > 0


async def test_no_reasoning_when_it_is_off_or_unknown(client: httpx.AsyncClient) -> None:
    off = await ask(client, "think", "openai/gpt-5.2", reasoning={"effort": "none"})
    unable = await ask(client, "think", "openai/gpt-4o", reasoning={"effort": "high"})
    kinds = [item["type"] for answer in (off, unable) for item in answer["output"]]
    assert kinds == ["message", "message"]


async def test_a_mentioned_tool_is_called_with_fitting_arguments(
    client: httpx.AsyncClient,
) -> None:
    answer = await ask(client, "add 2 and 3, then get weather in Oslo", tools=[ADD, WEATHER])
    calls = [item for item in answer["output"] if item["type"] == "function_call"]
    arguments = [orjson.loads(call["arguments"]) for call in calls]
    assert [call["name"] for call in calls] == ["add", "get_weather"]
    assert arguments[0] == {"a": 2, "b": 3}
    assert arguments[1] == {"city": "Oslo", "unit": "celsius", "days": 2}
    assert calls[0]["call_id"] != calls[1]["call_id"]


async def test_it_calls_several_tools_at_once_when_told_to(client: httpx.AsyncClient) -> None:
    prompt = 'Do this:\n#call add {"a": 1, "b": 2}\n#call add {"a": 3, "b": 4}\n#call get_weather'
    answer = await ask(client, prompt, tools=[ADD, WEATHER])

    calls = [(item["name"], orjson.loads(item["arguments"])) for item in answer["output"]]
    assert calls[:2] == [("add", {"a": 1, "b": 2}), ("add", {"a": 3, "b": 4})]
    assert calls[2][0] == "get_weather"
    assert len({item["call_id"] for item in answer["output"]}) == 3


async def test_tool_choice_forces_or_forbids_a_call(client: httpx.AsyncClient) -> None:
    forced = await ask(client, "hello", tools=[ADD], tool_choice="required")
    named = {"type": "function", "name": "get_weather"}
    chosen = await ask(client, "hello", tools=[ADD, WEATHER], tool_choice=named)
    forbidden = await ask(client, "use add", tools=[ADD], tool_choice="none")
    assert forced["output"][0]["name"] == "add"
    assert chosen["output"][0]["name"] == "get_weather"
    assert forbidden["output"][0]["type"] == "message"


async def test_tool_outputs_are_told(client: httpx.AsyncClient) -> None:
    items = [
        {"role": "user", "content": "add 2 and 3"},
        {"type": "function_call", "call_id": "call_1", "name": "add", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "five"},
    ]
    answer = await ask(client, items, tools=[ADD])
    assert "`add` returned: five" in text_of(answer)


@pytest.mark.parametrize(
    ("model", "start"),
    [
        ("anthropic/claude-sonnet-4.5", "toolu_"),
        ("google/gemini-2.5-flash", "tool_add_"),
        ("moonshotai/kimi-k3", "functions.add:0"),
        ("openai/gpt-4o", "call_"),
    ],
)
async def test_call_ids_have_the_vendors_form(
    client: httpx.AsyncClient, model: str, start: str
) -> None:
    answer = await ask(client, "add 1 and 2", model, tools=[ADD])
    call = next(item for item in answer["output"] if item["type"] == "function_call")
    assert call["call_id"].startswith(start)


async def test_it_draws_a_real_png(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "draw a boat", "google/gemini-2.5-flash-image")
    picture = next(item for item in answer["output"] if item["type"] == "image_generation_call")
    kind, _, data = picture["result"].partition(",")
    assert kind == "data:image/png;base64"
    png = base64.b64decode(data)
    assert png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82")


async def test_an_image_model_sends_nothing_but_the_picture(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "a boat", "black-forest-labs/flux.2-pro")
    assert [item["type"] for item in answer["output"]] == ["image_generation_call"]


async def test_it_cites_pages_and_bills_the_search(client: httpx.AsyncClient) -> None:
    plain = await ask(client, "search for domains")
    assert [item["type"] for item in plain["output"]] == ["message"]
    tool = {"type": "openrouter:web_search"}
    searched = await ask(client, "search for domains", "deepseek/deepseek-chat", tools=[tool])
    native = await ask(client, "search for domains", "openai/gpt-4.1", tools=[tool])
    assert searched["output"][0]["type"] == "openrouter:web_search"
    assert native["output"][0]["type"] == "web_search_call"
    annotations = searched["output"][1]["content"][0]["annotations"]
    assert [note["type"] for note in annotations] == ["url_citation", "url_citation"]
    assert searched["usage"]["server_tool_use_details"]["web_search_requests"] == 1
    details = searched["usage"]["cost_details"]
    assert searched["usage"]["cost"] == pytest.approx(details["upstream_inference_cost"] + 0.007)


@pytest.mark.parametrize("key", ["title", "tags", "follow_ups", "queries", "text", "prompt"])
async def test_open_webui_tasks_get_their_json(client: httpx.AsyncClient, key: str) -> None:
    prompt = (
        f'### Task:\nDo it.\n### Output:\nJSON format: {{ "{key}": ... }}\n'
        "<chat_history>\nUSER: think about boats\nASSISTANT: yes\n</chat_history>"
    )
    answer = await ask(client, prompt, "openai/gpt-5")
    assert [item["type"] for item in answer["output"]] == ["message"]
    assert orjson.loads(text_of(answer))[key]


async def test_a_json_schema_is_obeyed(client: httpx.AsyncClient) -> None:
    form = {"type": "json_schema", "name": "sum", "schema": ADD["parameters"], "strict": True}
    answer = await ask(client, "2 and 3", text={"format": form})
    assert orjson.loads(text_of(answer)) == {"a": 2, "b": 3}


async def test_a_small_limit_cuts_the_answer(client: httpx.AsyncClient) -> None:
    answer = await ask(client, "write 100 words", max_output_tokens=16)
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert answer["usage"]["output_tokens"] <= 16
    assert answer["output"][-1]["status"] == "incomplete"


async def test_cost_is_tokens_times_price(simulator: Simulator, client: httpx.AsyncClient) -> None:
    usage = (await ask(client, "hello", "deepseek/deepseek-chat"))["usage"]
    row = next(row for row in simulator.catalog if row["id"] == "deepseek/deepseek-chat")
    spent = usage["input_tokens"] * Decimal(row["pricing"]["prompt"])
    spent += usage["output_tokens"] * Decimal(row["pricing"]["completion"])
    assert usage["cost"] == float(spent)


async def test_long_prompts_cost_the_higher_price(client: httpx.AsyncClient) -> None:
    usage = (await ask(client, "word " * 160_000, "google/gemini-2.5-pro"))["usage"]
    cost = usage["cost_details"]["upstream_inference_input_cost"]
    assert cost == pytest.approx(usage["input_tokens"] * 2.5e-6)


async def test_a_repeated_beginning_is_read_from_the_cache(client: httpx.AsyncClient) -> None:
    first = {"role": "user", "content": "hello"}
    more = [first, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "again"}]
    fresh = await ask(client, [first])
    repeated = await ask(client, more)
    assert fresh["usage"]["input_tokens_details"]["cached_tokens"] == 0
    cached = repeated["usage"]["input_tokens_details"]["cached_tokens"]
    assert 0 < cached < repeated["usage"]["input_tokens"]


async def test_anthropic_caches_only_on_request(client: httpx.AsyncClient) -> None:
    model, asked = "anthropic/claude-sonnet-4.5", {"cache_control": {"type": "ephemeral"}}
    usages = [
        (await ask(client, "hello", model))["usage"],
        (await ask(client, "hello", model, **asked))["usage"],
        (await ask(client, "hello", model, **asked))["usage"],
    ]
    details = [usage["input_tokens_details"] for usage in usages]
    assert "cache_write_tokens" not in details[0] and details[0]["cached_tokens"] == 0
    assert details[1]["cache_write_tokens"] > 0
    assert details[2]["cached_tokens"] > 0


@pytest.mark.parametrize("model", ["~openai/gpt-latest", "openrouter/auto"])
async def test_aliases_and_routers_answer_as_the_model_behind(
    client: httpx.AsyncClient, model: str
) -> None:
    answer = await ask(client, "hello", model)
    assert answer["model"] != model and "/" in answer["model"]
    assert answer["usage"]["cost"] > 0


@pytest.mark.parametrize("fields", [{"model": "lab/stream-300"}, {"input": "#stream deltas=300"}])
async def test_a_stream_of_any_length_can_be_asked_for(
    client: httpx.AsyncClient, fields: Json
) -> None:
    body = {"model": "openai/gpt-4o", "input": "hi", "stream": True, **fields}
    response = await client.post("/responses", json=body)
    assert response.text.count('"response.output_text.delta"') == 300


async def test_a_person_can_ask_for_failures(client: httpx.AsyncClient) -> None:
    body = {"model": "openai/gpt-4o", "stream": True}
    error = await client.post("/responses", json={**body, "input": "#error 429"})
    failed = await client.post("/responses", json={**body, "input": "#fail"})
    truncated = await client.post("/responses", json={**body, "input": "#truncate"})
    assert (error.status_code, error.headers["retry-after"]) == (429, "1")
    assert '"type":"response.failed"' in failed.text and failed.text.endswith("[DONE]\n\n")
    assert "[DONE]" not in truncated.text and "response.completed" not in truncated.text


async def test_chat_completions_tell_the_same(client: httpx.AsyncClient) -> None:
    nested = {"type": "function", "function": {k: v for k, v in ADD.items() if k != "type"}}
    body = {
        "model": "anthropic/claude-sonnet-4.5",
        "messages": [{"role": "user", "content": "think, then add 2 and 3"}],
        "tools": [nested],
    }
    whole = (await client.post("/chat/completions", json=body)).json()
    choice = whole["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("tool_calls", "tool_use")
    assert orjson.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {
        "a": 2,
        "b": 3,
    }
    assert choice["message"]["reasoning"]
    streamed = (await client.post("/chat/completions", json={**body, "stream": True})).text
    assert streamed.count('"finish_reason":"tool_calls"') == 2
    assert '"signature"' in streamed and '"cost"' in streamed
