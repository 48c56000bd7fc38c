"""What is known of the models now: one catalog, never changed, replaced as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .family import ModelFamily
from .variants import family_behind


@dataclass(frozen=True, slots=True, eq=False)
class KnownModels:
    """The rows of one catalog, and which models some provider serves without keeping data."""

    families: tuple[ModelFamily, ...] = ()
    by_id: Mapping[str, ModelFamily] = field(default_factory=dict[str, ModelFamily])
    zdr_ids: frozenset[str] | None = None
    """`None` while the list of endpoints with zero data retention is not known."""

    def find(self, model_id: str) -> ModelFamily | None:
        """What the catalog says of a model, or of the one that a variant or preset is made of."""
        return family_behind(model_id, self.by_id)

    def has_zdr(self, model_id: str) -> bool:
        """Whether some provider serves it without keeping data, as far as that is known."""
        family = self.find(model_id)
        names = {model_id}
        if family is not None:
            names |= {family.id, family.alias_target}
        return not names.isdisjoint(self.zdr_ids or ())


NOTHING_KNOWN = KnownModels()


def know_models(
    families: Iterable[ModelFamily], zdr_ids: frozenset[str] | None = None
) -> KnownModels:
    """Put the rows of a catalog in order; of two with one id the first counts."""
    by_id: dict[str, ModelFamily] = {}
    for family in families:
        by_id.setdefault(family.id, family)
    return KnownModels(tuple(by_id.values()), by_id, zdr_ids)
