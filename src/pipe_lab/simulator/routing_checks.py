"""Refuses what no endpoint of the model could serve, with OpenRouter's own words."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from .catalog import provider_of
from .catalog_routes import find_row
from .conversation import Conversation
from .error_bodies import error_plain
from .replies import Reply
from .usage import count_tokens

Json = dict[str, Any]
Row = dict[str, Any]

_ROUTING_HELP = (
    "To learn more about provider routing, visit: "
    "https://openrouter.ai/docs/guides/routing/provider-selection"
)
# Where a router sends everything: a model that reads all there is.
_ROUTED = {"openrouter/free": "google/gemma-3-12b-it:free"}
_ROUTED_DEFAULT = "google/gemini-2.5-flash"


def choose_row(body: Json, rows: list[Row]) -> Row | None:
    """The row that a request names, first by `model`, then by `models`."""
    named = [body.get("model"), *(body.get("models") or ())]
    for slug in named:
        if isinstance(slug, str) and (row := find_row(rows, slug.partition("@")[0])):
            return row
    return None


def serving_row(row: Row, rows: list[Row]) -> Row:
    """The concrete model behind an alias or a router."""
    target = (row.get("alias_target") or {}).get("slug")
    if row["id"].startswith("openrouter/"):
        target = _ROUTED.get(row["id"], _ROUTED_DEFAULT)
    return (find_row(rows, target) if target else None) or row


def unknown_model(body: Json) -> Reply:
    """The refusal of a model that is not in the catalog."""
    return _refuse(400, f"{body.get('model')} is not a valid model ID")


def check_model(row: Row) -> Reply | None:
    """The refusal of a model that answers neither synchronously nor with text or images."""
    if row["id"].endswith(":batch"):
        return _refuse(400, f"{row['id']} is only available through the Batch API")
    if not {"text", "image"} & set(row["architecture"]["output_modalities"]):
        return _refuse(404, "No endpoints found that support the requested output modalities")
    return None


def check_capabilities(asked: Conversation, row: Row) -> Reply | None:
    """The refusal of something the model cannot take or make, or None."""
    architecture, parameters = row["architecture"], row.get("supported_parameters") or ()
    # A file that the model cannot read is parsed on the way to it.
    for kind in sorted(asked.attachments - {"file"}):
        if kind not in architecture["input_modalities"]:
            return _refuse(404, f"No endpoints found that support {kind} input")
    if asked.tools and "tools" not in parameters:
        return _refuse(404, f"No endpoints found that support tool use. {_ROUTING_HELP}")
    outputs = architecture["output_modalities"]
    wanted = asked.modalities or (("image",) if "text" not in outputs else ())
    if missing := [kind for kind in wanted if kind not in outputs]:
        text = "No endpoints found that support the requested output modalities"
        return _refuse(404, f"{text}: {', '.join(missing)}")
    return _check_reasoning(asked, row) or _check_sizes(asked, row)


def _check_reasoning(asked: Conversation, row: Row) -> Reply | None:
    off = asked.reasoning.get("effort") == "none" or asked.reasoning.get("enabled") is False
    if off and (row.get("reasoning") or {}).get("mandatory"):
        text = "Reasoning is mandatory for this endpoint and cannot be disabled."
        return _refuse(400, text)
    return None


def _check_sizes(asked: Conversation, row: Row) -> Reply | None:
    limit = asked.max_output_tokens
    if limit is not None and limit < 16 and row["id"].startswith("openai/"):
        text = f"integer below minimum value. Expected a value >= 16, but got {limit} instead."
        return upstream_refusal(400, row, {"code": "integer_below_min_value", "message": text})
    context = row.get("context_length")
    tokens = sum(count_tokens(turn.text) for turn in asked.turns)
    if context and tokens > context:
        text = (
            f"This endpoint's maximum context length is {context} tokens. However, you requested "
            f"about {tokens} tokens ({tokens} of text input). Please reduce the length of either "
            "one, or use the context-compression plugin to compress your prompt automatically."
        )
        return Reply(status=400, body=error_plain(400, text, provider_name=None))
    return None


def check_replay(body: Json, row: Row) -> Reply | None:
    """The refusal of items that do not fit together, as the vendor behind would say it."""
    entries = body.get("input")
    items = (
        [item for item in entries if isinstance(item, dict)] if isinstance(entries, list) else []
    )
    for item in items:
        if item.get("type") == "reasoning" and (refusal := _check_thought(item, row)):
            return refusal
    calls = {item["call_id"] for item in items if item.get("type") == "function_call"}
    outputs = {item["call_id"] for item in items if item.get("type") == "function_call_output"}
    for call_id in sorted(outputs - calls):
        text = f"No tool call found for function call output with call_id {call_id}."
        return upstream_refusal(400, row, {"message": text, "param": "input"})
    for call_id in sorted(calls - outputs):
        text = f"No tool output found for function call {call_id}."
        return upstream_refusal(400, row, {"message": text, "param": "input"})
    return None


def _check_thought(item: Json, row: Row) -> Reply | None:
    identifier = str(item.get("id"))
    encrypted = item.get("encrypted_content")
    if not encrypted:
        upstream = identifier.startswith("rs_") and not identifier.startswith("rs_tmp_")
        if upstream and row["id"].startswith("openai/"):
            text = f"Item with id '{identifier}' not found. Items are not persisted when `store` "
            return upstream_refusal(404, row, {"message": text + "is set to false."})
        return None
    if endpoint_of_blob(encrypted) not in (None, endpoint_slug(row)):
        text = "The encrypted content could not be verified."
        error = {"message": text, "code": "invalid_encrypted_content"}
        return upstream_refusal(400, row, error)
    return None


def endpoint_slug(row: Row) -> str:
    """What an encrypted blob says about its origin."""
    return f"{row['canonical_slug']}|{provider_of(row['id']).lower().replace(' ', '-')}"


def endpoint_of_blob(encrypted: str) -> str | None:
    """Read the origin from the blob's last part; None when it names none."""
    suffix = encrypted.rpartition(".")[2]
    try:
        padded = suffix + "=" * (-len(suffix) % 4)
        return orjson.loads(base64.urlsafe_b64decode(padded)).get("endpoint_slug")
    except (ValueError, AttributeError):
        return None


def upstream_refusal(status: int, row: Row, error: Json) -> Reply:
    """A provider's refusal, wrapped: the text is generic, the truth stands in `metadata.raw`."""
    raw = orjson.dumps({"error": {"type": "invalid_request_error", **error}}).decode()
    provider = provider_of(row["id"])
    body = error_plain(status, "Provider returned error", raw=raw, provider_name=provider)
    return Reply(status=status, body=body)


def _refuse(status: int, message: str) -> Reply:
    return Reply(status=status, body=error_plain(status, message))
