"""The GET routes: models, endpoints, providers, the key and its credits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from .catalog import provider_of, providers
from .error_bodies import error_plain
from .recording import RecordedRequest
from .replies import Reply

Row = dict[str, Any]

_DEFAULT_LIMIT, _MAX_LIMIT = 500, 1000
# A tier's tag, and the factor it puts on the price.
_SECOND_TIERS = ((None, Decimal("1.15")), ("fast", Decimal("1.5")))


def catalog_reply(request: RecordedRequest, rows: list[Row]) -> Reply | None:
    """The answer to a GET, or None when the path is not one of ours."""
    parts = request.path.strip("/").split("/")
    if parts[-1] == "endpoints" and parts[0] == "models" and len(parts) == 4:
        return _of_model("/".join(parts[1:3]), rows, _endpoints_body)
    if parts[0] == "model" and len(parts) == 3:
        return _of_model("/".join(parts[1:]), rows, lambda row: row)
    match request.path:
        case "/models" | "/models/user":
            return models_reply(request, rows)
        case "/models/count":
            return Reply(body={"data": {"count": len(filter_rows(rows, request.query))}})
        case "/endpoints/zdr":
            private = [row for row in _text_rows(rows) if _digest(row["id"]) % 3 == 0]
            return Reply(body={"data": [endpoints_of(row)[0] for row in private]})
        case "/providers":
            return Reply(body={"data": [_provider(name) for name in providers()]})
        case "/key":
            return Reply(body={"data": _key(request)})
        case "/credits":
            return _credits(request)
    return None


def find_row(rows: Iterable[Row], slug: str) -> Row | None:
    """The row of an id, a permanent slug, or an id with a routing suffix (`:nitro`)."""
    rows = list(rows)
    by_id = {row["id"]: row for row in rows}
    if slug in by_id:
        return by_id[slug]
    base, _, suffix = slug.rpartition(":")
    if suffix in ("nitro", "floor", "exacto", "online", "extended") and base:
        return find_row(rows, base)
    return next((row for row in rows if row.get("canonical_slug") == slug), None)


def models_reply(request: RecordedRequest, rows: list[Row]) -> Reply:
    """`GET /models`: text models unless asked for others, a page only when asked for one."""
    query = request.query
    found = filter_rows(rows, query)
    total = len(found)
    following = None
    if "offset" in query or "limit" in query:
        try:
            offset = int(query.get("offset", 0))
            limit = int(query.get("limit", _DEFAULT_LIMIT))
        except ValueError:
            return Reply(status=400, body=error_plain(400, "offset and limit must be integers"))
        if offset < 0 or not 1 <= limit <= _MAX_LIMIT:
            return Reply(status=400, body=error_plain(400, "offset or limit out of range"))
        found = found[offset : offset + limit]
        if offset + limit < total:
            rest = {**query, "offset": offset + limit, "limit": limit}
            following = f"/api/v1{request.path}?{urlencode(rest)}"
    return Reply(body={"data": found, "total_count": total, "links": {"next": following}})


def filter_rows(rows: list[Row], query: dict[str, str]) -> list[Row]:
    """The rows that match a query's filters."""
    outputs = query.get("output_modalities", "text")
    found = rows if outputs == "all" else _having(rows, "output_modalities", outputs)
    if inputs := query.get("input_modalities"):
        found = _having(found, "input_modalities", inputs)
    if parameters := query.get("supported_parameters"):
        wanted = set(parameters.split(","))
        found = [row for row in found if wanted <= set(row.get("supported_parameters") or ())]
    if words := query.get("q"):
        found = [row for row in found if words.lower() in f"{row['id']} {row['name']}".lower()]
    if authors := query.get("model_authors"):
        wanted = set(authors.split(","))
        found = [row for row in found if row["id"].lstrip("~").partition("/")[0] in wanted]
    return found


def endpoints_of(row: Row) -> list[Row]:
    """The endpoints that serve a model: its author's, and for open weights a second one."""
    first = provider_of(row["id"])
    endpoints = [_endpoint(row, first, None, Decimal(1))]
    if row.get("hugging_face_id"):
        endpoints += [_endpoint(row, "Fireworks", tier, factor) for tier, factor in _SECOND_TIERS]
        # One endpoint of a model can lack what the others have.
        lacking = {"tools", "tool_choice"}
        kept = [name for name in row["supported_parameters"] if name not in lacking]
        endpoints[-1]["supported_parameters"] = kept
    return endpoints


