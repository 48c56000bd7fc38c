"""One worker process of a server: `python -m tests.storage.artifact_worker TARGET URL NAME COUNT`,
and the URL of a Redis where it has one.

It keeps one thought for each of so many chats, and says of each when its answer could be saved.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from types import ModuleType

from sqlalchemy.ext.asyncio import create_async_engine

from tests.bundle_target import answer_from_bundle
from tests.services import client_of, redis_modules


async def work(url: str, name: str, count: int, redis_url: str = "") -> None:
    from open_webui_openrouter_pipe.storage import artifacts
    from tests.storage.artifact_stores import call, open_store

    artifacts.__dict__["_SETTLE_SECONDS"] = 60
    engine = create_async_engine(url)
    modules = {name: ModuleType(name) for name in ("open_webui", "open_webui.internal")}
    modules["open_webui.internal.db"] = database = ModuleType("open_webui.internal.db")
    modules["open_webui.env"] = environment = ModuleType("open_webui.env")
    database.__dict__["async_engine"] = engine
    environment.__dict__.update(DATABASE_SCHEMA=None, REDIS_KEY_PREFIX="lab")
    redis = client_of(redis_url) if redis_url else None
    if redis is not None:
        modules |= redis_modules(redis)
    sys.modules.update(modules)
    slots = asyncio.Semaphore(8)

    async def answer(chat: str) -> None:
        async with slots:
            artifact_id = store.keep(call(chat=chat), "reasoning", [chat])
            await store.settle([artifact_id])
            print(chat, artifact_id, flush=True)  # noqa: T201

    async with open_store() as store:
        await asyncio.gather(*(answer(f"{name}-{number}") for number in range(count)))
    await engine.dispose()
    if redis is not None:
        await redis.aclose()


if __name__ == "__main__":
    target, url, name, count, *more = sys.argv[1:]
    if target == "bundle":
        answer_from_bundle(Path.cwd())
    asyncio.run(work(url, name, int(count), *more))
