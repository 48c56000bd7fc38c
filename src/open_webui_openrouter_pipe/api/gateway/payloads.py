"""The objects of an event stream, whichever endpoint sends it."""

from __future__ import annotations

from typing import Protocol

from ...core.errors import StreamInterruptedError
from ...core.json_codec import decode_json
from ...core.json_values import JsonObject, as_object
from ...core.logging_system import LOG
from ..events import Event


class StreamReader(Protocol):
    """Turns the bytes of one stream into Events; what it does not know it passes over."""

    finished: bool
    """Whether the Event that ends an answer was given out."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        ...

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        ...


def read_payload(payload: bytes) -> JsonObject | None:
    """The object of one event; `None` for one that is no JSON, which is noted in the log."""
    try:
        return as_object(decode_json(payload))
    except ValueError:
        size = len(payload)
        LOG.warning("stream: an event is not JSON and was passed over (%d bytes)", size)
        return None


def answer_cut_short() -> StreamInterruptedError:
    """What a stream is told to be that ends without the event that ends an answer."""
    return StreamInterruptedError(
        "The answer stopped before its end.",
        "What had arrived is kept. Try again for a whole answer.",
    )
