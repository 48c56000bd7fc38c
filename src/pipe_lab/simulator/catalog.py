"""The simulator's catalog: about 350 invented rows with every combination of capabilities."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .catalog_tables import ALIASES, AUTHORS, FAMILIES

Row = dict[str, Any]

_MODALITIES = {
    "t": "text",
    "i": "image",
    "f": "file",
    "a": "audio",
    "v": "video",
    "e": "embeddings",
    "r": "rerank",
    "s": "speech",
    "x": "transcription",
}
_EFFORTS = {
    "a": "max",
    "x": "xhigh",
    "h": "high",
    "m": "medium",
    "l": "low",
    "i": "minimal",
    "n": "none",
}
_PROFILES = {
    "openai": "max_tokens max_completion_tokens seed",
    "claude": "max_tokens max_completion_tokens stop temperature",
    "plain": "max_tokens seed stop temperature top_p frequency_penalty presence_penalty",
    "few": "max_tokens temperature top_p",
    "none": "",
    "open": (
        "max_tokens seed stop temperature top_p top_k min_p frequency_penalty presence_penalty "
        "repetition_penalty logit_bias logprobs top_logprobs"
    ),
}
# Sizes and tiers in a variant's name, and how they change the family's price.
_PRICE_FACTORS = {"nano": "0.04", "mini": "0.2", "lite": "0.4", "flash": "0.3", "pro": "8"}
_FIRST_DAY = 1_700_000_000
_DAY = 86_400


@dataclass(frozen=True, slots=True)
class _Author:
    slug: str
    name: str
    tokenizer: str
    provider: str
    profile: str


@dataclass(frozen=True, slots=True)
class _Family:
    slug: str
    title: str
    variants: list[str]
    capabilities: str
    limits: str
    price: str
    extras: dict[str, str]


def build_catalog() -> list[Row]:
    """Every row, newest first; the same on each call."""
    authors = {author.slug: author for author in _authors()}
    rows: list[Row] = []
    for family in _families():
        author = authors[family.slug.partition("/")[0]]
        for variant in family.variants:
            rows.extend(_rows_of(author, family, variant))
    rows = [_dated(row, day) for day, row in enumerate(rows)]
    by_id = {row["id"]: row for row in rows}
    rows.extend(_alias_row(line, by_id) for line in _lines(ALIASES))
    return sorted(rows, key=lambda row: -row["created"])


def provider_of(model: str) -> str:
    """The provider that serves a model's author first-hand."""
    author = model.lstrip("~").partition("/")[0]
    return next((known.provider for known in _authors() if known.slug == author), "Lab")


def providers() -> list[str]:
    """The names of all providers, without repetition."""
    return list(dict.fromkeys(author.provider for author in _authors()))


def _lines(table: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")] for line in table.strip().splitlines() if line
    ]


def _authors() -> list[_Author]:
    return [_Author(*cells) for cells in _lines(AUTHORS)]


def _families() -> list[_Family]:
    families: list[_Family] = []
    for slug, title, variants, capabilities, limits, price, extras in _lines(FAMILIES):
        marks = {name: value for name, _, value in (mark.partition("=") for mark in extras.split())}
        suffixes = ["" if variant == "." else variant for variant in variants.split(", ")]
        families.append(_Family(slug, title, suffixes, capabilities, limits, price, marks))
    return families


def _rows_of(author: _Author, family: _Family, variant: str) -> list[Row]:
    row = _row(author, family, variant)
    rows = [row]
    if "free" in family.extras:
        rows.append(_variant_row(row, "free", " (free)", Decimal(0)))
    if "batch" in family.extras:
        rows.append(_variant_row(row, "batch", " (batch)", Decimal("0.5")))
    if "think" in family.extras:
        thinking = _variant_row(row, "thinking", " (thinking)", Decimal(1))
        thinking["reasoning"] = {"mandatory": True}
        thinking["supported_parameters"] = sorted(
            {*row["supported_parameters"], "reasoning", "include_reasoning"}
        )
        rows.append(thinking)
    return rows


