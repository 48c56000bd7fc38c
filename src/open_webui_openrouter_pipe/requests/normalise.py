"""From the body Open WebUI sends to the body OpenRouter takes: the stages, in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..api.bodies import CompletionsBody, ResponsesBody
from ..core.context import RequestContext
from ..core.errors import UnsupportedInputError
from ..core.json_values import JsonObject, as_object, objects_in
from ..models.family import ModelFamily
from .allow_list import keep_allowed, passed_fields
from .caching import caching_fields
from .fallbacks import fallback_fields
from .history import build_input
from .identifiers import identifier_fields
from .modalities import drawing_fields, modality_fields
from .parameters import translate_parameters
from .plugins import plugin_fields
from .reasoning import heed_earlier_thinking, reasoning_fields
from .retention import remember
from .routing import provider_fields
from .tasks import as_chore, is_chore
from .tools import tool_fields
from .web_search import plan_search


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
    messages = remember(objects_in(body.get("messages")), context.settings)
    keep_results = context.settings.persist_tool_results
    conversation = build_input(messages, keep_results=keep_results, chat_id=context.chat_id)
    if not conversation:
        raise UnsupportedInputError(
            "There is nothing to send: the message is empty.", "Write something and try again."
        )
    is_task = is_chore(context.task)
    search = plan_search(body, context, family, definitions)
    if search.plugins:
        body = {**body, "plugins": [*objects_in(body.get("plugins")), *search.plugins]}
    fields: dict[str, Any] = {
        "model": context.model,
        "input": conversation,
        **caching_fields(context),
        **modality_fields(family, is_task=is_task),
        **passed_fields(body),
        **drawing_fields(body, family, context),
        **fallback_fields(body),
        **provider_fields(body, context),
        **plugin_fields(body, conversation, context.settings),
        **identifier_fields(body, context),
        **translate_parameters(body),
        **reasoning_fields(body, family, context.settings, is_task=is_task),
        **tool_fields(body, [*definitions, *search.tools], context.settings),
    }
    if is_task:
        return keep_allowed(as_chore(fields))
    if reasoning := heed_earlier_thinking(
        as_object(fields.get("reasoning")), context.model, conversation
    ):
        fields["reasoning"] = reasoning
    return keep_allowed(fields)
