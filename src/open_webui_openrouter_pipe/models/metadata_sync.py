"""What a sync would write into Open WebUI's rows of models: decided from values alone.

Under a key of its own a row's `meta` remembers what was written into it. A field that differs
from that is the admin's, and stays; so does one that was filled before the first sync.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2s
from typing import Any

from ..core.json_codec import decode_json, encode_json
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from ..core.metadata_valves import MetadataRules
from ..host.columns import flat_parameters, is_switched_on
from ..host.models import ModelRow
from .companions import Attachment, filters_for
from .family import ModelFamily, from_host_id
from .icons import NO_ICON, icon_of
from .known import KnownModels

MEMORY_KEY = "openrouter_pipe"
GONE_TAG = "no longer at OpenRouter"
"""Marks the row of a vanished model, which Open WebUI's page of models goes on to list."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """An entry of the model list."""

    row_id: str
    family: ModelFamily
    is_in_catalog: bool = True
    """Whether the catalog says what it can do; it does not of a preset or an unlisted id."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The rows to write."""

    inserts: tuple[ModelRow, ...] = ()
    updates: tuple[tuple[ModelRow, ModelRow], ...] = ()
    """Each as it is, and as it is to be."""
    gone: tuple[str, ...] = ()
    """The ids among the updates whose model has vanished."""

    @property
    def size(self) -> int:
        """How many rows would be written."""
        return len(self.inserts) + len(self.updates)

    def with_vanished(self, marked: tuple[tuple[ModelRow, ModelRow], ...]) -> SyncPlan:
        """The plan with the rows of vanished models added."""
        gone = tuple(before.id for before, _ in marked)
        return replace(self, updates=self.updates + marked, gone=gone)


def plan_sync(
    offered: Iterable[OfferedModel],
    stored: Mapping[str, ModelRow],
    past: frozenset[str],
    rules: MetadataRules,
    attachments: Sequence[Attachment] = (),
) -> SyncPlan:
    """Compare the models that are offered with their rows.

    `past` are the ids of all rows there have ever been: a missing one was deleted and stays away.
    """
    inserts: list[ModelRow] = []
    updates: list[tuple[ModelRow, ModelRow]] = []
    for model in offered:
        before = stored.get(model.row_id)
        row = before or ModelRow(model.row_id, model.family.name)
        after = describe_model(row, model, rules, attachments)
        if before is None and model.row_id not in past:
            inserts.append(after)
        elif before is not None and after != before:
            updates.append((before, after))
    return SyncPlan(tuple(inserts), tuple(updates))


def describe_model(
    row: ModelRow,
    model: OfferedModel,
    rules: MetadataRules,
    attachments: Sequence[Attachment] = (),
) -> ModelRow:
    """The row with what the catalog says, and its filters, wherever the admin said nothing else."""
    chosen = flat_parameters(row.params)
    if _is_left_out(row):
        return row
    draft = _RowDraft(row)
    draft.fill("name", model.family.name)
    if rules.images and not is_switched_on(chosen.get("disable_image_updates")):
        icon = icon_of(model.family)
        draft.fill("profile_image_url", rules.icons.get(icon, icon), blanks=NO_ICON)
    if rules.descriptions and not is_switched_on(chosen.get("disable_description_updates")):
        draft.fill("description", model.family.description.strip())
    if rules.capabilities and not is_switched_on(chosen.get("disable_capability_updates")):
        draft.tick(capabilities_of(model.family) if model.is_in_catalog else {})
    draft.tag({maker_of(model.family)} if rules.tags else draft.own_tags - {GONE_TAG})
    offered, on = filters_for(model.family, chosen, attachments)
    draft.list_filters("filterIds", offered)
    draft.list_filters("defaultFilterIds", on)
    return draft.finished()


def mark_vanished(
    stored: Mapping[str, ModelRow], offered: Iterable[OfferedModel], known: KnownModels
) -> tuple[tuple[ModelRow, ModelRow], ...]:
    """The rows of models that the catalog no longer has, as they are and with the mark.

    Only rows that a sync has written count. A catalog that lacks most of them is doubted: the
    account or the address may have changed, or half of an answer been lost.
    """
    entries = {model.row_id for model in offered}
    ours = [row for row in stored.values() if MEMORY_KEY in row.meta and not _is_marked(row)]
    lost = [row for row in ours if row.id not in entries and not _is_listed(row.id, known)]
    if 2 * len(lost) > len(ours):
        return ()
    return tuple((row, _mark_gone(row)) for row in lost if not _is_left_out(row))


