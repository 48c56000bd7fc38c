"""Which models are offered, and which may be used."""

from __future__ import annotations

from collections.abc import Iterable

from ..core.config import Settings
from ..core.errors import ModelUnavailableError
from .family import ModelFamily, from_host_id


def offered_families(
    families: Iterable[ModelFamily], settings: Settings
) -> tuple[ModelFamily, ...]:
    """Every model a chat can use, within the admin's list where there is one."""
    return tuple(
        family for family in families if not family.is_batch and _is_allowed(family.id, settings)
    )


def require_allowed(model_id: str, settings: Settings) -> None:
    """Raise `ModelUnavailableError` when the admin's list does not hold the model."""
    if not _is_allowed(model_id, settings):
        raise ModelUnavailableError(
            f"The model {model_id} is not among those offered here.",
            "Choose another model; the admin keeps the list in `MODEL_ID`.",
        )


def _is_allowed(model_id: str, settings: Settings) -> bool:
    allowed = settings.model_ids
    return not allowed or model_id in allowed or model_id in map(from_host_id, allowed)
