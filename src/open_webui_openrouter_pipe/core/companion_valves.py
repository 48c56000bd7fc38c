"""The valves for the companion filters, and the value objects they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from .valve_types import Switch


def _install(name: str) -> Any:
    return Field(
        default=True,
        title=f"{name}: install",
        description=(
            "Whether this filter is installed and, unless you edit it, kept up to date; "
            "off and on again brings a deleted one back."
        ),
    )


def _offer(name: str) -> Any:
    description = "Whether the models it works with have its switch in the chat."
    return Field(default=True, title=f"{name}: offer", description=description)


def _switch_on(name: str, price: str = "") -> Any:
    description = f"Whether the switch is on when a chat begins{price}."
    return Field(default=False, title=f"{name}: on in new chats", description=description)


class CompanionValves(BaseModel):
    """Which companion filters are installed, and where people find them."""

    AUTO_INSTALL_ORS_FILTER: Switch = _install("OpenRouter Search")
    AUTO_ATTACH_ORS_FILTER: Switch = _offer("OpenRouter Search")
    AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER: Switch = _switch_on(
        "OpenRouter Search", "; searches cost money"
    )
    AUTO_INSTALL_PROVIDER_ROUTING_FILTER: Switch = _install("Provider Routing")
    AUTO_ATTACH_PROVIDER_ROUTING_FILTER: Switch = _offer("Provider Routing")
    AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS: Switch = _switch_on("Provider Routing")
    AUTO_INSTALL_DIRECT_UPLOADS_FILTER: Switch = _install("Direct Uploads")
    AUTO_ATTACH_DIRECT_UPLOADS_FILTER: Switch = _offer("Direct Uploads")
    AUTO_DEFAULT_DIRECT_UPLOADS_FILTER: Switch = _switch_on(
        "Direct Uploads", "; whole files cost more than excerpts"
    )


@dataclass(frozen=True, slots=True)
class CompanionRule:
    """What the admin wants of one companion filter."""

    installs: bool
    attaches: bool
    is_default: bool


CompanionRules = dict[str, CompanionRule]
"""By the name of the filter's file."""


def read_companion_rules(valves: CompanionValves) -> CompanionRules:
    """The rules as the admin has set them."""
    return {
        "search_toggle": CompanionRule(
            valves.AUTO_INSTALL_ORS_FILTER,
            valves.AUTO_ATTACH_ORS_FILTER,
            valves.AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER,
        ),
        "provider_routing": CompanionRule(
            valves.AUTO_INSTALL_PROVIDER_ROUTING_FILTER,
            valves.AUTO_ATTACH_PROVIDER_ROUTING_FILTER,
            valves.AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS,
        ),
        "direct_uploads": CompanionRule(
            valves.AUTO_INSTALL_DIRECT_UPLOADS_FILTER,
            valves.AUTO_ATTACH_DIRECT_UPLOADS_FILTER,
            valves.AUTO_DEFAULT_DIRECT_UPLOADS_FILTER,
        ),
    }
