"""The valves for Open WebUI's own settings of each model, and the value object they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from .valve_types import Switch, one_of

MetadataSyncMode = Literal["on", "dry_run", "off"]
NewModelAccess = Literal["private", "public"]


class MetadataValves(BaseModel):
    """What is written into Open WebUI's own settings of each model."""

    MODEL_METADATA_SYNC: Annotated[
        MetadataSyncMode, one_of(*get_args(MetadataSyncMode), fallback="off")
    ] = Field(
        default="on",
        title="Model settings: keep up to date",
        description=(
            "Whether each model gets its settings in Open WebUI from the catalog, "
            "never over an admin's own; `dry_run` only logs what would be written."
        ),
    )
    UPDATE_MODEL_CAPABILITIES: Switch = Field(
        default=True,
        title="Model settings: capabilities",
        description="Tick what a model can do, such as reading pictures.",
    )
    UPDATE_MODEL_IMAGES: Switch = Field(
        default=True,
        title="Model settings: pictures",
        description=(
            "Show the maker's icon with a model; the browser fetches it from openrouter.ai."
        ),
    )
    COPY_MODEL_IMAGES: Switch = Field(
        default=False,
        title="Model settings: copies of pictures",
        description=(
            "Keep the icon itself, not its address, so that no browser asks openrouter.ai; "
            "makers whose icon is a drawing (SVG) then have none."
        ),
    )
    UPDATE_MODEL_DESCRIPTIONS: Switch = Field(
        default=False,
        title="Model settings: descriptions",
        description=(
            "Copy OpenRouter's description; the model list, which every page loads, grows by it."
        ),
    )
    UPDATE_MODEL_TAGS: Switch = Field(
        default=True,
        title="Model settings: tags",
        description="Tag each model with its maker, to filter the model list by.",
    )
    NEW_MODEL_ACCESS: Annotated[
        NewModelAccess, one_of(*get_args(NewModelAccess), fallback="private")
    ] = Field(
        default="private",
        title="Model settings: access to new models",
        description=(
            "Who may use a model that appears for the first time: admins until they share it, "
            "or everyone who can sign in."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRules:
    """What a sync may write into Open WebUI's settings of the models."""

    mode: str = "off"
    capabilities: bool = True
    images: bool = True
    copies_images: bool = False
    icons: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is to stand in a row instead of an icon's address, by that address."""
    descriptions: bool = True
    tags: bool = True
    new_are_public: bool = False


def read_metadata_rules(valves: MetadataValves) -> MetadataRules:
    """The rules as the admin has set them."""
    return MetadataRules(
        mode=valves.MODEL_METADATA_SYNC,
        capabilities=valves.UPDATE_MODEL_CAPABILITIES,
        images=valves.UPDATE_MODEL_IMAGES,
        copies_images=valves.COPY_MODEL_IMAGES,
        descriptions=valves.UPDATE_MODEL_DESCRIPTIONS,
        tags=valves.UPDATE_MODEL_TAGS,
        new_are_public=valves.NEW_MODEL_ACCESS == "public",
    )
