"""The entries of Open WebUI's model list: the models, or one entry that says why there are none."""

from __future__ import annotations

from collections import Counter
from datetime import date
from functools import lru_cache

from ..api.http import missing_key
from ..core.catalog_valves import CatalogRules
from ..core.config import Settings
from ..core.errors import ModelUnavailableError, PipeError
from ..core.logging_system import LOG
from .family import to_host_id
from .known import KnownModels
from .registry import OpenRouterModelRegistry
from .visibility import (
    Candidate,
    offered_families,
    reason_against,
    today_utc,
    unmatched_names,
)

NOTICE_ID = "notice"
"""The id of the entry that stands in for the models; choosing it shows the same reason."""

Entry = dict[str, str]


async def list_entries(registry: OpenRouterModelRegistry, settings: Settings) -> list[Entry]:
    """The models that are offered, as `pipes()` returns them; never empty."""
    if settings.api_key:
        await registry.families(settings)
        offered = _list_offered(registry.known, settings.catalog, today_utc())
        if offered:
            return [{"id": host_id, "name": name} for host_id, name in offered]
    return [notice_entry(await explain_absence(registry, settings))]


@lru_cache(maxsize=4)
def _list_offered(
    known: KnownModels, rules: CatalogRules, today: date
) -> tuple[tuple[str, str], ...]:
    """Ids and names; worked out, and what fits nothing reported, once for each catalog."""
    if not known.families:
        return ()
    if unmatched := unmatched_names(known, rules):
        LOG.warning("catalog: no model fits %s of the settings", ", ".join(unmatched))
    return tuple(
        (to_host_id(family.id), family.name) for family in offered_families(known, rules, today)
    )


def notice_entry(error: PipeError) -> Entry:
    """One entry whose name is the reason."""
    return {"id": NOTICE_ID, "name": f"\N{WARNING SIGN} {error.cause}"}


async def explain_absence(registry: OpenRouterModelRegistry, settings: Settings) -> PipeError:
    """Why no model is offered."""
    if not settings.api_key:
        return missing_key()
    if registry.error is not None:
        return registry.error
    await registry.families(settings, patience=0)
    if registry.known.families:
        return _why_none_is_offered(registry.known, settings.catalog)
    return ModelUnavailableError(
        "The list of OpenRouter's models is still on its way.", "Reload the page in a moment."
    )


def _why_none_is_offered(known: KnownModels, rules: CatalogRules) -> PipeError:
    if rules.model_ids and len(unmatched_names(known, rules)) >= len(rules.model_ids):
        return ModelUnavailableError(
            f"No OpenRouter model matches MODEL_ID ({', '.join(rules.model_ids)}).",
            "The admin should correct `MODEL_ID`, or set it to `auto`.",
        )
    day = today_utc()
    kept_back = Counter(
        reason[0]
        for family in known.families
        if (reason := reason_against(Candidate(family.id, family, known, rules, day)))
    )
    valves = ", ".join(valve for valve, _ in kept_back.most_common())
    return ModelUnavailableError(
        f"Every OpenRouter model is kept back: {valves}.",
        "The admin should loosen these settings of the OpenRouter function.",
    )
