"""`POST /chat/completions`: for what the Responses API cannot carry; the same Events come out."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from ...core.config import Settings
from ..bodies import ChatBody
from ..events import Event
from .chat_reader import ChatReader, read_finished_completion
from .stream import Endpoint, stream_endpoint

_CHAT_COMPLETIONS = Endpoint("/chat/completions", ChatReader, "choices", read_finished_completion)


def stream_chat_completions(
    client: httpx.AsyncClient, settings: Settings, body: ChatBody
) -> AsyncGenerator[list[Event]]:
    """Ask `/chat/completions` and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    return stream_endpoint(client, settings, _CHAT_COMPLETIONS, body)
