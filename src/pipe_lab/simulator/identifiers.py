"""Ids as OpenRouter mints them: `gen-…` for an answer, `msg_tmp_…` for an item in it."""

from __future__ import annotations

import random
import string
import time

_ALPHANUMERIC = string.ascii_letters + string.digits
_LOWER = string.ascii_lowercase + string.digits
_RANDOM = random.SystemRandom()


def generation_id() -> str:
    """The id of one answer: `gen-<unix time>-<20 characters>`."""
    return f"gen-{int(time.time())}-{random_word(20)}"


def item_id(kind: str) -> str:
    """The id of one output item; valid only inside its own answer."""
    return f"{kind}_tmp_{random_word(11, _LOWER)}"


def random_word(length: int, alphabet: str = _ALPHANUMERIC) -> str:
    """Some characters without meaning."""
    return "".join(_RANDOM.choices(alphabet, k=length))
