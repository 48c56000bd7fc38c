"""Which models are offered, and which may be used: the same rules, for the same reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase

from ..core.catalog_valves import CatalogRules
from ..core.errors import ModelUnavailableError
from .family import ModelFamily, from_host_id
from .known import KnownModels
from .variants import is_free_of_charge, variant_families

_ALONE = "@preset/"
_NO_PRICE = float("inf")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be offered or used, and what is known of it."""

    model_id: str
    family: ModelFamily | None
    """`None` for one outside of the catalog."""
    known: KnownModels
    rules: CatalogRules
    today: date

    @property
    def is_named(self) -> bool:
        """Whether the admin has named this very id: then the catalog need not know it."""
        named = (*self.rules.model_ids, *self.rules.variants)
        return self.model_id in named or self.model_id in map(from_host_id, named)


def today_utc() -> date:
    """The day by which models expire."""
    return datetime.now(UTC).date()


def offered_families(
    known: KnownModels, rules: CatalogRules, today: date | None = None
) -> tuple[ModelFamily, ...]:
    """Every model a chat can choose, with its variants, in the order the admin wants."""
    day = today or today_utc()
    families = {family.id: family for family in known.families if family.answers_chats}
    families |= variant_families(rules.variants, families)
    families |= {family.id: family for family in _named_outside(known, rules)}
    offered = [
        family
        for family in families.values()
        if reason_against(Candidate(family.id, known.find(family.id), known, rules, day)) is None
    ]
    return tuple(_sorted(offered, known, rules.order))


def require_allowed(
    model_id: str, known: KnownModels, rules: CatalogRules, today: date | None = None
) -> None:
    """Raise `ModelUnavailableError`, with the reason, when a rule keeps the model back."""
    family = known.find(model_id)
    reason = reason_against(Candidate(model_id, family, known, rules, today or today_utc()))
    if reason is not None:
        valve, words = reason
        raise ModelUnavailableError(
            f"The model {model_id} {words}.",
            f"Choose another model; the rule behind it is the setting {valve}.",
        )


def allowed_only(
    model_ids: Iterable[str], known: KnownModels, rules: CatalogRules
) -> tuple[str, ...]:
    """Those of the models that no rule keeps back."""
    day = today_utc()
    return tuple(
        model_id
        for model_id in model_ids
        if reason_against(Candidate(model_id, known.find(model_id), known, rules, day)) is None
    )


def reason_against(candidate: Candidate) -> tuple[str, str] | None:
    """The setting that keeps a model back and what it says of it; `None` for a model to use."""
    return next(
        ((valve, words) for valve, keeps_back, words in _RULES if keeps_back(candidate)), None
    )


def unmatched_names(known: KnownModels, rules: CatalogRules) -> tuple[str, ...]:
    """What `MODEL_ID` and `VARIANT_MODELS` name that no model of the catalog fits."""
    ids = [family.id for family in known.families if family.answers_chats]
    names = (name for name in rules.model_ids if not any(_fits(name, found) for found in ids))
    by_id = {found: known.by_id[found] for found in ids}
    variants = (
        name
        for name in rules.variants
        if from_host_id(name) not in by_id and not variant_families((name,), by_id)
    )
    return (*names, *variants)


def _named_outside(known: KnownModels, rules: CatalogRules) -> list[ModelFamily]:
    """The ids in `MODEL_ID` that the catalog does not list: they may exist all the same."""
    ids = (from_host_id(name) for name in rules.model_ids)
    return [
        ModelFamily(model_id, f"{model_id} (not in OpenRouter's catalog)")
        for model_id in ids
        if "/" in model_id and not _is_pattern(model_id) and known.find(model_id) is None
    ]


def _sorted(families: list[ModelFamily], known: KnownModels, order: str) -> list[ModelFamily]:
    match order:
        case "name":
            return sorted(families, key=lambda family: family.name.casefold())
        case "newest":
            return sorted(families, key=lambda family: -family.created)
        case "price":
            return sorted(families, key=_price_of)
        case _:
            places = {model_id: place for place, model_id in enumerate(known.by_id)}
            return sorted(families, key=lambda family: _place_of(family, known, places))


