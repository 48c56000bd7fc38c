"""What each caller gets, and what OpenRouter is asked."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest
from starlette.responses import StreamingResponse

from pipe_lab.simulator import (
    Answer,
    Message,
    Reasoning,
    Reply,
    Simulator,
    answer_reply,
    error_reply,
    text_reply,
)
from tests.turns.calls import (
    CHAT,
    body,
    chat,
    kinds,
    make_pipe,
    read_chunks,
    request_of,
    stream,
    text_of_chat,
    whole,
)

USAGE = {"input_tokens": 11, "output_tokens": 7, "total_tokens": 18, "cost": 0.0125}


async def test_a_chat_gets_the_events_of_one_message(simulator: Simulator) -> None:
    simulator.script(text_reply("Hello there, friend.", usage=USAGE))
    events = await chat(make_pipe(simulator))
    item_id = events[0]["item"]["id"]
    response_id = events[-1]["response"]["id"]
    message = {"type": "message", "id": item_id, "role": "assistant"}
    part = {"type": "output_text", "text": "", "annotations": []}
    deltas = events[2:-3]
    assert {(d["type"], d["output_index"], d["content_index"]) for d in deltas} == {
        ("response.output_text.delta", 0, 0)
    }
    assert text_of_chat(deltas) == "Hello there, friend."
    assert [*events[:2], events[-3], events[-1]] == [
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**message, "status": "in_progress", "content": []},
        },
        {
            "type": "response.content_part.added",
            "output_index": 0,
            "content_index": 0,
            "part": part,
        },
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {
                **message,
                "status": "completed",
                "content": [{**part, "text": "Hello there, friend."}],
            },
        },
        {
            "type": "response.completed",
            "response": {
                "id": response_id,
                "output": [],
                "usage": events[-1]["response"]["usage"],
            },
        },
    ]
    assert events[-1]["response"]["usage"].items() >= USAGE.items()
    status = events[-2]["event"]
    assert (status["type"], status["data"]["done"]) == ("status", True)
    assert "11 tokens in" in status["data"]["description"]


async def test_the_closing_status_can_be_switched_off_by_admin_and_user(
    simulator: Simulator,
) -> None:
    for _ in range(2):
        simulator.script(text_reply("Hi"))
    quiet = make_pipe(simulator, SHOW_FINAL_USAGE_STATUS=False)
    events = await chat(quiet)
    assert text_of_chat(events) == "Hi"
    assert "event" not in kinds(events)
    loud = request_of("user-1", openrouter={"SHOW_FINAL_USAGE_STATUS": "on"})
    answer = await quiet.pipe(body(), CHAT, loud)
    assert isinstance(answer, AsyncGenerator)
    assert "event" in kinds([event async for event in answer])


async def test_an_api_client_gets_a_stream_of_chunks(simulator: Simulator) -> None:
    simulator.script(text_reply("Hello there.", usage=USAGE, reasoning="Let me see."))
    *deltas, finish, usage = read_chunks(await stream(make_pipe(simulator)))
    assert "".join(d["choices"][0]["delta"].get("content", "") for d in deltas) == "Hello there."
    assert "".join(d["choices"][0]["delta"].get("reasoning", "") for d in deltas) == "Let me see."
    assert {chunk["model"] for chunk in (*deltas, finish, usage)} == {"openrouter.a.one"}
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["prompt_tokens"] == 11
    assert usage["usage"]["cost"] == 0.0125


async def test_the_stream_of_an_api_client_is_named_as_one(simulator: Simulator) -> None:
    answer = await make_pipe(simulator).pipe(body())
    assert isinstance(answer, StreamingResponse)
    assert answer.media_type == "text/event-stream"


async def test_a_caller_that_waits_gets_one_object(simulator: Simulator) -> None:
    simulator.script(text_reply("Hello there.", usage=USAGE))
    answer = await whole(make_pipe(simulator))
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello there."},
            "finish_reason": "stop",
        }
    ]
    assert answer["usage"]["completion_tokens"] == 7
    assert "output" not in answer


async def test_a_quiet_chat_gets_one_object_with_its_items(simulator: Simulator) -> None:
    simulator.script(text_reply("Hello there.", reasoning="Let me see."))
    answer = await make_pipe(simulator).pipe(body(stream=False), CHAT)
    assert isinstance(answer, dict)
    assert [item["type"] for item in answer["output"]] == ["reasoning", "message"]


async def test_a_task_gets_one_object_with_one_choice(simulator: Simulator) -> None:
    simulator.script(text_reply('{"title": "Hi"}'))
    answer = await whole(make_pipe(simulator), task="title_generation")
    [choice] = answer["choices"]
    assert json.loads(choice["message"]["content"]) == {"title": "Hi"}
    assert "output" not in answer


async def test_no_thinking_gets_into_a_title(simulator: Simulator) -> None:
    written = '<think>Short.</think>{"title": "Hi"}'
    simulator.script(text_reply(written, reasoning="Let me see."))
    answer = await whole(make_pipe(simulator), task="title_generation")
    assert answer["choices"][0]["message"] == {"role": "assistant", "content": '{"title": "Hi"}'}


async def test_a_chore_that_fails_is_an_error_and_no_answer(simulator: Simulator) -> None:
    simulator.script(error_reply(400, "No"))
    answer = await whole(make_pipe(simulator), task="title_generation")
    assert set(answer) == {"error"}


async def test_each_user_says_where_thinking_is_shown(simulator: Simulator) -> None:
    simulator.script(text_reply("Hi", reasoning="The user greets me. "))
    own = request_of("user-1", openrouter={"THINKING_OUTPUT_MODE": "status"})
    answer = await make_pipe(simulator).pipe(body(), CHAT, own)
    assert isinstance(answer, AsyncGenerator)
    events = [event async for event in answer]
    said = [event["event"]["data"]["description"] for event in events if "event" in event]
    assert said[0] == "The user greets me."
    assert "greets" not in str([event for event in events if "event" not in event])


@pytest.mark.parametrize(("switch", "header"), [("inherit", True), ("off", False)])
async def test_claude_is_told_that_it_may_think_between_calls(
    simulator: Simulator, switch: str, header: bool
) -> None:
    simulator.script(text_reply("Hi"))
    own = request_of("user-1", openrouter={"ENABLE_ANTHROPIC_INTERLEAVED_THINKING": switch})
    answer = await make_pipe(simulator).pipe(body(model="anthropic.one"), CHAT, own)
    assert isinstance(answer, AsyncGenerator)
    assert [event async for event in answer]
    assert ("x-anthropic-beta" in simulator.requests[-1].headers) is header


async def test_the_request_carries_the_chat_and_nothing_about_the_person(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")
    simulator.script(text_reply("Hi"))
    await chat(make_pipe(simulator), model="~a.one-1.5:free")
    [request] = simulator.requests
    assert request.path == "/responses"
    assert request.headers["authorization"] == "Bearer sk-test"
    content = [{"type": "input_text", "text": "Hello"}]
    assert request.body == {
        "model": "~a/one-1.5:free",
        "input": [{"type": "message", "role": "user", "content": content}],
        # The catalog does not know this model: it may be one that thinks.
        "include": ["reasoning.encrypted_content"],
        "session_id": request.body["session_id"],
        "stream": True,
    }
    for secret in (b"user-1", b"chat-1", b"msg-1", b"session-1"):
        assert secret not in request.raw


async def test_encrypted_thinking_is_stored_for_the_next_turn(simulator: Simulator) -> None:
    hidden = Reasoning((), encrypted_content="xyz")
    simulator.script(answer_reply(Answer((hidden, Message(("Hi",))))))
    events = await chat(make_pipe(simulator))
    items = [(e["type"], e["output_index"], e["item"]["type"]) for e in events if "item" in e]
    assert items == [
        ("response.output_item.done", 0, "reasoning"),
        ("response.output_item.added", 1, "message"),
        ("response.output_item.done", 1, "message"),
    ]
    [detail] = events[0]["item"]["reasoning_details"]
    assert (detail["type"], detail["data"]) == ("reasoning.encrypted", "xyz")


async def test_thinking_that_neither_shows_nor_returns_takes_no_place(simulator: Simulator) -> None:
    simulator.script(answer_reply(Answer((Reasoning(()), Message(("Hi",))))))
    events = await chat(make_pipe(simulator))
    assert {e["item"]["type"] for e in events if "item" in e} == {"message"}


async def test_an_answer_that_was_cut_off_says_so(simulator: Simulator) -> None:
    cut = Answer((Message(("Hello",)),), incomplete="max_output_tokens")
    simulator.script(answer_reply(cut))
    events = await chat(make_pipe(simulator))
    assert kinds(events)[-2:] == ["event", "response.completed"]
    notice = events[-3]["event"]["data"]["description"]
    assert "length limit" in notice
    assert events[-1]["response"]["usage"]


@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
async def test_an_answer_does_not_depend_on_how_the_bytes_come(
    simulator: Simulator, chunk_size: int
) -> None:
    reply = text_reply("Grüße – 你好 🙂", reasoning="Hm … 🤔")
    reply.chunk_size = chunk_size
    simulator.script(reply)
    events = await chat(make_pipe(simulator))
    assert text_of_chat(events) == "Grüße – 你好 🙂"
    assert kinds(events)[-1] == "response.completed"


CATALOG = Reply(body={"data": [{"id": "a/one", "name": "A: One"}, {"id": "b/two:free"}]})


async def test_the_list_holds_every_model_and_is_fetched_once(simulator: Simulator) -> None:
    simulator.script(CATALOG, path="/models")
    for path in ("/images/models", "/videos/models"):
        simulator.script(Reply(body={"data": [{"id": "a/one"}]}), path=path)
    pipe = make_pipe(simulator)
    expected = [{"id": "a.one", "name": "A: One"}, {"id": "b.two:free", "name": "b/two:free"}]
    assert await pipe.pipes() == expected
    assert await pipe.pipes() == expected
    paths = sorted(request.path for request in simulator.requests)
    assert paths == ["/images/models", "/models", "/videos/models"]


async def test_without_a_catalog_one_entry_says_why_and_choosing_it_says_it_again(
    simulator: Simulator,
) -> None:
    simulator.script(error_reply(503, "Down for repair"), path="/models")
    pipe = make_pipe(simulator)
    [entry] = await pipe.pipes()
    assert "Down for repair" in entry["name"]
    [event] = await chat(pipe, model=entry["id"])
    assert "Down for repair" in event["error"]["message"]
    assert [request.path for request in simulator.requests] == ["/models"]


async def test_a_task_may_use_a_model_outside_the_list(simulator: Simulator) -> None:
    pipe = make_pipe(simulator, MODEL_ID="b/two")
    simulator.script(text_reply("A title"))
    assert "choices" in await whole(pipe, task="title_generation")
    assert "error" in await whole(pipe)
    assert len(simulator.requests) == 1