def _row(author: _Author, family: _Family, variant: str) -> Row:
    modalities, abilities, reasoning_code = family.capabilities.split()
    slug = family.slug + variant
    router = "router" in family.extras
    title = f"{family.title}{_spoken(variant)}"
    reasoning = _reasoning(reasoning_code)
    context, output = (int(part) * 1000 for part in family.limits.split("/"))
    row: Row = {
        "id": slug,
        "canonical_slug": slug,
        "hugging_face_id": slug if "hf" in family.extras else None,
        "name": title if router else f"{author.name}: {title}",
        "created": 0,
        "description": _description(author, title, family),
        "context_length": context or None,
        "architecture": _architecture(modalities, author.tokenizer),
        "pricing": _pricing(family, variant),
        "top_provider": {
            "context_length": None if router else context or None,
            "max_completion_tokens": output or None,
            "is_moderated": "mod" in family.extras,
        },
        "per_request_limits": None,
        "supported_parameters": _parameters(author, abilities, reasoning, family),
        "default_parameters": _default_parameters(author),
        "supported_voices": ["alloy", "coral", "verse"] if "voices" in family.extras else None,
        "knowledge_cutoff": None if "hf" in family.extras else "2025-06-30",
        "expiration_date": family.extras.get("exp"),
    }
    if reasoning is not None:
        row["reasoning"] = reasoning
    return row


def _spoken(variant: str) -> str:
    words = variant.lstrip("-").split("-")
    return variant if variant.startswith(".") else " ".join(["", *words]).rstrip().title()


def _description(author: _Author, title: str, family: _Family) -> str:
    inputs = family.capabilities.partition(">")[0]
    kinds = ", ".join(_MODALITIES[letter] for letter in inputs)
    return f"{title} by {author.name}, as the lab invented it: reads {kinds}."


def _architecture(modalities: str, tokenizer: str) -> Row:
    inputs, outputs = (
        [_MODALITIES[letter] for letter in side] for side in modalities.split(">", 1)
    )
    return {
        "modality": f"{'+'.join(inputs)}->{'+'.join(outputs)}",
        "input_modalities": inputs,
        "output_modalities": outputs,
        "tokenizer": tokenizer,
        "instruct_type": None,
    }


def _reasoning(code: str) -> Row | None:
    """`Me:hml+` → mandatory, three efforts, on by default."""
    if code == "-":
        return None
    kind, _, letters = code.rstrip("+!").partition(":")
    reasoning: Row = {"mandatory": kind.startswith("M")}
    if code.endswith(("+", "!")):
        reasoning["default_enabled"] = code.endswith("+")
    if "b" in kind:
        reasoning["supports_max_tokens"] = True
    if letters == "*":
        reasoning["supported_efforts"] = None
    elif letters:
        efforts = [_EFFORTS[letter] for letter in letters]
        reasoning["supported_efforts"] = efforts
        reasoning["default_effort"] = "medium" if "medium" in efforts else efforts[0]
    return reasoning


def _parameters(
    author: _Author, abilities: str, reasoning: Row | None, family: _Family
) -> list[str]:
    names = set(_PROFILES[author.profile].split())
    if "t" not in family.capabilities.split()[0].partition(">")[2]:
        return []
    if author.profile == "openai" and reasoning is None:
        names |= {*_PROFILES["plain"].split(), "logit_bias", "logprobs", "top_logprobs"}
    if "T" in abilities:
        names |= {"tools", "tool_choice"}
    if "S" in abilities:
        names |= {"structured_outputs", "response_format"}
    if reasoning is not None:
        names |= {"reasoning", "include_reasoning"}
        names |= {"reasoning_effort"} if "supported_efforts" in reasoning else set()
    if "verbose" in family.extras:
        names.add("verbosity")
    if "search" in family.extras and author.slug == "openai":
        names.add("web_search_options")
    return sorted(names)


def _default_parameters(author: _Author) -> Row:
    if author.profile != "open":
        return {}
    return {"temperature": 0.7, "top_p": 0.95, "frequency_penalty": None}


