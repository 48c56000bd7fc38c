"""Open WebUI's Redis, where it has one: alone, behind sentinels, or a cluster."""

from __future__ import annotations

from typing import Any


def find_redis() -> Any:
    """The asyncio client that Open WebUI's own configuration makes; `None` without one.

    It is shared with Open WebUI, which closes it.
    """
    try:
        from open_webui.utils.redis import get_redis_client  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return get_redis_client(async_mode=True)


def redis_key(*parts: str) -> str:
    """A key of ours, under the prefix that keeps this Open WebUI apart from others."""
    try:
        from open_webui.env import REDIS_KEY_PREFIX  # pyright: ignore[reportMissingImports]
    except ImportError:
        REDIS_KEY_PREFIX = "open-webui"
    return ":".join((REDIS_KEY_PREFIX, "openrouter-pipe", *parts))
