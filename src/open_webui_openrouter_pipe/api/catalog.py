"""`GET /models`: the rows of OpenRouter's catalog."""

from __future__ import annotations

import httpx

from ..core.config import Settings
from ..core.json_codec import decode_json
from ..core.json_values import JsonObject, as_object, objects_in
from .errors import read_http_error
from .http import as_pipe_errors, authorize, refuse_web_page

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0


async def fetch_models(client: httpx.AsyncClient, settings: Settings) -> list[JsonObject]:
    """Fetch every text model's row (schema `Model`); raises a `PipeError` that says why not."""
    limits = {"connect": settings.connect_timeout, "read": _CATALOG_SECONDS}
    with as_pipe_errors(settings, answering=False):
        response = await client.get(
            f"{settings.base_url}/models",
            headers=authorize(settings),
            extensions={"timeout": {**limits, "total": _CATALOG_SECONDS}},
        )
    refuse_web_page(response, settings)
    try:
        rows = as_object(decode_json(response.content)).get("data")
    except ValueError:
        rows = None
    if not response.is_success or not isinstance(rows, list):
        raise read_http_error(response, response.content)
    return objects_in(rows)
