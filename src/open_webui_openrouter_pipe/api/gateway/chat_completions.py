"""`POST /chat/completions`: for what the Responses API cannot carry; the same Events come out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from functools import partial

import httpx

from ...core.config import Settings
from ...core.json_values import objects_in
from ..bodies import ChatBody
from ..events import Event
from .chat_reader import ChatReader, read_finished_completion
from .parsed_files import hash_of_file
from .stream import Endpoint, stream_endpoint

_CHAT_COMPLETIONS = Endpoint("/chat/completions", ChatReader, "choices", read_finished_completion)


def stream_chat_completions(
    client: httpx.AsyncClient, settings: Settings, body: ChatBody
) -> AsyncGenerator[list[Event]]:
    """Ask `/chat/completions` and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    messages = objects_in(body.get("messages"))
    notes = [note for each in messages for note in objects_in(each.get("annotations"))]
    reader = partial(ChatReader, frozenset(map(hash_of_file, notes)))
    endpoint = replace(_CHAT_COMPLETIONS, new_reader=reader)
    return stream_endpoint(client, settings, endpoint, body)