def _having(rows: list[Row], side: str, kinds: str) -> list[Row]:
    wanted = set(kinds.split(","))
    return [row for row in rows if wanted & set((row.get("architecture") or {}).get(side, ()))]


def _text_rows(rows: list[Row]) -> list[Row]:
    return _having(rows, "output_modalities", "text")


def _of_model(slug: str, rows: list[Row], form: Any) -> Reply:
    row = find_row(rows, slug)
    if row is None:
        return Reply(status=404, body=error_plain(404, "Model not found"))
    return Reply(body={"data": form(row)})


def _endpoints_body(row: Row) -> Row:
    kept = {key: row[key] for key in ("id", "name", "created", "description", "architecture")}
    return {**kept, "endpoints": endpoints_of(row)}


def _endpoint(row: Row, provider: str, tier: str | None, factor: Decimal) -> Row:
    tag = slug_of(provider) + (f"/{tier}" if tier else "")
    number = _digest(row["id"] + tag)
    pricing = {
        key: price if price == "-1" else f"{(Decimal(price) * factor).normalize():f}"
        for key, price in row["pricing"].items()
        if isinstance(price, str)
    }
    speed = 20 + number % 80
    return {
        "name": f"{provider} | {row['canonical_slug']}",
        "model_id": row["id"],
        "model_name": row["name"],
        "context_length": row["context_length"],
        "pricing": {**pricing, "discount": row["pricing"].get("discount", 0)},
        "provider_name": provider,
        "tag": tag,
        "quantization": "fp8" if tier else "unknown",
        "max_completion_tokens": row["top_provider"]["max_completion_tokens"],
        "max_prompt_tokens": None,
        "supported_parameters": row["supported_parameters"],
        "status": -2 if number % 11 == 0 else 0,
        "uptime_last_30m": 100 - number % 7,
        "uptime_last_5m": None if number % 13 == 0 else 100 - number % 3,
        "uptime_last_1d": 99.5,
        "supports_implicit_caching": "input_cache_read" in row["pricing"],
        "supports_voice_cloning": False,
        "latency_last_30m": {"p50": 900, "p75": 1400, "p90": 2600, "p99": 9000},
        "throughput_last_30m": {
            "p50": speed,
            "p75": speed + 8,
            "p90": speed + 15,
            "p99": speed + 30,
        },
    }


def slug_of(provider: str) -> str:
    """A provider's routing slug: `Google AI Studio` → `google-ai-studio`."""
    return provider.lower().replace(" ", "-").replace(".", "")


def _provider(name: str) -> Row:
    slug = slug_of(name)
    return {
        "name": name,
        "slug": slug,
        "privacy_policy_url": f"https://{slug}.example/privacy",
        "terms_of_service_url": f"https://{slug}.example/terms",
        "status_page_url": None,
        "headquarters": "US",
        "datacenters": ["US"],
    }


def _key(request: RecordedRequest) -> Row:
    key = request.headers.get("authorization", "").rpartition(" ")[2]
    spent = {"usage": 1.25, "usage_daily": 0.05, "usage_weekly": 0.4, "usage_monthly": 1.25}
    return {
        "label": f"{key[:9]}...{key[-3:]}",
        "limit": 10,
        "limit_remaining": 8.75,
        "limit_reset": None,
        **spent,
        "byok_usage": 0,
        "include_byok_in_limit": False,
        "is_free_tier": False,
        "is_management_key": _is_management(request),
        "creator_user_id": "user_lab",
        "expires_at": None,
        "rate_limit": {"requests": -1, "interval": "10s", "note": "deprecated"},
    }


def _credits(request: RecordedRequest) -> Reply:
    if not _is_management(request):
        message = "Only management keys can fetch credits for an account"
        return Reply(status=403, body=error_plain(403, message))
    return Reply(body={"data": {"total_credits": 25, "total_usage": 1.25}})


def _is_management(request: RecordedRequest) -> bool:
    return "management" in request.headers.get("authorization", "")


def _digest(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:6], 16)
