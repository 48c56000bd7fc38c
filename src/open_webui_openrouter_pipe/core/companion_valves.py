"""The valves for the companion filters, and the value objects they become."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from .valve_types import Switch


class CompanionValves(BaseModel):
    """Which companion filters are installed, and where people find them."""

    AUTO_INSTALL_ORS_FILTER: Switch = Field(
        default=True,
        title="OpenRouter Search: install",
        description=(
            "Whether this filter is installed and, unless you edit it, kept up to date; "
            "off and on again brings a deleted one back."
        ),
    )
    AUTO_ATTACH_ORS_FILTER: Switch = Field(
        default=True,
        title="OpenRouter Search: offer",
        description="Whether every model that writes has its switch in the chat.",
    )
    AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER: Switch = Field(
        default=False,
        title="OpenRouter Search: on in new chats",
        description="Whether the switch is on when a chat begins; searches cost money.",
    )
    AUTO_INSTALL_PROVIDER_ROUTING_FILTER: Switch = Field(
        default=True,
        title="Provider Routing: install",
        description=(
            "Whether this filter is installed and, unless you edit it, kept up to date; "
            "off and on again brings a deleted one back."
        ),
    )
    AUTO_ATTACH_PROVIDER_ROUTING_FILTER: Switch = Field(
        default=True,
        title="Provider Routing: offer",
        description="Whether every model has its switch in the chat.",
    )
    AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS: Switch = Field(
        default=False,
        title="Provider Routing: on in new chats",
        description="Whether the switch is on when a chat begins.",
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
    }
