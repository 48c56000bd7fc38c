"""The eight shapes in which OpenRouter says that something failed."""

from __future__ import annotations

import httpx
import orjson

from pipe_lab.simulator import (
    Simulator,
    broken_off,
    chat_text_reply,
    error_availability,
    error_chat_choice,
    error_event,
    error_event_wrapped,
    error_failed_response,
    error_in_success,
    error_plain,
    error_validation,
    text_reply,
)


def test_shape_a_has_an_integer_code_and_its_metadata_inside() -> None:
    body = error_plain(429, "Provider returned error", provider_name="OpenAI", raw="busy")
    metadata = {"provider_name": "OpenAI", "raw": "busy"}
    error = {"message": "Provider returned error", "code": 429, "metadata": metadata}
    assert body == {"error": error}
    assert "metadata" not in error_plain(401, "User not found.")["error"]


def test_shape_b_has_a_word_for_a_code_and_its_issues_beside_the_error() -> None:
    body = error_validation("Invalid Responses API request", [{"path": ["input", 1]}])
    assert body["error"]["code"] == "invalid_prompt"
    assert orjson.loads(body["metadata"]["raw"]) == [{"path": ["input", 1]}]


def test_shape_c_has_no_code_but_availability() -> None:
    availability = {"code": "capacity_exhausted", "retryable": True, "retry_after": 4}
    error = error_availability("At capacity", 429, "rate_limit_exceeded", availability)["error"]
    assert "code" not in error
    assert (error["http_status"], error["availability"]["retry_after"]) == (429, 4)


def test_shape_d_is_a_response_that_failed() -> None:
    body = error_failed_response("No", "server_error", "authentication")
    assert (body["object"], body["status"], body["output"]) == ("response", "failed", [])
    assert body["error"] == {"code": "server_error", "message": "No"}
    assert body["error_type"] == "authentication"


def test_shape_e_breaks_off_inside_a_choice() -> None:
    whole = error_chat_choice("Gone", 502, "provider_unavailable")
    chunk = error_chat_choice("Gone", 502, "provider_unavailable", stream=True)
    assert whole["choices"][0]["error"]["code"] == chunk["error"]["code"] == 502
    assert whole["choices"][0]["finish_reason"] == chunk["choices"][0]["finish_reason"] == "error"


def test_shapes_f_and_g_are_events_of_a_stream() -> None:
    assert error_event("Gone", None, 6) == {
        "type": "error",
        "code": None,
        "message": "Gone",
        "param": None,
        "sequence_number": 6,
    }
    error = {"error": {"code": 502, "message": "Gone"}}
    assert error_event_wrapped("Gone", 502) == {"type": "response.error", **error}
    assert error_event_wrapped("Gone", 502, None) == error


async def test_shape_h_is_an_error_under_status_200(
    simulator: Simulator, client: httpx.AsyncClient
) -> None:
    simulator.script(error_in_success("Internal Server Error"))
    response = await client.post("/responses", json={"model": "m/m", "input": "hi"})
    assert response.status_code == 200
    assert response.json()["error"]["code"] == 500


def test_a_stream_keeps_what_came_before_it_broke_off() -> None:
    for reply in (text_reply("Hello world"), chat_text_reply("Hello world")):
        broken = broken_off(reply, 3, {"end": True})
        assert broken.events == [*(reply.events or [])[:3], {"end": True}]
