"""A model as the pipe knows it, and its id both ways without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """One row of the catalog: a base model or one of its own-priced variants."""

    id: str
    """OpenRouter's id: `author/slug`, perhaps with a `:variant`."""
    name: str

    @property
    def is_batch(self) -> bool:
        """Whether it answers batch jobs only, never a chat."""
        return self.id.endswith(":batch")


def read_family(row: Mapping[str, Any]) -> ModelFamily | None:
    """Read a catalog row (schema `Model`); `None` for one without an id."""
    model_id, name = row.get("id"), row.get("name")
    if not isinstance(model_id, str) or not model_id:
        return None
    return ModelFamily(id=model_id, name=name if isinstance(name, str) and name else model_id)


def to_host_id(model_id: str) -> str:
    """Write `author/slug` as `author.slug`, the form Open WebUI's model ids have.

    An id that is not of that form keeps its text behind a leading slash, so that no two ids
    become one and every id comes back as it was.
    """
    author, slash, slug = model_id.partition("/")
    if slash and author and "." not in author:
        return f"{author}.{slug}"
    return f"/{model_id}" if slash or "." in model_id else model_id


def from_host_id(host_id: str) -> str:
    """Read an id that `to_host_id` wrote; OpenRouter's own form is taken as it is."""
    if host_id.startswith("/"):
        return host_id[1:]
    author, dot, slug = host_id.partition(".")
    return f"{author}/{slug}" if dot and "/" not in author else host_id
