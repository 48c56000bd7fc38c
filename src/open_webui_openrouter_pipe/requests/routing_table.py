"""The admin's table of provider preferences: one line for each pattern of model ids."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object
from ..core.logging_system import LOG

RoutingRule = tuple[str, JsonObject]


@lru_cache(maxsize=8)
def read_routing_table(text: str) -> tuple[RoutingRule, ...]:
    """Read lines of `pattern: {json}`; what cannot be read is left out, with one warning."""
    rules: list[RoutingRule] = []
    unread: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, brace, rest = line.partition("{")
        pattern = head.strip().removesuffix(":").strip()
        preferences = _read_preferences(brace + rest)
        if pattern and preferences:
            rules.append((pattern, preferences))
        else:
            unread.append(number)
    if unread:
        lines = ", ".join(map(str, unread))
        LOG.warning("settings: PROVIDER_ROUTING: these lines cannot be read: %s", lines)
    return tuple(rules)


def rules_for(model: str, table: Sequence[RoutingRule]) -> dict[str, Any]:
    """What the table says of a model; of two lines the later one counts."""
    found: dict[str, Any] = {}
    for pattern, preferences in table:
        if fnmatchcase(model, pattern):
            found |= preferences
    return found


def _read_preferences(text: str) -> JsonObject:
    try:
        return as_object(decode_json(text))
    except ValueError:
        return {}
