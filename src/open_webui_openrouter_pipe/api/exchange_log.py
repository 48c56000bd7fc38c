"""Requests and answers in the log (at level DEBUG) and the archive, fit to be read there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx

from ..core.context import current_records
from ..core.json_codec import encode_json
from ..core.logging_system import LOG
from ..core.redaction import redact_body


def log_request(path: str, body: Mapping[str, Any]) -> None:
    """Note the body as it goes out."""
    if (records := current_records()) is not None:
        records.add("request", path=path, body=body)
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("POST %s %s", path, encode_json(redact_body(body)).decode())


def log_answer(path: str, response: httpx.Response) -> None:
    """Note the status, and the id by which OpenRouter knows the answer."""
    generation = response.headers.get("x-generation-id", "unknown")
    if (records := current_records()) is not None:
        records.add("answer", path=path, status=response.status_code, generation=generation)
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("%s answered %d, generation %s", path, response.status_code, generation)