def capabilities_of(family: ModelFamily) -> dict[str, bool]:
    """The ticks that the catalog knows better than Open WebUI, which assumes nearly everything."""
    ticks = {"vision": "image" in family.input_modalities}
    if not family.calls_tools:
        ticks["builtin_tools"] = False
    if "image" in family.output_modalities:
        # It is the switch of Open WebUI's own generator, which such a model does not need.
        ticks["image_generation"] = False
    return ticks


def maker_of(family: ModelFamily) -> str:
    """The maker's name, as it stands before the model's."""
    maker, colon, _ = family.name.partition(": ")
    return maker.strip() if colon else family.vendor


def _is_left_out(row: ModelRow) -> bool:
    return is_switched_on(flat_parameters(row.params).get("disable_model_metadata_sync"))


def _is_marked(row: ModelRow) -> bool:
    return GONE_TAG in _RowDraft(row).own_tags


def _is_listed(row_id: str, known: KnownModels) -> bool:
    """Whether the catalog has the model; a variant that has no price of its own is a way to it."""
    model_id = from_host_id(row_id.partition(".")[2])
    if model_id.endswith(":free"):
        return model_id in known.by_id
    return model_id.startswith("@preset/") or known.find(model_id) is not None


def _mark_gone(row: ModelRow) -> ModelRow:
    draft = _RowDraft(row)
    draft.tag(draft.own_tags | {GONE_TAG})
    return draft.finished()


class _RowDraft:
    """A row on its way from what it is to what it is to be."""

    def __init__(self, row: ModelRow) -> None:
        self._row = row
        self._values: JsonObject = {**row.meta, "name": row.name}
        self._memory = _memory_of(row)

    @property
    def own_tags(self) -> set[str]:
        """The tags that a sync has written."""
        return set(_names_listed(self._memory.get("tags")))

    def fill(self, field: str, value: str, blanks: tuple[str, ...] = ("",)) -> None:
        """Write a text, if the one that is there is no admin's."""
        stored = text_of(self._values.get(field))
        remembered = self._memory.get(field)
        is_free = stored in blanks if remembered is None else remembered == _digest(stored)
        if value and (is_free or stored == value):
            self._values[field] = value
            self._memory[field] = _digest(value)

    def tick(self, wanted: Mapping[str, bool]) -> None:
        """Write capabilities; each is the admin's or ours by itself."""
        ticks = dict(as_object(self._values.get("capabilities")))
        remembered = dict(as_object(self._memory.get("capabilities")))
        for name in {**remembered, **wanted}:
            # Where a row says nothing, Open WebUI assumes, and its page then writes: yes.
            untouched = (remembered[name],) if name in remembered else (None, True)
            if ticks.get(name) not in untouched:
                continue
            if name in wanted:
                ticks[name] = remembered[name] = wanted[name]
            else:
                ticks.pop(name, None)
                del remembered[name]
        self._values["capabilities"] = ticks
        self._memory["capabilities"] = remembered

    def tag(self, wanted: set[str]) -> None:
        """Write these tags and take back other ones of ours; what an admin removed stays away."""
        stored = [text_of(tag.get("name")) for tag in objects_in(self._values.get("tags"))]
        names = self._merge("tags", stored, wanted)
        if names != stored:
            self._values["tags"] = [{"name": name} for name in names]

    def list_filters(self, field: str, wanted: Iterable[str]) -> None:
        """Write these ids and take back other ones of ours; what an admin removed stays away."""
        stored = _names_listed(self._values.get(field))
        ids = self._merge(field, stored, set(wanted))
        if ids != stored:
            self._values[field] = ids

    def _merge(self, field: str, stored: list[str], wanted: set[str]) -> list[str]:
        """What is to be listed; what of it is ours is remembered."""
        ours = set(_names_listed(self._memory.get(field)))
        kept = [name for name in stored if name not in ours - wanted]
        if wanted != ours:
            self._memory[field] = sorted(wanted)
        return kept + sorted(wanted - ours - set(stored))

    def finished(self) -> ModelRow:
        """The row as it is to be."""
        meta = {name: value for name, value in self._values.items() if name != "name"}
        if MEMORY_KEY not in meta or self._memory != _memory_of(self._row):
            meta[MEMORY_KEY] = encode_json(self._memory).decode()
        return replace(self._row, name=self._values["name"], meta=meta)


def _memory_of(row: ModelRow) -> JsonObject:
    """What a sync has written into a row, by field.

    It is one text, for Open WebUI puts all of `meta`, value by value, into each list of models.
    """
    with suppress(ValueError):
        return dict(as_object(decode_json(text_of(row.meta.get(MEMORY_KEY)))))
    return {}


def _names_listed(value: Any) -> list[str]:
    return list(map(text_of, value)) if isinstance(value, list) else []


def _digest(text: str) -> str:
    return blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()
