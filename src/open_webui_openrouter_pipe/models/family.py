"""A model as the pipe knows it, and its id both ways without loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, cast

from ..core.json_values import as_object, number_of, text_of, whole_of
from .pricing import Pricing, read_pricing


@dataclass(frozen=True, slots=True)
class ReasoningAbility:
    """How a model thinks, as its catalog row says (`reasoning`)."""

    mandatory: bool = False
    efforts: tuple[str, ...] | None = None
    """The efforts it accepts; `None` means all, an empty tuple that there is no choice."""


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """One row of the catalog: a base model or one of its own-priced variants."""

    id: str
    """OpenRouter's id: `author/slug`, perhaps with a `:variant`."""
    name: str
    supported_parameters: frozenset[str] = frozenset()
    """What its endpoints take, under chat completions' names."""
    input_modalities: frozenset[str] = frozenset({"text"})
    output_modalities: frozenset[str] = frozenset({"text"})
    reasoning: ReasoningAbility | None = None
    """`None` for a model that does not reason."""
    context_length: int | None = None
    """How many tokens it can hold, question and answer together."""
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    pricing: Pricing = field(default_factory=lambda: read_pricing(None))
    canonical_slug: str = ""
    """Its permanent, dated name; an answer may name the model so."""
    alias_target: str = ""
    """The id of the model that a floating alias (`~author/family-latest`) stands for now."""
    created: float = 0.0
    """Seconds since 1970."""
    expires_on: date | None = None
    """The last day on which it is served."""
    description: str = ""
    studio: str = ""
    """The endpoint that it is asked at, where chats' endpoints do not know it."""

    @property
    def vendor(self) -> str:
        """Whose model it is: the author in its id."""
        return self.id.lstrip("~").partition("/")[0]

    @property
    def calls_tools(self) -> bool:
        """Whether it can call tools."""
        return not self.supported_parameters.isdisjoint(("tools", "tool_choice"))

    @property
    def answers_chats(self) -> bool:
        """Whether it writes, draws or films, and not in batches only."""
        answers = {"text", "image", self.studio and "video"}
        return not self.is_batch and not self.output_modalities.isdisjoint(answers)

    @property
    def is_batch(self) -> bool:
        """Whether it answers batch jobs only, never a chat."""
        return self.id.endswith(":batch")


def takes_tools(family: ModelFamily | None) -> bool:
    """Whether the model may be offered tools; one the catalog says nothing about may."""
    if family is None:
        return True
    if "text" not in family.output_modalities:
        return False
    return not family.supported_parameters or "tools" in family.supported_parameters


def read_family(row: Mapping[str, Any]) -> ModelFamily | None:
    """Read a catalog row (schema `Model`); `None` for one without an id."""
    model_id = row.get("id")
    if not isinstance(model_id, str) or not model_id:
        return None
    architecture = as_object(row.get("architecture"))
    parameters = _words_of(row.get("supported_parameters"))
    limits, provider = as_object(row.get("per_request_limits")), as_object(row.get("top_provider"))
    target = as_object(row.get("alias_target"))
    return ModelFamily(
        id=model_id,
        name=_name_of(row, model_id, text_of(target.get("name")) or text_of(target.get("slug"))),
        supported_parameters=parameters,
        input_modalities=_words_of(architecture.get("input_modalities")) or frozenset({"text"}),
        output_modalities=_words_of(architecture.get("output_modalities")) or frozenset({"text"}),
        reasoning=_read_reasoning_ability(row.get("reasoning"), parameters),
        context_length=whole_of(row.get("context_length")) or None,
        max_prompt_tokens=whole_of(limits.get("prompt_tokens")) or None,
        max_completion_tokens=whole_of(provider.get("max_completion_tokens")) or None,
        pricing=read_pricing(row.get("pricing")),
        canonical_slug=text_of(row.get("canonical_slug")),
        alias_target=text_of(target.get("slug")),
        created=float(number_of(row.get("created")) or 0.0),
        expires_on=_day_of(row.get("expiration_date")),
        description=text_of(row.get("description")),
        studio=text_of(row.get("studio")),
    )


def _name_of(row: Mapping[str, Any], model_id: str, target: str) -> str:
    """Its name; that of an alias says what it stands for."""
    name = text_of(row.get("name")) or model_id
    return f"{name} \N{RIGHTWARDS ARROW} {target}" if target else name


def _day_of(value: Any) -> date | None:
    try:
        return date.fromisoformat(text_of(value)[:10])
    except ValueError:
        return None


def _read_reasoning_ability(value: Any, parameters: frozenset[str]) -> ReasoningAbility | None:
    row = as_object(value)
    if not row and "reasoning" not in parameters:
        return None
    efforts = row.get("supported_efforts", [] if row else None)
    named = cast("list[Any]", efforts) if isinstance(efforts, list) else None
    return ReasoningAbility(
        mandatory=bool(row.get("mandatory")),
        efforts=None if named is None else tuple(map(text_of, named)),
    )


def _words_of(value: Any) -> frozenset[str]:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return frozenset(entry for entry in entries if isinstance(entry, str))


def to_host_id(model_id: str) -> str:
    """Write `author/slug` as `author.slug`, the form Open WebUI's model ids have.

    An id that is not of that form keeps its text behind a leading slash, so that no two ids
    become one and every id comes back as it was.
    """
    author, slash, slug = model_id.partition("/")
    if slash and author and "." not in author:
        return f"{author}.{slug}"
    return f"/{model_id}" if slash or "." in model_id else model_id


def from_host_id(host_id: str) -> str:
    """Read an id that `to_host_id` wrote; OpenRouter's own form is taken as it is."""
    if host_id.startswith("/"):
        return host_id[1:]
    author, dot, slug = host_id.partition(".")
    return f"{author}/{slug}" if dot and "/" not in author else host_id
