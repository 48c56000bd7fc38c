"""What a sync writes into a model's row, and what it leaves to the admin."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.errors import DownloadFailedError
from open_webui_openrouter_pipe.core.metadata_valves import (
    MetadataRules,
    MetadataValves,
    read_metadata_rules,
)
from open_webui_openrouter_pipe.host.models import ModelRow
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.models.icons import copy_icons
from open_webui_openrouter_pipe.models.known import know_models
from open_webui_openrouter_pipe.models.metadata_sync import (
    GONE_TAG,
    MEMORY_KEY,
    OfferedModel,
    capabilities_of,
    describe_model,
    maker_of,
    mark_vanished,
    plan_sync,
)

ID = "openrouter.openai.gpt"
GPT = ModelFamily(
    "openai/gpt",
    "OpenAI: GPT",
    supported_parameters=frozenset({"tools"}),
    input_modalities=frozenset({"text", "image"}),
    description="Knows much.",
)
BLIND = replace(GPT, input_modalities=frozenset({"text"}), description="Knows more.")
ICONS = "https://openrouter.ai/images/icons/"
ICON = f"{ICONS}OpenAI.svg"
PNG = b"\x89PNG\r\n\x1a\n"
NOBODY = frozenset[str]()


def rules(**valves: Any) -> MetadataRules:
    valves = {"UPDATE_MODEL_DESCRIPTIONS": True, **valves}
    return read_metadata_rules(MetadataValves.model_validate(valves))


def offered(family: ModelFamily = GPT) -> list[OfferedModel]:
    return [OfferedModel(ID, family)]


def new_row(family: ModelFamily = GPT, **valves: Any) -> ModelRow:
    (row,) = plan_sync(offered(family), {}, NOBODY, rules(**valves)).inserts
    return row


def synced(row: ModelRow, family: ModelFamily = GPT, **valves: Any) -> ModelRow:
    """The row after a sync, and after another one, which must change nothing."""
    plan = plan_sync(offered(family), {ID: row}, NOBODY, rules(**valves))
    after = plan.updates[0][1] if plan.updates else row
    assert plan_sync(offered(family), {ID: after}, NOBODY, rules(**valves)).size == 0
    return after


def vanished(rows: dict[str, ModelRow], *catalog: str) -> tuple[tuple[ModelRow, ModelRow], ...]:
    known = know_models(ModelFamily(model_id, "") for model_id in catalog)
    return mark_vanished(rows, [OfferedModel("o.a.named", GPT)], known)


def edited(row: ModelRow, **meta: Any) -> ModelRow:
    return replace(row, meta={**row.meta, **meta})


def test_a_new_model_gets_what_the_catalog_says() -> None:
    row = new_row()
    assert (row.id, row.name) == (ID, "OpenAI: GPT")
    assert row.meta["description"] == "Knows much."
    assert row.meta["profile_image_url"] == ICON
    assert row.meta["capabilities"] == {"vision": True}
    assert row.meta["tags"] == [{"name": "OpenAI"}]
    assert isinstance(row.meta[MEMORY_KEY], str)
    assert synced(row) is row


def test_what_was_written_follows_the_catalog() -> None:
    row = synced(new_row(), replace(BLIND, name="OpenAI: GPT (new)"))
    assert row.name == "OpenAI: GPT (new)"
    assert row.meta["description"] == "Knows more."
    assert row.meta["capabilities"] == {"vision": False}


def test_a_tick_that_the_catalog_no_longer_knows_better_is_taken_back() -> None:
    row = new_row(replace(GPT, supported_parameters=frozenset()))
    assert row.meta["capabilities"]["builtin_tools"] is False
    assert "builtin_tools" not in synced(row).meta["capabilities"]


@pytest.mark.parametrize(
    "edit",
    [
        {"description": "Ours."},
        {"description": ""},
        {"profile_image_url": "data:image/png;base64,AA=="},
        {"tags": []},
        {"tags": [{"name": "team"}]},
    ],
)
def test_an_edited_field_is_the_admins_for_good(edit: dict[str, Any]) -> None:
    row = edited(new_row(), **edit)
    for family in (BLIND, GPT, BLIND):
        row = synced(row, family)
        assert {name: row.meta[name] for name in edit} == edit


@pytest.mark.parametrize("memory", [None, "{", "[]", {"name": 1}, '{"capabilities":{"a":null}}'])
def test_without_a_memory_every_filled_field_is_the_admins(memory: Any) -> None:
    row = edited(new_row(), openrouter_pipe=memory)
    assert synced(row, BLIND).meta["description"] == "Knows much."


def test_an_edited_name_is_the_admins() -> None:
    row = synced(replace(new_row(), name="House model"), BLIND)
    assert (row.name, row.meta["description"]) == ("House model", "Knows more.")


def test_each_tick_is_the_admins_or_ours_by_itself() -> None:
    saved = {"vision": True, "usage": False, "web_search": False, "memory": True}
    row = synced(edited(new_row(), capabilities=saved), BLIND)
    assert row.meta["capabilities"] == {**saved, "vision": False}


def test_a_row_made_by_the_admin_is_filled_where_it_is_empty() -> None:
    meta = {
        "description": "Ours.",
        "profile_image_url": "/static/favicon.png",
        "capabilities": {"vision": True, "usage": True, "web_search": False},
        "tags": [{"name": "team"}],
        "hidden": True,
    }
    row = synced(ModelRow(ID, "House model", meta, {"temperature": 0.1}, is_active=False), BLIND)
    assert (row.name, row.params, row.is_active) == ("House model", {"temperature": 0.1}, False)
    assert row.meta["description"] == "Ours."
    assert row.meta["profile_image_url"] == ICON
    assert row.meta["capabilities"] == {"vision": False, "usage": True, "web_search": False}
    assert row.meta["tags"] == [{"name": "team"}, {"name": "OpenAI"}]
    assert row.meta["hidden"] is True


async def test_copies_of_icons_take_the_place_of_their_addresses_and_give_it_back() -> None:
    async def fetch(address: str) -> bytes:
        return PNG

    copies: dict[str, str] = {}
    await copy_icons(fetch, copies)
    kept = replace(rules(), icons=copies)
    qwen = replace(GPT, id="qwen/q")

    def copied(row: ModelRow, family: ModelFamily) -> ModelRow:
        return describe_model(row, OfferedModel(ID, family), kept)

    row = new_row(qwen)
    copy = copied(row, qwen)
    assert row.meta["profile_image_url"] == f"{ICONS}Qwen.png"
    assert copy.meta["profile_image_url"] == f"data:image/png;base64,{b64encode(PNG).decode()}"
    assert synced(copy, qwen).meta["profile_image_url"] == f"{ICONS}Qwen.png"
    drawn = copied(new_row(), GPT)  # Open WebUI takes no copy of a drawing
    assert drawn.meta["profile_image_url"] == "/static/favicon.png"
    assert synced(drawn).meta["profile_image_url"] == ICON
    theirs = edited(row, profile_image_url="https://a.example/own.png")
    assert copied(theirs, qwen).meta == theirs.meta


@pytest.mark.parametrize(
    ("content", "head"),
    [
        (PNG, "data:image/png;base64,"),
        (b"\xff\xd8\xff\xe0", "data:image/jpeg;base64,"),
        (b"RIFF....WEBPVP8 ", "data:image/webp;base64,"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", ""),
        (b"<html>", ""),
        (None, ""),
    ],
)
async def test_what_is_no_small_picture_leaves_the_row_as_it_is(
    content: bytes | None, head: str
) -> None:
    asked: list[str] = []

    async def fetch(address: str) -> bytes:
        asked.append(address)
        if content is None:
            raise DownloadFailedError("no such file")
        return content

    copies: dict[str, str] = {}
    for _ in range(2):
        await copy_icons(fetch, copies)

    pictures = sum(address.endswith(".png") for address in copies)
    assert copies[f"{ICONS}Qwen.png"][: len(head) or None] == head
    # A picture that has come is not fetched again.
    assert len(asked) == pictures * (1 if head else 2)
    row = describe_model(
        ModelRow(ID, "Q"),
        OfferedModel(ID, replace(GPT, id="qwen/q")),
        replace(rules(), icons=copies),
    )
    assert ("profile_image_url" in row.meta) is bool(head)


def test_a_deleted_row_stays_away() -> None:
    assert plan_sync(offered(), {}, frozenset({ID}), rules()).size == 0


@pytest.mark.parametrize(
    ("valve", "parameter", "field"),
    [
        ("UPDATE_MODEL_DESCRIPTIONS", "disable_description_updates", "description"),
        ("UPDATE_MODEL_IMAGES", "disable_image_updates", "profile_image_url"),
        ("UPDATE_MODEL_CAPABILITIES", "disable_capability_updates", "capabilities"),
        ("UPDATE_MODEL_TAGS", "", "tags"),
    ],
)
def test_each_field_can_be_left_out(valve: str, parameter: str, field: str) -> None:
    assert field not in new_row(**{valve: False}).meta
    if parameter:
        row = ModelRow(ID, GPT.name, params={"custom_params": {parameter: "true"}})
        assert field not in synced(row).meta


def test_a_model_can_be_left_out_as_a_whole() -> None:
    row = ModelRow(ID, "x", params={"custom_params": {"disable_model_metadata_sync": True}})
    assert synced(row) is row
    ours = {**new_row().meta, "tags": []}
    assert vanished({ID: replace(row, meta=ours), "o.a.b": replace(row, meta=ours)}, "a/b") == ()


def test_the_row_of_a_vanished_model_is_marked_and_of_one_that_returns_cleared() -> None:
    kept = replace(new_row(), id="openrouter.a.kept")
    rows = {
        ID: new_row(),
        kept.id: kept,
        "openrouter.b.theirs": ModelRow("openrouter.b.theirs", ""),
    }
    ((before, after),) = vanished(rows, "a/kept")
    assert (before.id, after.meta["tags"]) == (ID, [{"name": "OpenAI"}, {"name": GONE_TAG}])
    assert vanished({**rows, ID: after}, "a/kept") == ()
    assert synced(after).meta["tags"] == [{"name": "OpenAI"}]
    assert synced(after, UPDATE_MODEL_TAGS=False).meta["tags"] == [{"name": "OpenAI"}]


def test_a_catalog_that_lacks_most_models_is_doubted() -> None:
    rows = {name: replace(new_row(), id=name) for name in ("o.a.one", "o.a.two", "o.a.three")}
    assert vanished(rows, "a/one") == ()
    assert len(vanished(rows, "a/one", "a/two")) == 1


def test_rows_marked_long_ago_do_not_keep_others_from_being_marked() -> None:
    rows = {name: replace(new_row(), id=name) for name in ("o.a.one", "o.a.two", "o.a.three")}
    for left in (("a/one", "a/two"), ("a/one",)):
        ((before, after),) = vanished(rows, *left)
        rows[before.id] = after


def test_a_way_to_a_model_is_not_gone_while_the_model_is_there() -> None:
    names = ("o.a.one", "o.a.one:nitro", "o.@preset.mine", "o.a.one:free", "o.a.named")
    rows = {name: replace(new_row(), id=name) for name in names}
    assert [before.id for before, _ in vanished(rows, "a/one")] == ["o.a.one:free"]


def test_capabilities_say_what_open_webui_would_get_wrong() -> None:
    draws = ModelFamily("a/b", "B", output_modalities=frozenset({"text", "image"}))
    assert capabilities_of(draws) == {
        "vision": False,
        "builtin_tools": False,
        "image_generation": False,
    }


def test_what_the_catalog_does_not_list_gets_no_capabilities() -> None:
    (row,) = plan_sync([OfferedModel(ID, GPT, False)], {}, NOBODY, rules()).inserts
    assert row.meta.get("capabilities", {}) == {}


def test_the_maker_stands_before_the_models_name() -> None:
    assert maker_of(GPT) == "OpenAI"
    assert maker_of(ModelFamily("~x-ai/grok-latest", "Grok")) == "x-ai"
