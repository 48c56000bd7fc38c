"""What OpenRouter tells outside of answers: its models (`GET /models`), the key (`GET /key`)."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

import httpx

from ..core.config import Settings
from ..core.errors import PipeError
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, number_of, objects_in, text_of
from ..core.logging_system import LOG
from .errors import read_http_error
from .http import as_pipe_errors, authorize, own_referer, refuse_web_page

Data = TypeVar("Data", list[Any], JsonObject)

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0
# Without it only models that write are listed.
_OUTPUTS = "text,image"
# Endpoints that serve models of their own, and what those give.
_STUDIOS = {"images": "image", "videos": "video"}


async def fetch_models(client: httpx.AsyncClient, settings: Settings) -> list[JsonObject]:
    """Fetch the row of every model that writes, draws or films (schema `Model`).

    Raises a `PipeError` that says why there are none.
    """
    of_key = settings.catalog.key_models_only
    path = "/models/user" if of_key else f"/models?output_modalities={_OUTPUTS}"
    rows = objects_in(await _fetch_data(client, settings, path, list))
    if of_key:
        return rows
    known = {row.get("id") for row in rows}
    lists = await asyncio.gather(*(_fetch_studio(client, settings, name) for name in _STUDIOS))
    return [*rows, *(row for listed in lists for row in listed if row.get("id") not in known)]


async def _fetch_studio(
    client: httpx.AsyncClient, settings: Settings, studio: str
) -> list[JsonObject]:
    """The models of an endpoint of its own, marked with its name (`studio`)."""
    try:
        rows = objects_in(await _fetch_data(client, settings, f"/{studio}/models", list))
    except PipeError as error:  # the others can be used all the same
        LOG.info("catalog: no list of /%s: %s", studio, error.cause)
        return []
    kinds = {"input_modalities": ["text", "image"], "output_modalities": [_STUDIOS[studio]]}
    marks = {"studio": studio, "architecture": kinds}
    frames = "supported_frame_images"
    return [{**row, **marks, "supported_parameters": row.get(frames)} for row in rows]


async def fetch_zdr_ids(client: httpx.AsyncClient, settings: Settings) -> frozenset[str]:
    """Fetch the ids of the models that some provider serves without keeping data."""
    endpoints = objects_in(await _fetch_data(client, settings, "/endpoints/zdr", list))
    return frozenset(filter(None, (text_of(row.get("model_id")) for row in endpoints)))


async def fetch_credit_left(client: httpx.AsyncClient, settings: Settings) -> float | None:
    """Fetch what is left of the key's limit, in USD; `None` for a key without one."""
    return number_of((await _fetch_data(client, settings, "/key", dict)).get("limit_remaining"))


async def _fetch_data(
    client: httpx.AsyncClient, settings: Settings, path: str, kind: type[Data]
) -> Data:
    """The `data` of an answer, where it is of the right kind."""
    limits = {"connect": settings.connect_timeout, "read": _CATALOG_SECONDS}
    with as_pipe_errors(settings, answering=False):
        response = await client.get(
            settings.base_url + path,
            headers={**authorize(settings), **own_referer(settings)},
            extensions={"timeout": {**limits, "total": _CATALOG_SECONDS}},
        )
    refuse_web_page(response, settings)
    try:
        data = as_object(decode_json(response.content)).get("data")
    except ValueError:
        data = None
    if not response.is_success or not isinstance(data, kind):
        raise read_http_error(response, response.content)
    return data
