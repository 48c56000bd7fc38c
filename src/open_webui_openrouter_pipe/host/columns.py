"""Side-by-side chats: each column is asked with the parameters of its own model.

Open WebUI builds one request, with the parameters of the first column's model, and sends it to
every model (`main.py`, `chat_completion`). What another column's admin settings say is filled in
only where the first column's left a gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ..core.context import HostHandles
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, text_of
from ..core.logging_system import LOG

# Settings of Open WebUI itself, which it takes out before a body goes anywhere.
_HOST_PARAMETERS = frozenset(
    {
        "custom_params",
        "stream_response",
        "stream_delta_chunk_size",
        "function_calling",
        "reasoning_tags",
        "compact_token_threshold",
        "system",
        "note_id",
        "tool_approval_mode",
        "model_controls",
    }
)
_NEVER_PARAMETERS = frozenset({"model", "messages", "stream", "tools", "metadata"})


async def with_own_parameters(body: Mapping[str, Any], handles: HostHandles) -> Mapping[str, Any]:
    """The body without what it inherited from another column, and with what its own model has.

    What the chat itself has set stays. Nearly every call is no such column and costs nothing.
    """
    metadata = handles.metadata
    first = text_of(as_object(metadata.get("model")).get("id"))
    own = text_of(metadata.get("model_id"))
    if not first or not own or first == own:
        return body
    try:
        inherited, replacing = await _parameters_of(first, own)
    except Exception:  # noqa: BLE001 - whatever the host's tables do, the column gets its answer
        LOG.exception("columns: the parameters of %s could not be read", own)
        return body
    return replace_inherited(body, inherited, replacing)


def replace_inherited(
    body: Mapping[str, Any], inherited: Mapping[str, Any], own: Mapping[str, Any]
) -> JsonObject:
    """Put a model's own parameters in the place of those that came with another one's request."""
    replaced = dict(body)
    for name, value in inherited.items():
        if name in _NEVER_PARAMETERS or name not in body or body[name] != value:
            continue
        if name in own:
            replaced[name] = own[name]
        else:
            del replaced[name]
    return replaced


async def _parameters_of(first: str, own: str) -> tuple[JsonObject, JsonObject]:
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]

    # The list of models in `app.state` does not tell their parameters, only the table does.
    common, *models = await asyncio.gather(
        Config.get("models.default_params"),
        Models.get_model_by_id(first),
        Models.get_model_by_id(own),
    )
    defaults = flat_parameters(common)
    inherited, replacing = (
        {**defaults, **flat_parameters(model.params.model_dump() if model else None)}
        for model in models
    )
    return inherited, replacing


def flat_parameters(parameters: Any) -> JsonObject:
    """Parameters as they stand in a body: custom ones among the others, JSON texts read."""
    stored = as_object(parameters)
    flat = {
        name: value
        for name, value in stored.items()
        if name not in _HOST_PARAMETERS and value is not None
    }
    for name, value in as_object(stored.get("custom_params")).items():
        flat[name] = value
        if isinstance(value, str):
            with suppress(ValueError):
                flat[name] = decode_json(value)
    return flat


def is_switched_on(value: Any) -> bool:
    """Whether a parameter says yes, also where a settings form made text of it."""
    return str(value).strip().casefold() in ("true", "1", "on", "yes")
