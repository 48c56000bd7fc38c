"""`POST /images`: for models that only draw, and that chats' endpoints do not know."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from ...core.config import Settings
from ...core.json_values import JsonObject, objects_in, text_of
from ..events import Event, PictureSketched, Working
from .chat_reader import ChatReader
from .items import picture_address
from .stream import Endpoint, stream_endpoint


async def stream_images(
    client: httpx.AsyncClient, settings: Settings, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Have pictures drawn, seen half drawn where the provider streams them."""
    yield [Working("The picture is being drawn.")]
    async with aclosing(stream_endpoint(client, settings, _IMAGES, body)) as batches:
        async for batch in batches:
            yield batch


def read_finished_images(body: JsonObject) -> list[Event]:
    """Read the pictures that came whole."""
    reader = ImagesReader()
    events = [event for data in objects_in(body.get("data")) for event in reader.read_chunk(data)]
    reader.read_chunk({"usage": body.get("usage")})
    return [*events, *reader.finish(done=True)]


class ImagesReader(ChatReader):
    """Reads one stream of pictures; usage, errors and its end are those of chat completions."""

    def read_chunk(self, data: JsonObject) -> list[Event]:
        """The Events of one object of the stream."""
        picture = text_of(data.get("b64_json"))
        if picture and data.get("type") == "image_generation.partial_image":
            return [PictureSketched(0, picture_address(picture))]
        image = {"image_url": {"url": picture_address(picture)}}
        choice = {"delta": {"images": [image] if picture else []}}
        return super().read_chunk({**data, "choices": [choice]})


_IMAGES = Endpoint("/images", ImagesReader, "data", read_finished_images)
