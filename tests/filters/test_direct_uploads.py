"""Direct Uploads: which files leave Open WebUI's retrieval for the model, and why others stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.hand_over import HandOver, read_hand_over
from open_webui_openrouter_pipe.models.companions import share_model_inputs
from open_webui_openrouter_pipe.models.family import ModelFamily
from open_webui_openrouter_pipe.models.known import NOTHING_KNOWN, know_models
from tests.filters.filter_calls import load_filter
from tests.host_parts import StoredRow, stored_files

PutInHost = Callable[..., None]

MEGABYTE = 1024 * 1024
OLD, NOTES, LARGE = "old", "notes", "large"
SOUND, FILM, SHEET, ODD = "sound", "film", "sheet", "odd"
STORED = (
    StoredRow(OLD, meta={"content_type": "application/pdf", "size": 3 * MEGABYTE}),
    StoredRow(LARGE, meta={"content_type": "application/pdf", "size": 9 * MEGABYTE}),
    StoredRow(NOTES, meta={"content_type": "text/plain; charset=utf-8", "size": MEGABYTE}),
    StoredRow(SOUND, meta={"content_type": "audio/mpeg", "size": MEGABYTE}),
    StoredRow(FILM, meta={"content_type": "video/mp4", "size": MEGABYTE}),
    StoredRow(SHEET, meta={"content_type": "", "name": "a.xls", "size": 1}),
    StoredRow(ODD, meta={"content_type": "application/octet-stream", "name": "a.csv"}),
)


@pytest.fixture(autouse=True)
def host(put_in_host: PutInHost) -> None:
    put_in_host(**stored_files(*STORED))
    share_model_inputs("openrouter", NOTHING_KNOWN)


async def send(
    *ids: str, admin: Any = None, own: Any = None, model: str = "openrouter.a.one"
) -> tuple[list[Any], HandOver]:
    """What is left to Open WebUI of a request with these files, and what the pipe is told."""
    loaded = load_filter("direct_uploads", **(admin or {}))
    listed: list[Any] = [{"type": "file", "id": file_id, "name": file_id} for file_id in ids]
    body: dict[str, Any] = {"files": listed}
    metadata: dict[str, Any] = {"openrouter_pipe": {"search": {}}}  # of another filter
    valves = loaded.UserValves(**(own or {}))
    answer = await loaded.inlet(
        body=body,
        __metadata__=metadata,
        __model__={"id": "assistant", "info": {"base_model_id": model}} if own else {"id": model},
        __user__={"id": "u", "valves": valves},
        __id__="openrouter_direct_uploads",
    )
    assert read_hand_over(metadata).search == {}
    assert listed == [{"type": "file", "id": file_id, "name": file_id} for file_id in ids]
    return [file["id"] for file in answer["files"]], read_hand_over(metadata)


def ids_of(handed: HandOver) -> list[str]:
    return [file["id"] for file in handed.uploads]


async def test_documents_sound_and_films_go_to_the_model() -> None:
    left, handed = await send(OLD, NOTES, OLD, SOUND, FILM, ODD)
    assert (left, handed.kept_uploads) == ([], {})
    assert ids_of(handed) == [OLD, NOTES, SOUND, FILM, ODD]
    assert handed.uploads[0] == {"id": OLD, "name": OLD}


async def test_what_the_admin_does_not_let_out_stays_and_the_reason_is_told() -> None:
    small = {"DIRECT_FILE_MAX_UPLOAD_SIZE_MB": "4", "DIRECT_AUDIO_MIME_ALLOWLIST": "audio/wav"}
    left, handed = await send(NOTES, LARGE, SOUND, SHEET, admin=small)
    assert (left, ids_of(handed)) == ([LARGE, SOUND, SHEET], [NOTES])
    assert handed.kept_uploads == {
        LARGE: "it is larger than 4 MB",
        SOUND: "files of type audio/mpeg do not go out",
        SHEET: "files of type application/vnd.ms-excel do not go out",
    }


async def test_of_too_many_the_newest_go_out() -> None:
    left, handed = await send(OLD, NOTES, LARGE, admin={"DIRECT_TOTAL_PAYLOAD_MAX_MB": 10})
    assert (left, ids_of(handed)) == ([OLD], [NOTES, LARGE])
    assert handed.kept_uploads == {OLD: "with the others it is larger than 10 MB"}
    left, handed = await send(OLD, NOTES, LARGE, admin={"DIRECT_MAX_FILES": 1})
    assert (left, ids_of(handed)) == ([OLD, NOTES], [LARGE])
    assert handed.kept_uploads[NOTES] == "only the 1 newest files go out"


async def test_a_user_chooses_kinds_and_is_told_nothing_of_what_they_did_not_choose() -> None:
    left, handed = await send(OLD, SOUND, FILM, own={"DIRECT_FILES": False, "DIRECT_VIDEO": False})
    assert (left, ids_of(handed), handed.kept_uploads) == ([OLD, FILM], [SOUND], {})


async def test_a_model_gets_the_kinds_that_it_takes() -> None:
    listens = ModelFamily("a/one", "One", input_modalities=frozenset({"text", "audio"}))
    share_model_inputs("openrouter", know_models([listens, ModelFamily("a/two", "Two")]))
    left, handed = await send(NOTES, SOUND, FILM)
    assert (left, ids_of(handed)) == ([FILM], [NOTES, SOUND])
    assert handed.kept_uploads == {FILM: "this model takes no video"}
    _, handed = await send(NOTES, SOUND, model="openrouter.a.two:nitro")
    assert (ids_of(handed), handed.kept_uploads) == ([NOTES], {SOUND: "this model takes no sound"})
    _, handed = await send(SOUND, model="openrouter.a.unknown")
    assert ids_of(handed) == [SOUND]


async def test_what_is_no_file_of_open_webui_is_not_touched(put_in_host: PutInHost) -> None:
    assert await send("deleted") == (["deleted"], HandOver(search={}))
    assert await send(NOTES, model="llama3") == ([NOTES], HandOver(search={}))
    loaded = load_filter("direct_uploads")
    others = [{"type": "collection", "id": NOTES}, {"type": "file", "url": "x"}, "?"]
    for body in ({"files": others}, {"files": None}, {}):
        asked = {"__model__": {"id": "openrouter.a.one"}, "__id__": "openrouter_direct_uploads"}
        assert await loaded.inlet(dict(body), {}, **asked) == body
    put_in_host(models__files={})
    assert await send(NOTES) == ([NOTES], HandOver(search={}))


async def test_the_knowledge_of_a_model_stays_with_open_webui() -> None:
    known, own = ({"type": "file", "id": file_id, "name": file_id} for file_id in (FILM, NOTES))
    model = {"id": "openrouter.a.one", "info": {"meta": {"knowledge": [known, {}]}}}
    metadata: dict[str, Any] = {}
    body = await load_filter("direct_uploads").inlet(
        {"files": [own, known]}, metadata, model, __id__="openrouter_direct_uploads"
    )
    assert body["files"] == [known]
    assert ids_of(read_hand_over(metadata)) == [NOTES]


async def test_values_that_cannot_be_read_end_no_chat() -> None:
    broken = {
        "priority": "first",
        "DIRECT_MAX_FILES": "many",
        "DIRECT_TOTAL_PAYLOAD_MAX_MB": None,
        "DIRECT_VIDEO_MIME_ALLOWLIST": 7,
    }
    left, handed = await send(NOTES, FILM, admin=broken, own={"DIRECT_FILES": "perhaps"})
    assert (left, ids_of(handed)) == ([FILM], [NOTES])
    assert handed.kept_uploads == {FILM: "files of type video/mp4 do not go out"}
