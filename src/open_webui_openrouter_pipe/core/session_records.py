"""What happened in one request, record by record: redacted, and no more than there is room for."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from .json_codec import encode_json
from .redaction import REDACTED, redact_body

_MOST_RECORD_BYTES = 8 * 1024 * 1024
"""Of one request; each round's request repeats the whole chat."""
_SHORTEST_SECRET = 8


class SessionRecords:
    """The records of one request, each a line of JSON with its `time` and `kind`."""

    __slots__ = ("_most", "_secrets", "dropped", "is_open", "lines", "outcome", "size", "started")

    def __init__(self, most: int, secrets: Iterable[str] = ()) -> None:
        self._most = most
        self._secrets = [each.encode() for each in secrets if len(each) >= _SHORTEST_SECRET]
        self.started = time.time()
        self.is_open = True
        """Until the answer has ended: nothing is noted after it."""
        self.lines: list[bytes] = []
        self.size = 0
        """Bytes."""
        self.dropped = 0
        """How many more there would have been."""
        self.outcome = "stopped"
        """How the answer ended: `finished`, `incomplete`, `failed`, else it was stopped."""

    def add(self, kind: str, **fields: Any) -> None:
        """Keep a record; one there is no room for is counted."""
        if not self.is_open:
            return
        if len(self.lines) >= self._most or self.size >= _MOST_RECORD_BYTES:
            self.dropped += 1
            return
        record = {"time": round(time.time(), 3), "kind": kind, **redact_body(fields)}
        try:
            line = encode_json(record)
        except (TypeError, ValueError, RecursionError):  # no JSON: no answer may fail by its log
            self.dropped += 1
            return
        for secret in self._secrets:
            line = line.replace(secret, REDACTED.encode())
        if self.size + len(line) > _MOST_RECORD_BYTES:
            self.dropped += 1
            return
        self.lines.append(line)
        self.size += len(line)
