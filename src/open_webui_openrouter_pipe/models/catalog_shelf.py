"""The last good catalog on disk: a restart lists it without network, and workers share one."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

from ..api.catalog import CatalogCopy
from ..core.json_codec import decode_json, encode_json
from ..core.json_values import as_object, objects_in, text_of
from ..core.logging_system import LOG

_TURN_LOOK_SECONDS = 0.25
# Longer than fetching can take: a worker that died in its turn is not waited for any longer.
_LONGEST_TURN_SECONDS = 90.0


class CatalogShelf:
    """Where one installed copy keeps the catalog of its account; without a path, nowhere."""

    def __init__(self, path: Path | None = None, account: str = "") -> None:
        self._path = path
        self._account = account
        self._turn_file = path.with_suffix(".turn") if path is not None else None
        self._has_turn = False
        self._is_failing = False

    async def read(self) -> CatalogCopy | None:
        """What is kept; `None` for nothing, for half a file and for another account's."""
        if self._path is None:
            return None
        return await asyncio.to_thread(_read_kept, self._path, self._account)

    async def keep(self, catalog: CatalogCopy) -> None:
        """Put a new one in the place of the old; a disk that takes none is told of once."""
        if self._path is None:
            return
        try:
            await asyncio.to_thread(_write_kept, self._path, self._account, catalog)
            self._is_failing = False
        except OSError as error:
            level = logging.DEBUG if self._is_failing else logging.WARNING
            self._is_failing = True
            LOG.log(level, "catalog: it cannot be kept for the next start: %s", error)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One worker at a time: the others wait, and find what it has kept."""
        try:
            while not await asyncio.to_thread(self._take_turn):  # noqa: ASYNC110 - of other processes
                await asyncio.sleep(_TURN_LOOK_SECONDS)
            yield
        finally:
            if self._has_turn and self._turn_file is not None:
                self._has_turn = False
                await asyncio.to_thread(_drop_kept_file, self._turn_file)

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


def _read_kept(path: Path, account: str) -> CatalogCopy | None:
    try:
        came_at = path.stat().st_mtime
        kept = as_object(decode_json(path.read_bytes()))
    except (OSError, ValueError):
        return None
    rows, zdr_ids = objects_in(kept.get("rows")), kept.get("zdr_ids")
    if kept.get("account") != account or not rows:
        return None
    has_ids = isinstance(zdr_ids, list)
    return CatalogCopy(
        rows=rows,
        etag=text_of(kept.get("etag")),
        zdr_ids=frozenset(map(text_of, cast("list[Any]", zdr_ids))) if has_ids else None,
        age=time.time() - came_at,
    )


def _write_kept(path: Path, account: str, catalog: CatalogCopy) -> None:
    zdr_ids = None if catalog.zdr_ids is None else sorted(catalog.zdr_ids)
    kept = {"account": account, "etag": catalog.etag, "zdr_ids": zdr_ids, "rows": catalog.rows}
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(encode_json(kept))
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
