"""Remembers the beginnings of prompts, so that a repeated one is billed as cached."""

from __future__ import annotations

import hashlib
from typing import Any

from .conversation import Conversation
from .usage import count_tokens

# Beginnings remembered before the memory starts anew.
_MOST = 50_000


class PromptCache:
    """The prefixes of all conversations so far, per model."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._seen: set[bytes] = set()

    def read_and_write(self, asked: Conversation, row: dict[str, Any]) -> tuple[int, int, int]:
        """Return the prompt's tokens, those read from the cache, and those written to it."""
        total, cached = 3, 0
        digest = hashlib.sha256(row["id"].encode())
        fresh: list[bytes] = []
        for turn in asked.turns:
            total += count_tokens(turn.text) + 4 + 85 * len(turn.attachments)
            digest.update(f"{turn.role}\0{turn.text}\0".encode())
            prefix = digest.digest()
            if prefix in self._seen:
                cached = total - 1
            fresh.append(prefix)
        total += sum(count_tokens(str(tool.parameters)) + 8 for tool in asked.tools)
        pricing = row["pricing"]
        # Anthropic caches only on request; vendors without a price for it not at all.
        on_request = row["id"].lstrip("~").startswith("anthropic/")
        if "input_cache_read" not in pricing or (on_request and not asked.cacheable):
            return total, 0, 0
        if len(self._seen) > _MOST:
            self._seen.clear()
        self._seen.update(fresh)
        written = total - cached if "input_cache_write" in pricing and not cached else 0
        return total, cached, written
