"""A run of text deltas, read by its bytes: only the words differ from one event to the next."""

from __future__ import annotations

import re

from ...core.json_codec import decode_json
from ...core.logging_system import LOG

_KEY = b'"delta":"'
# A line each: the words as JSON writes them, and all that may follow, which means nothing to us.
_WORDS = re.compile(
    rb'^([^"\\\n]*(?:\\.[^"\\\n]*)*)"(?:,"logprobs":\[\])?(?:,"sequence_number":\d+)?\}$',
    re.MULTILINE,
)
_HALF_EMOJI = re.compile(rb"\\u[dD]")


class TextRun:
    """Takes the events that begin with the same bytes as the delta before them.

    To decode each of hundreds of events for its one word is what reading a stream costs most.
    Whatever has another form is left to the caller, who decodes it.
    """

    __slots__ = ("_beginning", "_words")

    def __init__(self) -> None:
        self._beginning = b""
        self._words: list[bytes] = []

    def follow(self, payload: bytes) -> None:
        """Take what begins as this delta does, which the caller has decoded."""
        before, key, _ = payload.partition(_KEY)
        self._beginning = before + key if key else b""

    def take(self, payloads: list[bytes], start: int) -> int:
        """How many events from `start` on are of the run; their words are kept."""
        beginning = self._beginning
        if not beginning or not payloads[start].startswith(beginning):
            return 0
        end = start + 1
        while end < len(payloads) and payloads[end].startswith(beginning):
            end += 1
        return self._take_words(payloads[start:end]) or self._take_words(
            payloads[start : start + 1]
        )

    def _take_words(self, events: list[bytes]) -> int:
        """Read all in one go, which is possible only where all of them have the usual form."""
        known = len(self._beginning)
        lines = b"\n".join([event[known:] for event in events])
        words: list[bytes] = _WORDS.findall(lines)
        if not len(words) == len(events) == lines.count(b"\n") + 1:
            return 0
        self._words += words
        return len(words)

    def take_text(self) -> str:
        """The text of the run so far; words that cannot be read are noted and left out."""
        if not self._words:
            return ""
        words, self._words = self._words, []
        joined = b"".join(words)
        try:
            # Halves of an emoji stay apart: whether two meet depends on how the network cut.
            if not _HALF_EMOJI.search(joined):
                return str(decode_json(b'"' + joined + b'"'))
        except ValueError:
            pass
        return "".join(map(_decode_words, words))


def _decode_words(words: bytes) -> str:
    try:
        return str(decode_json(b'"' + words + b'"'))
    except ValueError:
        LOG.warning("stream: a delta is not JSON and was passed over (%d bytes)", len(words))
        return ""
