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