def _price_of(family: ModelFamily) -> float:
    price = family.pricing.per_million
    return _NO_PRICE if price is None else price


def _place_of(family: ModelFamily, known: KnownModels, places: dict[str, int]) -> int:
    """A variant stands behind its model, what the catalog does not know behind everything."""
    base = known.find(family.id)
    return places[base.id] if base is not None else len(places)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _fits(name: str, model_id: str) -> bool:
    """Whether an entry of the admin's list, in either form of an id, means the model."""
    if not _is_pattern(name):
        return model_id in (name, from_host_id(name))
    return fnmatchcase(model_id, name) or fnmatchcase(model_id, from_host_id(name))


def _is_not_listed(candidate: Candidate) -> bool:
    ids = candidate.rules.model_ids
    if not ids or any(_fits(name, candidate.model_id) for name in ids):
        return False
    base = candidate.family
    wanted = {base.id: base} if base is not None else {}
    return candidate.model_id not in variant_families(candidate.rules.variants, wanted)


def _is_of_another_vendor(candidate: Candidate) -> bool:
    vendors, model_id = candidate.rules.vendors, candidate.model_id
    if not vendors or model_id.startswith(_ALONE):
        return False
    vendor = model_id.lstrip("~").partition("/")[0].lower()
    return not any(fnmatchcase(vendor, pattern) for pattern in vendors)


def _is_expired(candidate: Candidate) -> bool:
    family = candidate.family
    return (
        family is not None
        and family.expires_on is not None
        and (family.expires_on < candidate.today)
    )


def _misses_free_filter(candidate: Candidate) -> bool:
    wanted, family = candidate.rules.free, candidate.family
    if wanted == "all":
        return False
    if family is None:
        return not candidate.is_named
    return is_free_of_charge(candidate.model_id, family) is not (wanted == "only")


def _misses_tool_filter(candidate: Candidate) -> bool:
    wanted, family = candidate.rules.tools, candidate.family
    if wanted == "all":
        return False
    if family is None:
        return not candidate.is_named
    return family.calls_tools is not (wanted == "only")


def _is_too_dear(candidate: Candidate) -> bool:
    ceiling, family = candidate.rules.max_price, candidate.family
    if not ceiling:
        return False
    if family is None:
        return not candidate.is_named
    if is_free_of_charge(candidate.model_id, family):
        return False
    price = family.pricing.per_million
    # Prices are decimals, read as binary fractions: equal is not dearer.
    return price is None or price > ceiling * (1 + 1e-9)


def _keeps_data(candidate: Candidate) -> bool:
    rules, known = candidate.rules, candidate.known
    if not rules.needs_zdr:
        return False
    if candidate.family is not None and candidate.family.studio and rules.zdr_enforced:
        return True  # its endpoint takes no `provider.zdr`, and another provider might serve it
    if known.zdr_ids is None and not rules.zdr_models_only:
        return False  # `provider.zdr` makes OpenRouter itself refuse
    return not known.has_zdr(candidate.model_id)


_RULES: tuple[tuple[str, Callable[[Candidate], bool], str], ...] = (
    ("`MODEL_ID`", _is_not_listed, "is not among those offered here"),
    ("`MODEL_VENDORS`", _is_of_another_vendor, "is of a vendor that is not offered here"),
    ("`expiration_date` of OpenRouter's catalog", _is_expired, "has been withdrawn by its vendor"),
    ("`FREE_MODEL_FILTER`", _misses_free_filter, "is kept back by its price"),
    ("`TOOL_CALLING_FILTER`", _misses_tool_filter, "is kept back by whether it can call tools"),
    (
        "`MAX_PRICE_PER_MILLION_USD`",
        _is_too_dear,
        "is dearer than is allowed here, or its price is not known",
    ),
    (
        "`ZDR_ENFORCE` or `ZDR_MODELS_ONLY`, or your own `REQUEST_ZDR`",
        _keeps_data,
        "is not known to have a provider with zero data retention, which is demanded",
    ),
)
