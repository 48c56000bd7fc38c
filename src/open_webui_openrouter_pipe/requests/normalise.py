"""From the body Open WebUI sends to the body OpenRouter takes: the stages, in order."""

from __future__ import annotations

from collections.abc import Sequence

from ..api.bodies import CompletionsBody, ResponsesBody
from ..core.context import RequestContext
from ..core.errors import UnsupportedInputError
from ..core.json_values import JsonObject, objects_in
from ..models.family import ModelFamily
from .allow_list import keep_allowed, passed_fields
from .caching import caching_fields
from .history import build_input
from .parameters import translate_parameters
from .reasoning import reasoning_fields
from .tools import tool_fields


def build_responses_body(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    definitions: Sequence[JsonObject] = (),
) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` when there is nothing to send.

    `family` is what the catalog says of the model, where it knows it; `definitions` are the tools
    that somebody on this side runs.
    """
    conversation = build_input(
        objects_in(body.get("messages")), keep_results=context.settings.persist_tool_results
    )
    if not conversation:
        raise UnsupportedInputError(
            "There is nothing to send: the message is empty.", "Write something and try again."
        )
    is_task = bool(context.task)
    return keep_allowed(
        {
            "model": context.model,
            "input": conversation,
            **caching_fields(context),
            **passed_fields(body),
            **translate_parameters(body),
            **reasoning_fields(body, family, context.settings, is_task=is_task),
            **tool_fields(body, definitions, context.settings),
        }
    )
