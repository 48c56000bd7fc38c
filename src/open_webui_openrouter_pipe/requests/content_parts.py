"""The parts of a message (text, pictures, files, sound, video) in the words of either endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.json_values import JsonObject, as_object, objects_in, text_of

_RESPONSES_AUDIO = frozenset({"mp3", "wav"})
"""The formats of sound that `/responses` takes (schema `InputAudio`); chat takes more."""


def input_parts(content: Any) -> list[JsonObject]:
    """Chat content as parts of a Responses message; what nobody could read is left out."""
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}] if content else []
    parts = (_input_part(part) for part in objects_in(content))
    return [part for part in parts if part is not None]


def _input_part(part: Mapping[str, Any]) -> JsonObject | None:
    kind = part.get("type")
    if kind in ("text", "input_text"):
        text = text_of(part.get("text"))
        return {"type": "input_text", "text": text} if text else None
    if kind in ("image_url", "input_image"):
        url = _address(part, "image_url")
        return {"type": "input_image", "image_url": url, "detail": "auto"} if url else None
    if kind in ("video_url", "input_video"):
        url = _address(part, "video_url")
        return {"type": "input_video", "video_url": url} if url else None
    if kind == "input_audio":
        sound = as_object(part.get("input_audio"))
        return {"type": "input_audio", "input_audio": sound} if sound.get("data") else None
    if kind in ("file", "input_file"):
        file = as_object(part.get("file")) or part
        fields = {key: file[key] for key in _FILE_FIELDS if file.get(key)}
        return {"type": "input_file", **fields} if fields.keys() - {"filename"} else None
    return None


_FILE_FIELDS = ("filename", "file_data", "file_url", "file_id")


def _address(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    return text_of(value) or text_of(as_object(value).get("url"))


def chat_parts(parts: list[JsonObject]) -> str | list[JsonObject]:
    """The parts as chat content: plain text where there is nothing else."""
    if all(part.get("type") == "input_text" for part in parts):
        return "\n\n".join(text_of(part.get("text")) for part in parts)
    return [_chat_part(part) for part in parts]


def _chat_part(part: JsonObject) -> JsonObject:
    match part.get("type"):
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part["image_url"]}}
        case "input_video":
            return {"type": "video_url", "video_url": {"url": part["video_url"]}}
        case "input_audio":
            return part
        case "input_file":
            file = {key: part[key] for key in ("filename", "file_data", "file_id") if key in part}
            if "file_url" in part:  # chat reads addresses in the place of the data
                file["file_data"] = part["file_url"]
            return {"type": "file", "file": file}
        case _:
            return {"type": "text", "text": text_of(part.get("text"))}


def parts_only_chat_takes(messages: list[JsonObject]) -> list[str]:
    """What stands in the messages that `/responses` cannot carry, in words for a person."""
    found: set[str] = set()
    for message in messages:
        for part in objects_in(message.get("content")):
            if part.get("type") in ("video_url", "input_video"):
                found.add("video")
            sound = as_object(part.get("input_audio"))
            if sound and text_of(sound.get("format")).lower() not in _RESPONSES_AUDIO:
                found.add(f"sound as {text_of(sound.get('format')) or 'an unnamed format'}")
    return sorted(found)
