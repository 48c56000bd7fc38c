"""`POST /responses`: a request body in, Events out."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx

from ...core.config import Settings
from ..bodies import ResponsesBody
from ..events import Event
from .responses_reader import ResponsesReader, read_finished_answer
from .stream import Endpoint, stream_endpoint

_RESPONSES = Endpoint("/responses", ResponsesReader, "output", read_finished_answer)


def stream_responses(
    client: httpx.AsyncClient, settings: Settings, body: ResponsesBody
) -> AsyncGenerator[list[Event]]:
    """Ask `/responses` and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    return stream_endpoint(client, settings, _RESPONSES, body)
