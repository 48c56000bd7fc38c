"""The entries of Open WebUI's model list: the models, or one entry that says why there are none."""

from __future__ import annotations

from ..api.http import missing_key
from ..core.config import Settings
from ..core.errors import ModelUnavailableError, PipeError
from .family import ModelFamily, to_host_id
from .registry import OpenRouterModelRegistry
from .visibility import offered_families

NOTICE_ID = "notice"
"""The id of the entry that stands in for the models; choosing it shows the same reason."""

Entry = dict[str, str]


async def list_entries(registry: OpenRouterModelRegistry, settings: Settings) -> list[Entry]:
    """The models that are offered, as `pipes()` returns them; never empty."""
    families = await _offered(registry, settings)
    if families:
        return [{"id": to_host_id(family.id), "name": family.name} for family in families]
    return [notice_entry(await explain_absence(registry, settings))]


def notice_entry(error: PipeError) -> Entry:
    """One entry whose name is the reason."""
    return {"id": NOTICE_ID, "name": f"⚠ {error.cause}"}


async def explain_absence(registry: OpenRouterModelRegistry, settings: Settings) -> PipeError:
    """Why no model is offered."""
    if not settings.api_key:
        return missing_key()
    if registry.error is not None:
        return registry.error
    if settings.model_ids and await registry.families(settings, patience=0):
        return ModelUnavailableError(
            f"No OpenRouter model matches MODEL_ID ({', '.join(settings.model_ids)}).",
            "The admin should correct `MODEL_ID`, or set it to `auto`.",
        )
    return ModelUnavailableError(
        "The list of OpenRouter's models is still on its way.", "Reload the page in a moment."
    )


async def _offered(
    registry: OpenRouterModelRegistry, settings: Settings
) -> tuple[ModelFamily, ...]:
    if not settings.api_key:
        return ()
    return offered_families(await registry.families(settings), settings)
