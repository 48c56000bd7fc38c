"""The companion filters: where each works, and how each comes into Open WebUI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from ..core.companion_valves import CompanionRules
from ..core.json_values import JsonObject
from ..core.process import shared_by_process
from ..host.columns import is_switched_on
from ..host.functions import insert_filter, read_filters, update_filter
from ..host.kept_ids import keep_ids, read_kept_ids
from .family import ModelFamily, from_host_id
from .known import KnownModels

SEARCH_OPT_OUTS = ("disable_native_websearch", "disable_native_web_search")
"""A model's custom parameters that keep searching away."""

_KNOWN_FILTERS = "{}.known_filters"


@dataclass(frozen=True, slots=True)
class Companion:
    """One of the filters in `filters/`."""

    source: str
    """The name of its file, and of its rule among the settings."""
    suffix: str
    """Behind the pipe's own id it makes the filter's."""
    works_with: Callable[[ModelFamily], bool]
    opt_outs: tuple[str, ...] = ()
    """A model's custom parameters that keep it away."""
    default_opt_out: str = ""
    """The one that keeps it off in new chats."""


def _writes(family: ModelFamily) -> bool:
    return "text" in family.output_modalities


COMPANIONS = (
    Companion(
        "search_toggle",
        "search",
        _writes,
        ("disable_openrouter_search_auto_attach", *SEARCH_OPT_OUTS),
        "disable_openrouter_search_default_on",
    ),
    Companion(
        "provider_routing",
        "provider_routing",
        lambda family: True,
        ("disable_provider_routing_auto_attach",),
    ),
    Companion("direct_uploads", "direct_uploads", _writes, ("disable_direct_uploads_auto_attach",)),
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A filter that is there, to be offered with the models it works with."""

    filter_id: str
    companion: Companion
    is_default: bool = False


def filters_for(
    family: ModelFamily, parameters: JsonObject, attachments: Iterable[Attachment]
) -> tuple[list[str], list[str]]:
    """The filters to offer with a model, and those of them that are on in a new chat."""
    offered: list[str] = []
    on: list[str] = []
    for attachment in attachments:
        companion = attachment.companion
        if companion.works_with(family) and not _is_any_on(parameters, companion.opt_outs):
            offered.append(attachment.filter_id)
            if attachment.is_default and not _is_any_on(parameters, (companion.default_opt_out,)):
                on.append(attachment.filter_id)
    return offered, on


def share_model_inputs(function_id: str, known: KnownModels) -> None:
    """Let the filters of this process ask what a model takes, by its id in Open WebUI."""

    def inputs_of(host_id: str) -> frozenset[str] | None:
        family = known.find(from_host_id(host_id))
        return family and family.input_modalities

    shared_by_process("model_inputs", dict[str, object])[function_id] = inputs_of


async def install_companions(
    function_id: str, sources: Mapping[str, str], rules: CompanionRules
) -> tuple[Attachment, ...]:
    """Install what is missing, update what nobody has edited; what there is to attach.

    A filter that was there once and is no more has been deleted, and stays away.
    """
    ids = {companion.source: f"{function_id}_{companion.suffix}" for companion in COMPANIONS}
    stored = await read_filters(ids.values())
    if stored is None:
        return ()
    memory = _KNOWN_FILTERS.format(function_id)
    past = await read_kept_ids(memory)
    present = {filter_id for filter_id, found in stored.items() if found.is_ours}
    wanted = {ids[source] for source in ids if rules[source].installs}
    for source, filter_id in ids.items():
        found, text = stored.get(filter_id), sources[source]
        if filter_id not in wanted:
            continue
        if found is None and filter_id not in past and await insert_filter(filter_id, text):
            present.add(filter_id)
        elif found is not None and found.is_unedited and found.text != text:
            await update_filter(found, text)
    if (kept := (past | present) & wanted) != past:
        await keep_ids(memory, kept)
    return tuple(
        Attachment(ids[companion.source], companion, rules[companion.source].is_default)
        for companion in COMPANIONS
        if ids[companion.source] in present and rules[companion.source].attaches
    )


def _is_any_on(parameters: JsonObject, names: Iterable[str]) -> bool:
    return any(is_switched_on(parameters.get(name)) for name in names)
