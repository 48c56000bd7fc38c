"""What stands in the texts of old answers and no model should read: players, others' marks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..core.json_values import JsonObject, objects_in, text_of

# Hidden Markdown definitions: an id of 20 to 26 Crockford digits, or the phase of a message.
_MARKER = re.compile(r" {0,3}\[(?:[0-9A-HJKMNP-TV-Z]{20,26}|P:\w+)\]: ?#[ \t]*")
_CODE_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CARD = re.compile(r" {0,3}<details\b[^>]*\btype=[\"'](?:reasoning|tool_calls)[\"']")
# The player of a file that the answer made (`storage/keeping.py`).
_PLAYER = re.compile(r"\n*<(audio|video)>\n/api/v1/files/[\w-]+/content\n</\1>\n?")
_CARD_END = "</details>"


def clean_answer(message: JsonObject) -> JsonObject:
    """An earlier answer without what was never part of its text; code is left as it is."""
    content = message.get("content")
    if isinstance(content, str):
        cleaned = clean_text(content)
        return message if cleaned is content else {**message, "content": cleaned}
    if not isinstance(content, list):
        return message
    return {**message, "content": [_clean_part(part) for part in objects_in(content)]}


def _clean_part(part: Mapping[str, Any]) -> JsonObject:
    text = text_of(part.get("text"))
    return {**part, "text": clean_text(text)} if text else dict(part)


def clean_text(text: str) -> str:
    """The text without players, marker lines and the cards of Open WebUI before 0.10."""
    if "o>\n/api/v1/files/" in text:
        text = _PLAYER.sub("", text)
    if "]:" not in text and "<details" not in text:
        return text
    reader = AnswerLines()
    kept = [line for whole in text.split("\n") if (line := reader.read(whole)) is not None]
    cleaned = "\n".join(kept)
    # A card that nothing closes may be anything.
    return text if reader.in_card or cleaned == text else cleaned.strip("\n")


class AnswerLines:
    """Reads an answer line by line, and knows where code and where a card is."""

    __slots__ = ("_fence", "in_card")

    def __init__(self) -> None:
        self._fence = ""
        self.in_card = False

    def read(self, line: str) -> str | None:
        """What of the line belongs to the answer; `None` for nothing at all."""
        if not self.in_card and (self._fence or _CODE_FENCE.match(line)):
            self._read_code(line)
            return line
        if self.in_card or _CARD.match(line):
            _, end, rest = line.partition(_CARD_END)
            self.in_card = not end
            return rest.strip() or None
        return None if _MARKER.fullmatch(line) else line

    def _read_code(self, line: str) -> None:
        mark = line.strip()
        if not self._fence:
            opened = _CODE_FENCE.match(line)
            self._fence = opened[1] if opened else ""
        elif mark.startswith(self._fence) and not mark.strip(self._fence[0]):
            self._fence = ""
