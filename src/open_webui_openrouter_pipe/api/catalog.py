"""What OpenRouter tells outside of answers: its models (`GET /models`), the key (`GET /key`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from ..core.config import Settings
from ..core.errors import PipeError, StreamInterruptedError
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, number_of, objects_in, text_of, whole_of
from ..core.logging_system import LOG
from .errors import read_http_error
from .events import Usage
from .http import as_pipe_errors, authorize, own_referer, refuse_web_page

Data = TypeVar("Data", list[Any], JsonObject)

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0
# Without it only models that write are listed.
_OUTPUTS = "text,image"
# Endpoints that serve models of their own, and what those give.
_STUDIOS = {"images": "image", "videos": "video"}
_NOT_MODIFIED = 304
_FEW_MODELS = 25


@dataclass(frozen=True, slots=True)
class CatalogCopy:
    """A catalog as it came: the row of every model that writes, draws or films (schema `Model`)."""

    rows: list[JsonObject]
    etag: str = ""
    """What the server calls this state of its catalog, where it does."""
    zdr_ids: frozenset[str] | None = None
    age: float = 0.0
    """Seconds since it came."""


async def fetch_models(
    client: httpx.AsyncClient, settings: Settings, kept: CatalogCopy | None = None
) -> CatalogCopy:
    """Fetch the catalog, unless the copy at hand is still the newest.

    Raises a `PipeError` that says why there is none.
    """
    of_key = settings.catalog.key_models_only
    path = "/models/user" if of_key else f"/models?output_modalities={_OUTPUTS}"
    known = {"If-None-Match": kept.etag} if kept and kept.etag else {}
    response = await _ask(client, settings, path, known)
    if kept and response.status_code == _NOT_MODIFIED:
        return kept
    rows = objects_in(_data_in(response, settings, list))
    if not of_key:
        ids = {row.get("id") for row in rows}
        lists = await asyncio.gather(*(_fetch_studio(client, settings, name) for name in _STUDIOS))
        rows += [row for listed in lists for row in listed if row.get("id") not in ids]
    return CatalogCopy(rows, response.headers.get("etag", ""))


async def _fetch_studio(
    client: httpx.AsyncClient, settings: Settings, studio: str
) -> list[JsonObject]:
    """The models of an endpoint of its own, marked with its name (`studio`)."""
    try:
        response = await _ask(client, settings, f"/{studio}/models", {})
        rows = objects_in(_data_in(response, settings, list))
    except PipeError as error:  # the others can be used all the same
        LOG.info("catalog: no list of /%s: %s", studio, error.cause)
        return []
    kinds = {"input_modalities": ["text", "image"], "output_modalities": [_STUDIOS[studio]]}
    marks = {"studio": studio, "architecture": kinds}
    frames = "supported_frame_images"
    return [{**row, **marks, "supported_parameters": row.get(frames)} for row in rows]


async def fetch_zdr_ids(client: httpx.AsyncClient, settings: Settings) -> frozenset[str]:
    """Fetch the ids of the models that some provider serves without keeping data."""
    response = await _ask(client, settings, "/endpoints/zdr", {})
    endpoints = objects_in(_data_in(response, settings, list))
    return frozenset(filter(None, (text_of(row.get("model_id")) for row in endpoints)))


async def fetch_provider_slugs(
    client: httpx.AsyncClient, settings: Settings, model_ids: Collection[str] = ()
) -> list[str]:
    """Fetch the names under which a request may ask for a provider, or for none.

    Those of a few models' endpoints (`fireworks/fast`); many would be a request each.
    """
    names: set[str] = set()
    try:
        for model_id in model_ids if len(model_ids) <= _FEW_MODELS else ():
            path = f"/models/{model_id}/endpoints"
            model = _data_in(await _ask(client, settings, path, {}), settings, dict)
            for tag in (text_of(row.get("tag")) for row in objects_in(model.get("endpoints"))):
                names |= {tag, tag.partition("/")[0]}
    except PipeError:
        names.clear()
    if not names:
        rows = objects_in(_data_in(await _ask(client, settings, "/providers", {}), settings, list))
        names = {text_of(row.get("slug")) for row in rows}
    return sorted(names - {""})


async def fetch_credit_left(client: httpx.AsyncClient, settings: Settings) -> float | None:
    """Fetch what is left of the key's limit, in USD; `None` for a key without one."""
    key = _data_in(await _ask(client, settings, "/key", {}), settings, dict)
    return number_of(key.get("limit_remaining"))


async def fetch_usage(client: httpx.AsyncClient, settings: Settings, generation_id: str) -> Usage:
    """Fetch what a request took, some seconds after its end; raises a `PipeError` till then."""
    path = f"/generation?id={quote(generation_id)}"
    found = _data_in(await _ask(client, settings, path, {}), settings, dict)
    upstream = number_of(found.get("upstream_inference_cost")) or 0.0
    return Usage(
        input_tokens=whole_of(found.get("native_tokens_prompt")),
        cached_tokens=whole_of(found.get("native_tokens_cached")),
        output_tokens=whole_of(found.get("native_tokens_completion")),
        reasoning_tokens=whole_of(found.get("native_tokens_reasoning")),
        cost=number_of(found.get("total_cost")),
        is_byok=found.get("is_byok") is True,
        cost_details={"upstream_inference_cost": upstream},
    )


async def _ask(
    client: httpx.AsyncClient, settings: Settings, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    limits = {"connect": settings.connect_timeout, "read": _CATALOG_SECONDS}
    with as_pipe_errors(settings, answering=False):
        return await client.get(
            settings.base_url + path,
            headers={**authorize(settings), **own_referer(settings), **headers},
            extensions={"timeout": {**limits, "total": _CATALOG_SECONDS}},
        )


def _data_in(response: httpx.Response, settings: Settings, kind: type[Data]) -> Data:
    """The `data` of an answer, where it is of the right kind."""
    refuse_web_page(response, settings)
    try:
        data = as_object(decode_json(response.content)).get("data")
    except ValueError as error:
        if response.is_success:
            raise StreamInterruptedError(
                "OpenRouter's answer came only in part.", "Try again in a moment."
            ) from error
        data = None
    if not response.is_success or not isinstance(data, kind):
        raise read_http_error(response, response.content)
    return data
