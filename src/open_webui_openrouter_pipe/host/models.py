"""Open WebUI's rows of models: what an admin has made of an entry of the model list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from ..core.context import HostHandles
from ..core.json_values import JsonObject
from ..core.logging_system import LOG
from .users import load_user

# Every signed-in person may read; `anyone` would be a link that needs no sign-in.
_EVERYONE = {"principal_type": "user", "principal_id": "*", "permission": "read"}
# Of the database, of the host (a row changed meanwhile), of its form (an id with a space in it).
_REFUSALS = (SQLAlchemyError, HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the table keeps of one model, apart from who may use it."""

    id: str
    """As in the model list: the function's id, a dot, the model's."""
    name: str
    meta: JsonObject = field(default_factory=dict[str, Any])
    params: JsonObject = field(default_factory=dict[str, Any])
    is_active: bool = True


async def read_model_rows(function_id: str) -> dict[str, ModelRow] | None:
    """Read the rows that lie over the models of a function, by id; `None` outside of a host."""
    try:
        from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    # Of the host's readers this one leaves a row out that it cannot read; the others fail.
    rows = await Models.get_all_models()
    return {
        row.id: _read_model_row(row)
        for row in rows
        if row.base_model_id is None and row.id.startswith(f"{function_id}.")
    }


async def insert_model_row(row: ModelRow, *, is_public: bool) -> bool:
    """Write a row that is not there yet; whether it was written.

    It belongs to the first admin, for its owner may always use a model.
    """
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
    from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]

    owner = await Users.get_super_admin_user()
    if owner is None:
        return False
    try:
        form = _form_of(row, access_grants=[_EVERYONE] if is_public else [])
        return await Models.insert_new_model(form, owner.id) is not None
    except _REFUSALS as error:
        LOG.debug("models: %s was not inserted: %s", row.id, error)
        return False


async def update_model_row(before: ModelRow, after: ModelRow) -> bool:
    """Write a changed row, if it still is what it was when it was read; whether it was written.

    Who may use the model, and whether it is switched on, stay as they are.
    """
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]

    try:
        stored = await Models.get_model_by_id(before.id)
        if stored is None or not _is_unchanged_row(_read_model_row(stored), before):
            return False
        # Since 0.12 a form without the switch leaves it alone; before, it would switch on.
        switch = {} if hasattr(stored, "version_id") else {"is_active": stored.is_active}
        return await Models.update_model_by_id(before.id, _form_of(after, **switch)) is not None
    except _REFUSALS as error:
        LOG.debug("models: %s was not updated: %s", before.id, error)
        return False


def private_rows_hide_models() -> bool:
    """Whether a row shared with nobody hides its model from admins, who see one without a row."""
    from open_webui.config import (  # pyright: ignore[reportMissingImports]
        BYPASS_ADMIN_ACCESS_CONTROL,
    )

    return not BYPASS_ADMIN_ACCESS_CONTROL


async def may_use_model(handles: HostHandles, row_ids: Sequence[str]) -> bool:
    """Whether Open WebUI would let the person who asks choose a model; without a host, anyone.

    Of the ids the first one that has a row counts: that of a variant, else that of its model.
    """
    try:
        from open_webui import config, env  # pyright: ignore[reportMissingImports]
        from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
        from open_webui.utils import models  # pyright: ignore[reportMissingImports]
    except ImportError:
        return True
    user, row = await load_user(handles), None
    for row_id in row_ids:
        row = row or await Models.get_model_by_id(row_id)
    if row is not None and not row.is_active:
        return False
    is_admin = getattr(user, "role", "") == "admin"
    if env.BYPASS_MODEL_ACCESS_CONTROL or (is_admin and config.BYPASS_ADMIN_ACCESS_CONTROL):
        return True
    if row is None or user is None:
        return False
    try:
        await models.check_model_access(user, {"id": row.id}, row)
    except Exception:  # noqa: BLE001 - it is how the host says no
        return False
    return True


def _read_model_row(stored: Any) -> ModelRow:
    return ModelRow(
        id=stored.id,
        name=stored.name,
        meta=stored.meta.model_dump(),
        params=stored.params.model_dump(),
        is_active=stored.is_active,
    )


def _is_unchanged_row(stored: ModelRow, before: ModelRow) -> bool:
    return replace(stored, is_active=before.is_active) == before


def _form_of(row: ModelRow, **more: Any) -> Any:
    from open_webui.models.models import ModelForm  # pyright: ignore[reportMissingImports]

    return ModelForm(
        id=row.id,
        name=row.name,
        meta=dict(row.meta),
        params=dict(row.params),
        commit_message="OpenRouter",
        **more,
    )
