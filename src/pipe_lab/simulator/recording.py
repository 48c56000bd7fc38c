"""What the simulator was sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class RecordedRequest:
    """One request as it came over the wire, and how it ended."""

    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    raw: bytes = b""
    # The client left before the answer was complete.
    disconnected: bool = False
    # The answer was written to its end.
    finished: bool = False
