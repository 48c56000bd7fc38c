"""Open WebUI's functions: the companion filters among them, which the pipe installs.

What was written is remembered, as a digest, in the function's `meta`. A text that differs from
it is the admin's. Neither the page of functions nor its editor takes foreign keys out of `meta`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2s
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ..core.json_values import JsonObject, text_of
from ..core.logging_system import LOG

_WRITTEN = "openrouter_pipe"
# Of the database and of the host: another worker was faster, an admin has just deleted it.
_WRITE_REFUSALS = (SQLAlchemyError, HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class StoredFilter:
    """One row of the table of functions."""

    id: str
    text: str
    meta: JsonObject

    @property
    def is_ours(self) -> bool:
        """Whether the pipe has installed it, whatever became of its text."""
        return _WRITTEN in self.meta

    @property
    def is_unedited(self) -> bool:
        """Whether it still is what the pipe has written."""
        return self.meta.get(_WRITTEN) == _digest_of(self.text)


async def read_filters(ids: Iterable[str]) -> dict[str, StoredFilter] | None:
    """Read the functions of these ids that there are; `None` outside of a host."""
    try:
        from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    rows = await Functions.get_functions_by_ids(list(ids))
    return {row.id: StoredFilter(row.id, row.content, row.meta.model_dump()) for row in rows}


async def insert_filter(filter_id: str, text: str) -> bool:
    """Install a filter and switch it on; whether it is there now."""
    from open_webui.models.functions import (  # pyright: ignore[reportMissingImports]
        FunctionForm,
        Functions,
    )
    from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]

    owner = await Users.get_super_admin_user()
    if owner is None:
        return False
    meta = _meta_of(text)
    manifest = meta["manifest"]
    form = FunctionForm(
        id=filter_id,
        name=text_of(manifest.get("title")) or filter_id,
        content=text,
        # Open WebUI sets this when a filter is saved on its page; so do all of ours in `__init__`.
        meta={**meta, "description": text_of(manifest.get("description")), "toggle": True},
    )
    try:
        if await Functions.insert_new_function(owner.id, "filter", form) is None:
            return False
        await Functions.update_function_by_id(filter_id, {"is_active": True})
    except _WRITE_REFUSALS as error:
        LOG.debug("functions: %s was not installed: %s", filter_id, error)
        return False
    LOG.info("functions: the filter %s was installed", filter_id)
    return True


async def update_filter(stored: StoredFilter, text: str) -> None:
    """Write a newer text; name, description and switches stay as they are."""
    from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]

    try:
        await Functions.update_function_by_id(
            stored.id, {"content": text, "meta": {**stored.meta, **_meta_of(text)}}
        )
    except _WRITE_REFUSALS as error:
        LOG.debug("functions: %s was not updated: %s", stored.id, error)


def _meta_of(text: str) -> dict[str, Any]:
    from open_webui.utils.plugin import (  # pyright: ignore[reportMissingImports]
        extract_frontmatter,
    )

    return {"manifest": extract_frontmatter(text), _WRITTEN: _digest_of(text)}


def _digest_of(text: str) -> str:
    return blake2s(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
