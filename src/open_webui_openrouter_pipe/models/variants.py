"""Variants and presets: entries of their own that use the model they are made of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from .family import ModelFamily, from_host_id

VARIANT_TAGS = ("nitro", "floor", "exacto", "online", "free", "thinking", "extended")
_PRESET = "@preset/"


def ids_behind(model_id: str) -> Iterator[str]:
    """The id itself, then what it is made of: without its preset, without one tag after another."""
    yield model_id
    base, preset, _ = model_id.partition(_PRESET)
    if preset and base:
        yield base
    while (parts := base.rpartition(":"))[2] in VARIANT_TAGS and parts[0]:
        base = parts[0]
        yield base


def family_behind(model_id: str, by_id: Mapping[str, ModelFamily]) -> ModelFamily | None:
    """What the catalog says of a model, or of the one that a variant or preset is made of."""
    return next((by_id[known] for known in ids_behind(model_id) if known in by_id), None)


def is_free_of_charge(model_id: str, family: ModelFamily) -> bool:
    """Whether it costs nothing: `:free` does not, and `:online` always does."""
    tags = model_id.partition(_PRESET)[0].split(":")[1:]
    return "online" not in tags and ("free" in tags or family.pricing.is_free)


def variant_families(
    wanted: Iterable[str], by_id: Mapping[str, ModelFamily]
) -> dict[str, ModelFamily]:
    """An entry for each variant and preset the admin has named, by its id.

    What names no known model, an unknown tag, or a row of the catalog makes none.
    """
    found: dict[str, ModelFamily] = {}
    for entry in wanted:
        for family in _variants_of(from_host_id(entry), by_id):
            if family.id not in by_id:
                found.setdefault(family.id, family)
    return found


def _variants_of(entry: str, by_id: Mapping[str, ModelFamily]) -> Iterator[ModelFamily]:
    base, preset, slug = entry.partition(_PRESET)
    if preset and slug and not base:
        yield ModelFamily(entry, f"Preset {slug}")
        return
    pattern, _, tag = base.rpartition(":")
    if preset and slug:
        pattern, ending, label = base, f"{preset}{slug}", f"preset {slug}"
    elif tag in VARIANT_TAGS and pattern:
        ending, label = f":{tag}", tag
    else:
        return
    for family in _matching(from_host_id(pattern), by_id):
        yield replace(family, id=f"{family.id}{ending}", name=f"{family.name} ({label})")


def _matching(pattern: str, by_id: Mapping[str, ModelFamily]) -> list[ModelFamily]:
    """The model of this id or, for a pattern, every base model that it matches."""
    if not any(sign in pattern for sign in "*?["):
        family = family_behind(pattern, by_id)
        return [replace(family, id=pattern)] if family is not None else []
    return [
        family
        for family in by_id.values()
        if ":" not in family.id and fnmatchcase(family.id, pattern)
    ]
