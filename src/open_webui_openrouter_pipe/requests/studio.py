"""What is asked of a model that only draws or films: a prompt, pictures to go by, wishes."""

from __future__ import annotations

from typing import Any, cast

from ..api.bodies import CompletionsBody, ResponsesBody
from ..core.context import RequestContext
from ..core.errors import UnsupportedInputError
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from ..models.family import ModelFamily
from .content_parts import input_parts
from .routing import provider_fields
from .tasks import is_chore

# What a model's or a chat's custom parameters may say (schemas `ImageGenerationRequest`,
# `VideoGenerationRequest`).
_COMMON_WISHES = ("aspect_ratio", "resolution", "size", "seed")
_WISHES = {
    "images": ("n", "quality", "output_format", "output_compression", "background"),
    "videos": ("duration", "generate_audio", "creativity", "upscale_factor"),
}
_PREFERENCES = {
    "images": ("allow_fallbacks", "ignore", "only", "options", "order", "sort"),
    "videos": ("options",),
}
_MOST_PICTURES = 16


def build_studio_body(
    body: CompletionsBody, context: RequestContext, family: ModelFamily
) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` where there is no prompt.

    A chore is refused: its picture would cost, and nobody would see it. So is what demands
    privacy: these endpoints cannot be told.
    """
    if is_chore(context.task):
        raise UnsupportedInputError(f"{context.model} does not write.")
    messages = [each for each in objects_in(body.get("messages")) if each.get("role") == "user"]
    parts = input_parts(messages[-1].get("content")) if messages else []
    prompt = "\n\n".join(text_of(p.get("text")) for p in parts if p["type"] == "input_text")
    if not prompt:
        raise UnsupportedInputError(
            "There is nothing to go by: the message has no words.", "Say what you want to see."
        )
    fields: dict[str, Any] = {"model": context.model, "prompt": prompt, **_pictures(parts, family)}
    if family.studio == "images":
        fields |= _drawing_wishes(body, context)
    wishes = (*_COMMON_WISHES, *_WISHES[family.studio])
    fields |= {name: body[name] for name in wishes if body.get(name) is not None}
    provider = as_object(provider_fields(body, context).get("provider"))
    if provider.get("zdr") or provider.get("data_collection") == "deny":
        raise UnsupportedInputError(
            f"{context.model} cannot be kept to providers that keep no data, which is demanded.",
            f"Choose another model; behind `/{family.studio}` neither is known.",
        )
    preferences = _PREFERENCES[family.studio]
    if kept := {name: provider[name] for name in provider if name in preferences}:
        fields["provider"] = kept
    return cast("ResponsesBody", fields)


def _drawing_wishes(body: CompletionsBody, context: RequestContext) -> JsonObject:
    """The same wishes as in a chat, under the names of this endpoint."""
    wanted = dict(context.settings.drawing)
    said = as_object(body.get("image_config"))
    wanted |= {"size": said["image_size"]} if said.get("image_size") else {}
    wanted |= {name: said[name] for name in ("aspect_ratio", "quality") if said.get(name)}
    if "size" in wanted:
        wanted["resolution"] = wanted.pop("size")
    # An exact size excludes both.
    return {} if body.get("size") else wanted


def _pictures(parts: list[JsonObject], family: ModelFamily) -> JsonObject:
    """The message's pictures: the first and the last frame of a video, else what to go by."""
    pictures = [
        {"type": "image_url", "image_url": {"url": part["image_url"]}}
        for part in parts
        if part["type"] == "input_image"
    ][:_MOST_PICTURES]
    known = family.supported_parameters
    frames = [name for name in ("first_frame", "last_frame") if name in known]
    if pictures and len(pictures) <= len(frames):
        named = zip(pictures, frames, strict=False)
        return {"frame_images": [{**each, "frame_type": name} for each, name in named]}
    return {"input_references": pictures} if pictures else {}