def _pricing(family: _Family, variant: str) -> Row:
    """Prices as decimal text in dollars per token; a router's are unknown (`-1`)."""
    per_million_in, per_million_out = (Decimal(part) for part in family.price.split("/"))
    if per_million_in < 0:
        return {"prompt": "-1", "completion": "-1"}
    factor = _price_factor(variant)
    prompt = per_million_in * factor / 1_000_000
    completion = per_million_out * factor / 1_000_000
    prices: dict[str, Decimal] = {"prompt": prompt, "completion": completion}
    for mark, key in (("image", "image_output"), ("audio", "audio")):
        if mark in family.extras:
            prices[key] = Decimal(family.extras[mark]) / 1_000_000
    for mark, key in (("request", "request"), ("search", "web_search")):
        if mark in family.extras:
            prices[key] = Decimal(family.extras[mark])
    prices |= _cache_prices(family, prompt)
    row: Row = {key: f"{price.normalize():f}" for key, price in prices.items()}
    if "discount" in family.extras:
        row["discount"] = 0.25
    if overrides := _overrides(family, prices):
        row["overrides"] = overrides
    return row


def _price_factor(variant: str) -> Decimal:
    words = variant.split("-")
    found = [Decimal(_PRICE_FACTORS[word]) for word in words if word in _PRICE_FACTORS]
    return found[0] if found else Decimal(1)


def _cache_prices(family: _Family, prompt: Decimal) -> dict[str, Decimal]:
    prices: dict[str, Decimal] = {}
    if "cache" in family.extras:
        prices["input_cache_read"] = prompt * Decimal(family.extras["cache"])
    if "write" in family.extras:
        prices["input_cache_write"] = prompt * Decimal(family.extras["write"])
        if family.slug.startswith("anthropic/"):
            prices["input_cache_write_1h"] = prompt * 2
    return prices


def _overrides(family: _Family, prices: dict[str, Decimal]) -> list[Row]:
    tokens = {"prompt", "completion", "input_cache_read", "input_cache_write"}
    if "tier" in family.extras:
        doubled = {key: f"{prices[key] * 2:f}" for key in prices if key in tokens}
        return [{"min_prompt_tokens": int(family.extras["tier"]) * 1000, **doubled}]
    if "night" in family.extras:
        halved = {key: f"{prices[key] / 2:f}" for key in prices if key in tokens}
        return [{"utc_start": "2200", "utc_end": "0600", **halved}]
    return []


def _variant_row(row: Row, suffix: str, title: str, factor: Decimal) -> Row:
    slug = f"{row['id']}:{suffix}"
    pricing = {
        key: f"{(Decimal(price) * factor).normalize():f}"
        for key, price in row["pricing"].items()
        if isinstance(price, str)
    }
    if not factor:
        pricing = {"prompt": "0", "completion": "0"}
    return {**row, "id": slug, "name": row["name"] + title, "pricing": pricing}


def _dated(row: Row, day: int) -> Row:
    """Spread the rows over time; a model's variants share its permanent, dated slug."""
    digest = int(hashlib.sha256(row["canonical_slug"].encode()).hexdigest()[:6], 16)
    created = _FIRST_DAY + day * _DAY + digest % _DAY
    slug = row["canonical_slug"]
    if not slug.startswith("openrouter/") and not slug[-2:].isdigit() and digest % 5:
        slug = f"{slug}-2026{1 + digest % 12:02}{1 + digest % 28:02}"
    links = {"details": f"/api/v1/models/{slug}/endpoints"}
    return {**row, "created": created, "canonical_slug": slug, "links": links}


def _alias_row(cells: list[str], rows: dict[str, Row]) -> Row:
    alias, title, target = cells
    row = rows[target]
    return {
        **row,
        "id": alias,
        "canonical_slug": alias,
        "alias_target": {"slug": target, "name": row["name"]},
        "name": title,
        "description": f"Always the newest of its family, now {row['name']}.",
        "architecture": {**row["architecture"], "tokenizer": "Router"},
        "links": {"details": f"/api/v1/models/{alias}/endpoints"},
    }
