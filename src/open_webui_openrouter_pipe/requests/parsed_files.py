"""What OpenRouter has read out of documents goes back, so that nobody pays for it twice.

Only `/chat/completions` knows it, as `annotations` of the answer that brought it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..api.bodies import ResponsesBody
from ..core.ids import PARSED_DETAIL
from ..core.json_values import JsonObject, as_object, objects_in, text_of


def parsed_items(
    message: Mapping[str, Any], chat_id: str, details: Sequence[JsonObject]
) -> list[dict[str, Any]]:
    """What an earlier answer of this chat brought, as an item of the input; a copy is no longer it.

    An API client sends it back as it got it.
    """
    files = [
        file
        for detail in details
        if (detail.get("type"), detail.get("chat")) == (PARSED_DETAIL, chat_id)
        for file in objects_in(detail.get("files"))
    ]
    files += [each for each in objects_in(message.get("annotations")) if each.get("type") == "file"]
    return [{"type": PARSED_DETAIL, "files": files}] if files else []


def bind_to_chat(details: Sequence[JsonObject], chat_id: str) -> None:
    """Say in which chat it was read."""
    for detail in details:
        if detail.get("type") == PARSED_DETAIL:
            detail["chat"] = chat_id


def without_parsed(request: ResponsesBody) -> ResponsesBody:
    """The request as the Responses API knows it."""
    items = request.get("input", [])
    if not any(item.get("type") == PARSED_DETAIL for item in items):
        return request
    kept = [item for item in items if item.get("type") != PARSED_DETAIL]
    return cast("ResponsesBody", {**request, "input": kept})


def files_to_name(
    files: Sequence[JsonObject], messages: Sequence[Mapping[str, Any]]
) -> list[JsonObject]:
    """Those whose document goes out too."""
    sent = {
        text_of(as_object(part.get("file")).get("filename"))
        for message in messages
        for part in objects_in(message.get("content"))
        if part.get("type") == "file"
    }
    return [each for each in files if text_of(as_object(each.get("file")).get("name")) in sent]
