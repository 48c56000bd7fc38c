"""From the body Open WebUI sends to the body OpenRouter takes: the stages, in order."""

from __future__ import annotations

from ..api.bodies import CompletionsBody, ResponsesBody
from ..core.errors import UnsupportedInputError
from .allow_list import keep_allowed, passed_fields
from .history import build_input
from .parameters import translate_parameters


def build_responses_body(body: CompletionsBody, model: str) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` when there is nothing to send."""
    conversation = build_input(body.get("messages") or [])
    if not conversation:
        raise UnsupportedInputError(
            "There is nothing to send: the message is empty.", "Write something and try again."
        )
    return keep_allowed(
        {
            "model": model,
            "input": conversation,
            **passed_fields(body),
            **translate_parameters(body),
        }
    )
