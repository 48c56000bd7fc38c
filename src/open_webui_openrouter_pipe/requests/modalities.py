"""Pictures and sound are asked for where the model gives them."""

from __future__ import annotations

from typing import Any

from ..api.bodies import CompletionsBody
from ..core.context import RequestContext
from ..core.json_values import as_object
from ..models.family import ModelFamily

_VOICE = "alloy"


def modality_fields(family: ModelFamily | None, *, is_task: bool) -> dict[str, Any]:
    """The request's `modalities`; nothing for a model that only writes, and for a chore."""
    if family is None or is_task or "image" not in family.output_modalities:
        return {}
    # A model that only draws refuses to be asked for text.
    writes = "text" in family.output_modalities
    return {"modalities": ["image", "text"] if writes else ["image"]}


def drawing_fields(
    body: CompletionsBody, family: ModelFamily | None, context: RequestContext
) -> dict[str, Any]:
    """The request's `image_config`: what the model or the chat says, else what the user wants."""
    if family is None or context.task or "image" not in family.output_modalities:
        return {}
    wanted = dict(context.settings.drawing)
    if "size" in wanted:
        wanted["image_size"] = wanted.pop("size")
    config = {**wanted, **as_object(body.get("image_config"))}
    return {"image_config": config} if config else {}


def ask_for_sound(
    body: CompletionsBody, context: RequestContext, family: ModelFamily | None
) -> CompletionsBody:
    """The body, asking for sound where the model speaks or plays, and a person can listen.

    Only `/chat/completions` gives sound. OpenAI streams it in one format alone.
    """
    speaks = family is not None and "audio" in family.output_modalities
    if family is None or not speaks or not context.is_in_message or "modalities" in body:
        return body
    asked = {**body, "modalities": ["text", "audio"]}
    if family.vendor == "openai":
        voice = {"voice": context.settings.voice or _VOICE}
        asked["audio"] = {**voice, **as_object(body.get("audio")), "format": "pcm16"}
    return asked
