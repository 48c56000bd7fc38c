"""What happened in one request, record by record: redacted, and no more than there is room for."""

from __future__ import annotations

import time
from typing import Any

from .json_codec import encode_json
from .redaction import REDACTED, redact_body

_MOST_RECORD_BYTES = 8 * 1024 * 1024
"""Of one request: each round asks with the whole chat again."""
_SHORTEST_SECRET = 6


class SessionRecords:
    """The records of one request, each a line of JSON with its `time` and `kind`."""

    __slots__ = ("_most", "_secret", "dropped", "ended", "lines", "size", "started")

    def __init__(self, most: int, secret: str = "") -> None:
        self._most = most
        self._secret = secret.encode() if len(secret) >= _SHORTEST_SECRET else b""
        """What may stand in no line, though it looks like no key."""
        self.started = time.time()
        """Seconds since 1970, as `ended`; 0 until it is."""
        self.ended = 0.0
        self.lines: list[bytes] = []
        self.size = 0
        """Bytes."""
        self.dropped = 0
        """How many more there would have been."""

    def add(self, kind: str, **fields: Any) -> None:
        """Keep a record; one there is no room for is counted."""
        if self.ended:
            return
        line = b"" if len(self.lines) >= self._most else self._line(kind, fields)
        if not line or self.size + len(line) > _MOST_RECORD_BYTES:
            self.dropped += 1
            return
        self.lines.append(line)
        self.size += len(line)

    def close(self) -> None:
        """Take nothing more."""
        self.ended = time.time()

    def _line(self, kind: str, fields: dict[str, Any]) -> bytes:
        try:
            record = {"time": round(time.time(), 3), "kind": kind, **redact_body(fields)}
            line = encode_json(record)
        except (TypeError, ValueError, RecursionError):  # no JSON; no answer may fail by its log
            return b""
        return line.replace(self._secret, REDACTED.encode()) if self._secret else line
