"""Which providers may serve a request: wishes, the admin's table, the model's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.context import RequestContext
from ..core.json_codec import decode_json
from ..core.json_values import as_object, text_of
from .routing_table import read_routing_table, rules_for

_LISTS = ("order", "only", "ignore")


def provider_fields(body: Mapping[str, Any], context: RequestContext) -> dict[str, Any]:
    """The request's `provider`; nothing where nobody has a preference.

    Of each preference the admin's word counts above the user's, and of the admin's the model's
    own parameters above the table. Privacy counts whoever asks for it.
    """
    settings, wishes = context.settings, context.hand_over.provider
    table = rules_for(context.model, read_routing_table(settings.provider_routing))
    layers = (wishes, table, _object_in(body.get("provider")), _named_lists(body))
    provider = {name: value for layer in layers for name, value in layer.items()}
    if any(layer.get("data_collection") == "deny" for layer in layers):
        provider["data_collection"] = "deny"
    if settings.catalog.zdr_enforced or any(layer.get("zdr") is True for layer in layers):
        provider["zdr"] = True
    return {"provider": provider} if provider else {}


def _named_lists(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters `openrouter_provider_order`, `..._only` and `..._ignore`."""
    named = {name: _names_in(body.get(f"openrouter_provider_{name}")) for name in _LISTS}
    return {name: names for name, names in named.items() if names}


def _names_in(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else text_of(value).split(",")
    return [name for entry in entries if (name := text_of(entry).strip())]


def _object_in(value: Any) -> dict[str, Any]:
    """An object, also where a settings form made text of it."""
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError:
            return {}
    return as_object(value)
