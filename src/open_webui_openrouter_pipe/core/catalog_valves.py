"""The valves that choose which models are offered, and the value object they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from .valve_types import Switch, Text, Words, amount, one_of, split_list, whole_number

ModelFilter = Literal["all", "only", "exclude"]
ModelOrder = Literal["catalog", "name", "newest", "price"]


class CatalogValves(BaseModel):
    """Which models are offered."""

    MODEL_ID: Text = Field(
        default="auto",
        title="Models",
        description=(
            "`auto` offers every model; else a comma-separated list of model ids or patterns, "
            "such as `openai/*, anthropic/claude-sonnet-4.5`."
        ),
    )
    MODEL_VENDORS: Words = Field(
        default=[],
        title="Models: vendors",
        description="Only models of these vendors; none chosen means all.",
        json_schema_extra={"input": {"type": "multiselect", "options": "vendor_choices"}},
    )
    FREE_MODEL_FILTER: Annotated[ModelFilter, one_of(*get_args(ModelFilter), fallback="all")] = (
        Field(
            default="all",
            title="Models: free ones",
            description="Offer all models, only those that cost nothing, or none of those.",
        )
    )
    TOOL_CALLING_FILTER: Annotated[ModelFilter, one_of(*get_args(ModelFilter), fallback="all")] = (
        Field(
            default="all",
            title="Models: with tools",
            description="Offer all models, only those that can call tools, or none of those.",
        )
    )
    MAX_PRICE_PER_MILLION_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Models: price ceiling (USD per million tokens)",
        description="Hide models whose tokens can cost more than this; 0 means no ceiling.",
    )
    MODEL_SORT: Annotated[ModelOrder, one_of(*get_args(ModelOrder), fallback="catalog")] = Field(
        default="catalog",
        title="Models: order",
        description="OpenRouter's own order, by name, newest first, or cheapest first.",
    )
    VARIANT_MODELS: Text = Field(
        default="",
        title="Models: variants and presets",
        description=(
            "Further entries, comma-separated: a model or pattern with `:nitro`, `:floor`, "
            "`:exacto`, `:online`, `:free`, `:thinking` or `:extended`, or with `@preset/slug`; "
            "`@preset/slug` alone takes the preset's own model."
        ),
    )
    KEY_MODELS_ONLY: Switch = Field(
        default=False,
        title="Models: restrictions of the key",
        description="Offer only what the key's own privacy and provider settings allow.",
    )
    ZDR_MODELS_ONLY: Switch = Field(
        default=False,
        title="Zero data retention: models",
        description="Offer only models that some provider serves without keeping data.",
    )
    ZDR_ENFORCE: Switch = Field(
        default=False,
        title="Zero data retention: enforced",
        description="Send every request only to providers that keep no data; refuse all others.",
    )
    ALLOW_USER_ZDR_OVERRIDE: Switch = Field(
        default=True,
        title="Zero data retention: users",
        description="Whether users may demand zero data retention for their own chats.",
    )
    MODEL_CATALOG_REFRESH_SECONDS: Annotated[int, whole_number(60, 604_800, 3_600)] = Field(
        default=3_600,
        title="Catalog refresh (seconds)",
        description="How old the list of models may grow before it is fetched again.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRules:
    """What the admin, and for privacy the user, has settled about models."""

    model_ids: tuple[str, ...] = ()
    """The allowed ids and patterns; empty means all."""
    vendors: tuple[str, ...] = ()
    free: str = "all"
    tools: str = "all"
    max_price: float = 0.0
    """USD per million tokens; zero for no ceiling."""
    order: str = "catalog"
    variants: tuple[str, ...] = ()
    key_models_only: bool = False
    zdr_models_only: bool = False
    zdr_enforced: bool = False
    """For this request: by the admin, or at the wish of the user."""
    zdr_may_matter: bool = False
    """Whether the list of models with zero data retention is worth fetching."""
    refresh: float = 3_600.0
    """Seconds."""

    @property
    def needs_catalog(self) -> bool:
        """Whether a model can only be judged by what the catalog says of it."""
        filters = (self.free, self.tools) != ("all", "all") or bool(self.max_price)
        return filters or self.needs_zdr

    @property
    def needs_zdr(self) -> bool:
        """Whether only models with zero data retention may be used."""
        return self.zdr_models_only or self.zdr_enforced


def read_catalog_rules(valves: CatalogValves, *, wants_zdr: bool) -> CatalogRules:
    """The rules of one request; `wants_zdr` is the user's own wish."""
    return CatalogRules(
        model_ids=_read_model_ids(valves.MODEL_ID),
        vendors=tuple(vendor.lower() for vendor in valves.MODEL_VENDORS),
        free=valves.FREE_MODEL_FILTER,
        tools=valves.TOOL_CALLING_FILTER,
        max_price=valves.MAX_PRICE_PER_MILLION_USD,
        order=valves.MODEL_SORT,
        variants=split_list(valves.VARIANT_MODELS),
        key_models_only=valves.KEY_MODELS_ONLY,
        zdr_models_only=valves.ZDR_MODELS_ONLY,
        zdr_enforced=valves.ZDR_ENFORCE or (wants_zdr and valves.ALLOW_USER_ZDR_OVERRIDE),
        zdr_may_matter=valves.ZDR_MODELS_ONLY or valves.ZDR_ENFORCE or wants_zdr,
        refresh=float(valves.MODEL_CATALOG_REFRESH_SECONDS),
    )


def _read_model_ids(text: str) -> tuple[str, ...]:
    ids = split_list(text)
    return () if not ids or any(model_id.lower() == "auto" for model_id in ids) else ids
