"""Requests and answers in the log, at level DEBUG, without what must not be read there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import httpx

from ..core.json_codec import encode_json
from ..core.logging_system import LOG
from ..core.redaction import redact_body


def log_request(path: str, body: Mapping[str, Any]) -> None:
    """Note the body as it goes out."""
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("POST %s %s", path, encode_json(redact_body(body)).decode())


def log_answer(path: str, response: httpx.Response) -> None:
    """Note the status, and the id by which OpenRouter knows the answer."""
    if LOG.isEnabledFor(logging.DEBUG):
        generation = response.headers.get("x-generation-id", "unknown")
        LOG.debug("%s answered %d, generation %s", path, response.status_code, generation)
