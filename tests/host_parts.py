"""Parts of Open WebUI for tests without one: its table of files, and whatever a test puts there."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def put_in_host(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts names where they are imported from: `models__files={"Files": ...}`."""

    def put(**parts: Any) -> None:
        for place, named in parts.items():
            full = ["open_webui", *place.split("__")]
            for end in range(1, len(full)):
                package = ModuleType(".".join(full[:end]))
                monkeypatch.setitem(sys.modules, package.__name__, package)
            module = ModuleType(".".join(full))
            module.__dict__.update(named)
            monkeypatch.setitem(sys.modules, module.__name__, module)

    return put


@dataclass(frozen=True, slots=True)
class StoredRow:
    """A row of the table of files."""

    id: str
    path: str = ""
    owner: str = "u"
    text: str = ""
    meta: Any = None


def stored_files(*rows: StoredRow) -> dict[str, Any]:
    """Open WebUI with these files: its table, who may read them, and where they lie."""
    files = {
        row.id: SimpleNamespace(
            id=row.id,
            path=row.path,
            user_id=row.owner,
            data={"content": row.text},
            meta=row.meta,
            updated_at=1,
        )
        for row in rows
    }

    class Files:
        @staticmethod
        async def get_file_by_id(file_id: str) -> Any:
            return files.get(file_id)

        @staticmethod
        async def get_file_metadatas_by_ids(file_ids: Sequence[str]) -> Any:
            return [files[file_id] for file_id in file_ids if file_id in files]

    async def nobody_else(file_id: str, access: str, user: Any) -> bool:
        return False

    return {
        "models__files": {"Files": Files},
        "utils__access_control__files": {"has_access_to_file": nobody_else},
        "storage__provider": {"Storage": SimpleNamespace(get_file=lambda path: path)},
    }
