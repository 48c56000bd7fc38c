"""How the form's values are read: clamped, trimmed or replaced, never refused.

A valve that raises takes every model of the pipe off Open WebUI's list.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, cast

from pydantic import BeforeValidator

from .secrets import EncryptedStr


def whole_number(minimum: int, maximum: int, fallback: int) -> BeforeValidator:
    """Read a number out of what the form sends: clamp it, or fall back."""

    def read(value: Any) -> int:
        try:
            number = int(float(value))
        except (TypeError, ValueError, OverflowError):
            return fallback
        return max(minimum, min(maximum, number))

    return BeforeValidator(read)


def amount(fallback: float) -> BeforeValidator:
    """Read a number that is not negative, or fall back."""

    def read(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return fallback
        return max(number, 0.0) if isfinite(number) else fallback

    return BeforeValidator(read)


def one_of(*choices: str, fallback: str) -> BeforeValidator:
    """Read a choice, whatever its case; what is none of them counts as the fallback."""
    by_key = {choice.casefold(): choice for choice in choices}
    return BeforeValidator(lambda value: by_key.get(_read_text(value).casefold(), fallback))


def split_list(text: str) -> tuple[str, ...]:
    """The entries of a list written with commas or line breaks."""
    return tuple(filter(None, (part.strip() for part in text.replace("\n", ",").split(","))))


def _read_words(value: Any) -> list[str]:
    """The chosen entries; an older form, or the API, may send them as one text."""
    if isinstance(value, list | tuple):
        entries = cast("Sequence[Any]", value)
        return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]
    return list(split_list(_read_text(value)))


def _read_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value)


def _read_secret(value: Any) -> str:
    return value if isinstance(value, str) else _read_text(value)


def _read_switch(value: Any) -> bool:
    return _read_text(value).casefold() not in ("", "false", "0", "off", "no")


Text = Annotated[str, BeforeValidator(_read_text)]
Secret = Annotated[EncryptedStr, BeforeValidator(_read_secret)]
Switch = Annotated[bool, BeforeValidator(_read_switch)]
Words = Annotated[list[str], BeforeValidator(_read_words)]
