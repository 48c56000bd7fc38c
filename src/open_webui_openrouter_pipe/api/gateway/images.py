"""`POST /images`: for models that only draw, and that chats' endpoints do not know."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any

import httpx

from ...core.config import Settings
from ...core.json_values import JsonObject, objects_in, text_of
from ..errors import read_error_body
from ..events import (
    Event,
    ImageItem,
    ItemFinished,
    PictureSketched,
    ResponseFailed,
    ResponseFinished,
    Usage,
    Working,
)
from ..sse import DONE_PAYLOAD, SseDecoder
from .items import picture_address, read_usage
from .payloads import answer_cut_short, read_payload
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
    for picture in objects_in(body.get("data")):
        reader.take({"type": "image_generation.completed", **picture})
    reader.usage = read_usage(body.get("usage"))
    return [*reader.pictures, reader.finish()]


class ImagesReader:
    """Reads one stream of pictures."""

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self.pictures: list[Event] = []
        self.usage: Usage | None = None
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends; without a picture it is cut short."""
        events = self._read(self._decoder.flush())
        return events if self.finished else [*events, self.finish()]

    def _read(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            if self.finished:
                break
            if payload == DONE_PAYLOAD:
                events.append(self.finish())
            elif (data := read_payload(payload)) is not None:
                events.extend(self.take(data))
        return events

    def take(self, data: JsonObject) -> list[Event]:
        """The Events of one object of the stream."""
        picture = text_of(data.get("b64_json"))
        if data.get("error"):
            self.finished = True
            return [ResponseFailed(read_error_body(data), self.usage)]
        match text_of(data.get("type")):
            case "image_generation.partial_image" if picture:
                return [PictureSketched(len(self.pictures), picture_address(picture))]
            case "image_generation.completed" if picture:
                self.usage = read_usage(data.get("usage")) or self.usage
                item = ImageItem("", picture_address(picture))
                self.pictures.append(ItemFinished(len(self.pictures), item))
                return self.pictures[-1:]
            case _:
                return []

    def finish(self) -> Event:
        """The end: pictures, or the reason why there are none."""
        self.finished = True
        if not self.pictures:
            return ResponseFailed(answer_cut_short(), self.usage)
        return ResponseFinished("", "", self.usage)


_IMAGES = Endpoint("/images", ImagesReader, "data", read_finished_images)
