"""Which filters a model's row offers, and what of that an admin has settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.metadata_valves import MetadataRules
from open_webui_openrouter_pipe.host.models import ModelRow
from open_webui_openrouter_pipe.models.companions import COMPANIONS, Attachment
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.models.metadata_sync import OfferedModel, describe_model

WRITER = ModelFamily("a/one", "One")
PAINTER = replace(WRITER, output_modalities=frozenset({"image"}))
EMPTY = ModelRow("openrouter.a.one", "One")
SEARCH, ROUTING, UPLOADS = (f"openrouter_{companion.suffix}" for companion in COMPANIONS)
ALL = sorted([SEARCH, ROUTING, UPLOADS])
ATTACHED = tuple(Attachment(f"openrouter_{one.suffix}", one) for one in COMPANIONS)
ON = tuple(replace(one, is_default=True) for one in ATTACHED)


def synced(
    row: ModelRow, attached: Sequence[Attachment] = ATTACHED, family: ModelFamily = WRITER
) -> ModelRow:
    return describe_model(row, OfferedModel(row.id, family), MetadataRules(), attached)


def edited(row: ModelRow, **meta: Any) -> ModelRow:
    return replace(row, meta={**row.meta, **meta})


def test_a_filter_is_offered_where_it_works() -> None:
    assert synced(EMPTY).meta["filterIds"] == ALL
    assert synced(EMPTY, family=PAINTER).meta["filterIds"] == [ROUTING]
    assert "defaultFilterIds" not in synced(EMPTY).meta
    assert "filterIds" not in synced(EMPTY, attached=()).meta


def test_on_in_new_chats_is_a_choice_of_its_own_and_can_be_taken_back() -> None:
    on = synced(EMPTY, ON)
    assert on.meta["defaultFilterIds"] == ALL
    off = synced(edited(on, defaultFilterIds=[*on.meta["defaultFilterIds"], "theirs"]))
    assert off.meta["defaultFilterIds"] == ["theirs"]
    assert synced(off, ()).meta["filterIds"] == []


def test_the_admins_own_list_stays() -> None:
    theirs = edited(EMPTY, filterIds=["theirs"])
    assert synced(theirs).meta["filterIds"] == ["theirs", *ALL]
    removed = edited(synced(EMPTY), filterIds=[ROUTING])
    assert synced(synced(removed)).meta["filterIds"] == [ROUTING]


@pytest.mark.parametrize(
    ("parameter", "offered", "on"),
    [
        ("disable_openrouter_search_auto_attach", [UPLOADS, ROUTING], [UPLOADS, ROUTING]),
        ("disable_native_websearch", [UPLOADS, ROUTING], [UPLOADS, ROUTING]),
        ("disable_provider_routing_auto_attach", [UPLOADS, SEARCH], [UPLOADS, SEARCH]),
        ("disable_openrouter_search_default_on", ALL, [UPLOADS, ROUTING]),
        ("disable_direct_uploads_auto_attach", [ROUTING, SEARCH], [ROUTING, SEARCH]),
    ],
)
def test_a_model_can_be_left_out(parameter: str, offered: list[str], on: list[str]) -> None:
    row = replace(EMPTY, params={"custom_params": {parameter: "true"}})
    meta = synced(row, ON).meta
    assert (meta["filterIds"], meta["defaultFilterIds"]) == (offered, on)
