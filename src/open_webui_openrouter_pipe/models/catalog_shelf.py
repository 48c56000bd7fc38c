"""The last good catalog: a restart lists it without network, and workers share one.

It lies on disk, and in Open WebUI's Redis where there is one: servers have no disk in common.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    nullcontext,
    suppress,
)
from pathlib import Path
from typing import Any, cast

from ..api.catalog import CatalogCopy
from ..core.json_codec import decode_json, encode_json
from ..core.json_values import as_object, number_of, objects_in, text_of
from ..core.logging_system import LOG
from ..host.redis import SharedRedis, redis_key
from ..host.single_worker import only_worker

_TURN_LOOK_SECONDS = 0.25
# Longer than fetching can take: a worker that died in its turn is not waited for any longer.
_LONGEST_TURN_SECONDS = 90.0
_CATALOG_PATIENCE_SECONDS = 5.0
_CATALOG_LIFE_SECONDS = 7 * 24 * 3_600


class CatalogShelf:
    """Where one installed copy keeps the catalog of its account; without a path, nowhere."""

    def __init__(
        self, path: Path | None = None, account: str = "", redis: SharedRedis | None = None
    ) -> None:
        self._path = path
        self._account = account
        self._name = f"catalog:{path.stem}:{account}" if path is not None else ""
        self._redis = redis or SharedRedis()
        self._turn_file = path.with_suffix(".turn") if path is not None else None
        self._has_turn = False
        self._is_failing = False

    async def read(self) -> CatalogCopy | None:
        """The newest that is kept; `None` for nothing, half of one and another account's."""
        if self._path is None:
            return None
        key, patience = redis_key(self._name), _CATALOG_PATIENCE_SECONDS
        shared = await self._redis.ask("the catalog", lambda client: client.get(key), patience)
        return await asyncio.to_thread(_read_newest, self._path, shared, self._account)

    async def keep(self, catalog: CatalogCopy) -> None:
        """Put a new one in the place of the old; a disk that takes none is told of once."""
        if self._path is None:
            return
        kept = await asyncio.to_thread(_as_kept, self._account, catalog)
        key, life = redis_key(self._name), _CATALOG_LIFE_SECONDS
        await self._redis.ask(
            "the catalog", lambda c: c.set(key, kept, ex=life), _CATALOG_PATIENCE_SECONDS
        )
        try:
            await asyncio.to_thread(_write_kept, self._path, kept)
            self._is_failing = False
        except OSError as error:
            level = logging.DEBUG if self._is_failing else logging.WARNING
            self._is_failing = True
            LOG.log(level, "catalog: it cannot be kept for the next start: %s", error)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One worker at a time: the others wait, and find what it has kept."""
        async with AsyncExitStack() as turns:
            while not await turns.enter_async_context(self._shared_turn()):  # noqa: ASYNC110
                await asyncio.sleep(_TURN_LOOK_SECONDS)
            try:
                while not await asyncio.to_thread(self._take_turn):  # noqa: ASYNC110 - of others
                    await asyncio.sleep(_TURN_LOOK_SECONDS)
                yield
            finally:
                if self._has_turn and self._turn_file is not None:
                    self._has_turn = False
                    await asyncio.to_thread(_drop_kept_file, self._turn_file)

    def _shared_turn(self) -> AbstractAsyncContextManager[bool]:
        """Among the servers that have a Redis in common."""
        if self._path is None:
            return nullcontext(True)
        return only_worker(self._name, int(_LONGEST_TURN_SECONDS))

    def _take_turn(self) -> bool:
        file = self._turn_file
        if file is None:
            return True
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(exist_ok=False)
        except FileExistsError:
            if not _is_abandoned(file):
                return False
            with suppress(OSError):
                file.touch()
        except OSError:
            return True  # nothing can be kept there, so there is nothing to wait for
        self._has_turn = True
        return True


def _read_newest(path: Path, shared: Any, account: str) -> CatalogCopy | None:
    """Of what is on disk and in Redis: one may be out of reach while the other is written."""
    copies = [_copy_in(shared, account)]
    with suppress(OSError):
        copies.append(_copy_in(path.read_bytes(), account, path.stat().st_mtime))
    return min((each for each in copies if each is not None), key=lambda c: c.age, default=None)


def _copy_in(data: Any, account: str, came_at: float = 0.0) -> CatalogCopy | None:
    try:
        kept = as_object(decode_json(data or b""))
    except (TypeError, ValueError):
        return None
    rows, zdr_ids = objects_in(kept.get("rows")), kept.get("zdr_ids")
    if kept.get("account") != account or not rows:
        return None
    has_ids = isinstance(zdr_ids, list)
    return CatalogCopy(
        rows=rows,
        etag=text_of(kept.get("etag")),
        zdr_ids=frozenset(map(text_of, cast("list[Any]", zdr_ids))) if has_ids else None,
        age=time.time() - (came_at or number_of(kept.get("at")) or 0),
    )


def _as_kept(account: str, catalog: CatalogCopy) -> bytes:
    zdr_ids = None if catalog.zdr_ids is None else sorted(catalog.zdr_ids)
    kept = {"account": account, "at": time.time(), "etag": catalog.etag, "zdr_ids": zdr_ids}
    return encode_json({**kept, "rows": catalog.rows})


def _write_kept(path: Path, kept: bytes) -> None:
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(kept)
        draft.replace(path)
    finally:
        _drop_kept_file(draft)


def _is_abandoned(file: Path) -> bool:
    try:
        return not 0 <= time.time() - file.stat().st_mtime < _LONGEST_TURN_SECONDS
    except FileNotFoundError:
        return False  # it has just been given away
    except OSError:
        return True


def _drop_kept_file(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)
