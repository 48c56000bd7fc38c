"""Artifacts in Redis for a while, encrypted as they stand in the table; the others stay out.

No worker keeps a copy in its memory, so whoever deletes a row deletes it here for all of them and
has nobody to tell.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..host.redis import SharedRedis, redis_key
from .artifact_table import ArtifactHome, home_of_row
from .payload_codec import is_encrypted

_LARGEST_SHARED = 256 * 1024


class ArtifactCache:
    """Payloads by their place; it may lack any of them, and loses all of them after `seconds`."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self.seconds = 0
        """How long it keeps one; 0 switches it off."""

    async def read(self, home: ArtifactHome, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """Id and payload of those that it has; not all of them need open."""
        if not self.seconds:
            return []
        keys = [_cache_key(home, each) for each in ids]
        texts = await self._redis.ask("reading", lambda client: client.mget(keys))
        found = zip(ids, map(payload_in, texts or []), strict=False)
        return [(each, payload) for each, payload in found if is_encrypted(payload)]

    async def keep_rows(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether it has the payloads of these rows now."""
        return await self.keep((home_of_row(row), row["id"], row["payload"]) for row in rows)

    async def keep(self, payloads: Iterable[tuple[ArtifactHome, str, bytes]]) -> bool:
        """Whether it has those of these payloads that it may have now."""
        shown = {
            _cache_key(home, artifact_id): payload_text(payload)
            for home, artifact_id, payload in payloads
            if may_be_shared(payload)
        }
        if not (self.seconds and shown):
            return False

        def put(pipeline: Any) -> None:
            for key, text in shown.items():
                pipeline.set(key, text, ex=self.seconds)

        return await self._redis.send("writing", put)

    async def forget(self, places: Iterable[tuple[ArtifactHome, str]]) -> None:
        """Drop these, which are deleted."""
        keys = [_cache_key(home, each) for home, each in places]
        if keys:
            await self._redis.send("writing", lambda pipeline: [*map(pipeline.delete, keys)])


def may_be_shared(payload: bytes) -> bool:
    """Whether a payload may go into Redis: encrypted, and not too large for a short patience."""
    return is_encrypted(payload) and len(payload) <= _LARGEST_SHARED


def payload_text(payload: bytes) -> str:
    """A payload as text: Open WebUI's client decodes all that it reads."""
    return b64encode(payload).decode()


def payload_in(text: Any) -> bytes:
    """The payload in such a text; empty where it is none."""
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError):
        return b""


def _cache_key(home: ArtifactHome, artifact_id: str) -> str:
    chat = f"{{{home.chat_id}}}"  # one node of a cluster has all of a chat
    return redis_key("artifact", home.pipe_id, chat, home.user_id, artifact_id)
