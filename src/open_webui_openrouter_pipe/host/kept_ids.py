"""Lists of ids that the pipe remembers in Open WebUI's configuration.

There they outlive a restart, are the same for every worker, and travel with an export of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

_KEPT_UNDER = "openrouter_pipe.{}"


async def read_kept_ids(name: str) -> frozenset[str]:
    """Read the ids that `keep_ids` has kept under a name."""
    from open_webui.internal.db import get_async_db  # pyright: ignore[reportMissingImports]
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]

    # `Config.get` and `upsert` keep nothing where ENABLE_PERSISTENT_CONFIG is off.
    async with get_async_db() as database:
        kept = await database.get(Config, _KEPT_UNDER.format(name))
    return frozenset(kept.value) if kept is not None else frozenset()


async def keep_ids(name: str, ids: Iterable[str]) -> None:
    """Keep these ids under a name, in place of those kept before."""
    from open_webui.internal.db import get_async_db  # pyright: ignore[reportMissingImports]
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]

    row = Config(key=_KEPT_UNDER.format(name), value=sorted(ids), updated_at=int(time.time()))
    async with get_async_db() as database:
        await database.merge(row)
        await database.commit()
