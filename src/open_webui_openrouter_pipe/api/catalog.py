"""What OpenRouter tells outside of answers: its models (`GET /models`), the key (`GET /key`)."""

from __future__ import annotations

from typing import Any, TypeVar

import httpx

from ..core.config import Settings
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, number_of, objects_in, text_of
from .errors import read_http_error
from .http import as_pipe_errors, authorize, own_referer, refuse_web_page

Data = TypeVar("Data", list[Any], JsonObject)

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0
# Without it only models that write are listed.
_OUTPUTS = "text,image"


async def fetch_models(client: httpx.AsyncClient, settings: Settings) -> list[JsonObject]:
    """Fetch the row of every model that writes or draws (schema `Model`).

    Raises a `PipeError` that says why there are none.
    """
    of_key = settings.catalog.key_models_only
    path = "/models/user" if of_key else f"/models?output_modalities={_OUTPUTS}"
    return objects_in(await _fetch_data(client, settings, path, list))


async def fetch_zdr_ids(client: httpx.AsyncClient, settings: Settings) -> frozenset[str]:
    """Fetch the ids of the models that some provider serves without keeping data."""
    endpoints = objects_in(await _fetch_data(client, settings, "/endpoints/zdr", list))
    return frozenset(filter(None, (text_of(row.get("model_id")) for row in endpoints)))


async def fetch_provider_slugs(client: httpx.AsyncClient, settings: Settings) -> list[str]:
    """Fetch the names under which a request may ask for a provider, or for none."""
    rows = objects_in(await _fetch_data(client, settings, "/providers", list))
    return sorted(filter(None, (text_of(row.get("slug")) for row in rows)))


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
