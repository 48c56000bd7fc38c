"""Pictures are asked for where the model draws."""

from __future__ import annotations

from typing import Any

from ..models.family import ModelFamily


def modality_fields(family: ModelFamily | None, *, is_task: bool) -> dict[str, Any]:
    """The request's `modalities`; nothing for a model that only writes, and for a chore."""
    if family is None or is_task or "image" not in family.output_modalities:
        return {}
    # A model that only draws refuses to be asked for text.
    writes = "text" in family.output_modalities
    return {"modalities": ["image", "text"] if writes else ["image"]}
