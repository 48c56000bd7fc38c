"""Thinking goes back as it came: details become items, and items details again."""

from __future__ import annotations

from typing import Any

import pytest

from open_webui_openrouter_pipe.api.gateway.items import read_item
from open_webui_openrouter_pipe.requests.chat_body import build_messages
from open_webui_openrouter_pipe.requests.replay import reasoning_items
from open_webui_openrouter_pipe.streaming.output_items import reasoning_output

Json = dict[str, Any]
SUMMARY: Json = {"type": "reasoning.summary", "summary": "So.", "format": "f", "index": 0}
SECRET: Json = {"type": "reasoning.encrypted", "data": "e", "format": "f", "index": 0}
SIGNED: Json = {
    "type": "reasoning.text",
    "text": "Hm.",
    "signature": "s",
    "format": "f",
    "index": 0,
}


def at(index: int, detail: Json, **fields: Any) -> Json:
    return {**detail, "index": index, **fields}


@pytest.mark.parametrize(
    ("details", "items"),
    [
        ([], []),
        ([SUMMARY], []),
        ([{"type": "reasoning.text", "text": "open"}], []),
        (
            [SUMMARY, SECRET],
            [
                {
                    "summary": [{"type": "summary_text", "text": "So."}],
                    "encrypted_content": "e",
                    "format": "f",
                }
            ],
        ),
        (
            [SIGNED],
            [
                {
                    "summary": [],
                    "content": [{"type": "reasoning_text", "text": "Hm."}],
                    "signature": "s",
                    "format": "f",
                }
            ],
        ),
    ],
)
def test_details_become_items(details: list[Json], items: list[Json]) -> None:
    built = reasoning_items(details)
    assert all(item.pop("id") for item in built)
    assert built == [{"type": "reasoning", **item} for item in items]


def test_the_order_of_thinking_and_its_ids_stay() -> None:
    details = [
        at(0, SECRET, id="rs_b"),
        at(1, SECRET, id="rs_a"),
        at(2, SIGNED),
        at(3, SIGNED),
    ]
    items = reasoning_items(details)
    assert [item["id"] for item in items[:2]] == ["rs_b", "rs_a"]
    assert len({item["id"] for item in items}) == 4
    assert [("signature" in item) for item in items] == [False, False, True, True]


@pytest.mark.parametrize(
    "details",
    [
        [SIGNED],
        [at(0, SECRET, id="rs_1")],
        [at(0, SUMMARY, id="rs_1"), at(1, SECRET, id="rs_1")],
        [at(0, SIGNED), at(1, SIGNED)],
        [at(0, SECRET, id="tool_1"), at(1, SECRET, id="tool_2")],
    ],
)
def test_what_goes_back_to_chat_completions_is_what_came_from_it(details: list[Json]) -> None:
    [message] = build_messages(reasoning_items(details))
    assert message["reasoning_details"] == details


@pytest.mark.parametrize(
    "item",
    [
        {"encrypted_content": "e", "format": "f", "summary": []},
        {
            "encrypted_content": "e",
            "summary": [
                {"type": "summary_text", "text": "one"},
                {"type": "summary_text", "text": "two"},
            ],
        },
        {
            "signature": "s",
            "format": "f",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "Hm."}],
        },
    ],
)
def test_what_goes_back_to_responses_is_what_came_from_it(item: Json) -> None:
    whole = {"type": "reasoning", "id": "rs_1", **item}
    read: Any = read_item(whole)
    stored = reasoning_output(read)
    assert reasoning_items(stored["reasoning_details"]) == [whole]


def test_thinking_that_nobody_sealed_stays_out() -> None:
    read: Any = read_item({"type": "reasoning", "id": "r", "content": [{"text": "Hm."}]})
    assert "reasoning_details" not in reasoning_output(read)
