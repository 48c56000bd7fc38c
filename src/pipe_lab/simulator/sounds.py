"""Plays a short tone with nothing but the standard library."""

from __future__ import annotations

import base64
import math
import struct

_RATE = 24_000
# Cut where neither three bytes nor one sample ends, as the wire may.
_PIECE = 4_001


def tone(seconds: float = 0.5, pitch: float = 440.0) -> bytes:
    """A tone as `pcm16`: bare samples of one channel, 24,000 a second."""
    count = int(_RATE * seconds)
    return struct.pack(
        f"<{count}h", *(int(8_000 * math.sin(math.tau * pitch * n / _RATE)) for n in range(count))
    )


def tone_in_pieces(seconds: float = 0.5) -> tuple[str, ...]:
    """The tone as base64, in the pieces that a stream brings."""
    data = base64.b64encode(tone(seconds)).decode()
    return tuple(data[start : start + _PIECE] for start in range(0, len(data), _PIECE))
