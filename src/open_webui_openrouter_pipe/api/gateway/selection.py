"""Which endpoint answers: by the admin's rules, by what the request needs, by what failed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from fnmatch import fnmatchcase

from ...core.config import Settings
from ...core.errors import EndpointConflictError, OpenRouterAPIError, PipeError
from ...core.timing_logger import timed


class EndpointName(Enum):
    """The two endpoints of chats, and those of models that only draw or film."""

    RESPONSES = "responses"
    CHAT_COMPLETIONS = "chat_completions"
    IMAGES = "images"
    VIDEOS = "videos"


_NO_RESPONSES = re.compile(
    r"wrong_endpoint|responses (api|endpoint).*(not|un)\s?(supported|available)"
    r"|not (supported|available).*(responses|this endpoint)|invalid responses api request",
    re.IGNORECASE,
)


@timed
def select_endpoint(model: str, settings: Settings, chat_needs: Sequence[str]) -> EndpointName:
    """Choose; raises `EndpointConflictError` when a rule forbids what the request needs.

    `chat_needs` names what only `/chat/completions` can carry.
    """
    forced_responses = _matches(model, settings.force_responses)
    if chat_needs:
        if forced_responses:
            raise EndpointConflictError(
                f"{model} is bound to the Responses API, "
                f"which cannot carry: {', '.join(chat_needs)}.",
                "Remove these parameters, or ask the admin to change FORCE_RESPONSES_MODELS.",
                required=EndpointName.CHAT_COMPLETIONS.value,
                enforced=EndpointName.RESPONSES.value,
            )
        return EndpointName.CHAT_COMPLETIONS
    if forced_responses:
        return EndpointName.RESPONSES
    if _matches(model, settings.force_chat_completions):
        return EndpointName.CHAT_COMPLETIONS
    return EndpointName(settings.default_endpoint)


def may_fall_back(model: str, settings: Settings, error: PipeError) -> bool:
    """Whether the refusal says that this model or server has no Responses API."""
    if _matches(model, settings.force_responses) or not isinstance(error, OpenRouterAPIError):
        return False
    failure = error.failure
    if failure.status in (405, 501):
        return True
    complaint = " ".join((failure.code, failure.message, failure.upstream_message))
    return failure.status in (400, 404, 422) and bool(_NO_RESPONSES.search(complaint))


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatchcase(model, pattern) or fnmatchcase(model.replace("/", ".", 1), pattern)
        for pattern in patterns
    )
