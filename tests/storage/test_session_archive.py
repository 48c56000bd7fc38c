"""Session archives: sealed, private, whole or not there, read only with the right passphrase."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.config import SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.context import RequestContext
from open_webui_openrouter_pipe.core.errors import SealedPayloadError
from open_webui_openrouter_pipe.core.logging_system import LOG
from open_webui_openrouter_pipe.storage.archive_file import (
    archive_path,
    read_archive,
    write_archive,
)
from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec
from open_webui_openrouter_pipe.storage.session_archive import SessionArchive
from open_webui_openrouter_pipe.storage.unlock import run_command_line

PASSPHRASE = "a long passphrase"
CODEC = PayloadCodec(PASSPHRASE)
LINES = [
    b'{"kind":"session","time":1700000000,"seconds":1.5,"outcome":"finished","model":"a/one",'
    b'"user_id":"u","chat_id":"c","message_id":"m","request_id":"r","records":2,"dropped":0}',
    b'{"time":1700000000.25,"kind":"request","path":"/responses","body":{"input":"Hello"}}',
    '{"time":1700000001,"kind":"item","item":"MessageItem","text":"Grüße \\u001b[2J"}'.encode(),
]


def call(folder: Path, *, user: str = "user-1", chat: str = "chat-1", **valves: Any) -> Any:
    chosen = {
        "API_KEY": "a-key-of-a-gateway",
        "SESSION_LOG_STORE_ENABLED": True,
        "SESSION_LOG_PASSPHRASE": PASSPHRASE,
        "SESSION_LOG_DIR": str(folder),
        **valves,
    }
    return RequestContext(
        request_id=f"request-{time.monotonic_ns()}",
        function_id="openrouter",
        settings=take_snapshot(SystemValves.model_validate(chosen)),
        model="a/one",
        user_id=user,
        chat_id=chat,
        message_id="message-1",
    )


@pytest.fixture
async def archive() -> AsyncGenerator[SessionArchive]:
    archive = SessionArchive()
    yield archive
    await archive.close()


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(LOG, "handlers", [caplog.handler])
    monkeypatch.setattr(LOG, "propagate", False)
    caplog.set_level("INFO", LOG.name)
    return lambda: [record.getMessage() for record in caplog.records]


def answer(archive: SessionArchive, context: RequestContext, **fields: Any) -> None:
    with archive.session(context) as (recorded, _):
        if recorded.records is not None:
            recorded.records.add("note", **fields)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_an_archive_is_private_and_holds_the_session_and_its_records(
    archive: SessionArchive, tmp_path: Path
) -> None:
    root, before = tmp_path / "logs", os.umask(0)
    try:
        context = call(root)
        answer(archive, context, text="my key is a-key-of-a-gateway", password="x", number=1)
        await archive.close()
    finally:
        os.umask(before)
    [path] = files(root)
    assert path.parent == root / "user-1" / "chat-1"
    assert path.name == f"message-1.{context.request_id}.orlog"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (root, root / "user-1", root / "user-1" / "chat-1"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    session, note = read_archive(path, CODEC)
    assert (session["outcome"], session["records"], session["dropped"]) == ("stopped", 1, 0)
    assert {key: note[key] for key in ("kind", "text", "password", "number")} == {
        "kind": "note",
        "text": "my key is [redacted]",
        "password": "[redacted]",
        "number": 1,
    }
    assert b"user-1" not in path.read_bytes()


@pytest.mark.parametrize(
    "hostile",
    ["../../etc", "/etc/passwd", "..", ".", "a/b", "a\\b", "a\0b", "ü" * 300, "", "x" * 65],
)
def test_no_id_leads_out_of_the_folder_or_to_another_id(tmp_path: Path, hostile: str) -> None:
    path = archive_path(tmp_path, (hostile, hostile), (hostile, "r"))
    write_archive(tmp_path, path, LINES, CODEC)
    [written] = files(tmp_path)
    assert written.resolve().relative_to(tmp_path.resolve()).parts[2:] == (path.name,)
    assert path != archive_path(tmp_path, (f"{hostile}_", hostile), (hostile, "r"))


@pytest.mark.parametrize(
    ("change", "is_off"),
    [
        ({"SESSION_LOG_STORE_ENABLED": True}, False),
        ({"chat": ""}, True),
        ({"chat": "temporary:1"}, True),
        ({"chat": "channel:1"}, True),
        ({"user": ""}, True),
        ({"SESSION_LOG_PASSPHRASE": ""}, True),
    ],
)
async def test_only_answers_of_saved_chats_are_recorded_and_only_with_a_passphrase(
    archive: SessionArchive, tmp_path: Path, change: dict[str, Any], is_off: bool
) -> None:
    context = call(tmp_path, **change)
    with archive.session(context) as (recorded, _):
        assert (recorded.records is None) == is_off
    await archive.close()
    assert (files(tmp_path) == []) == is_off


async def test_what_there_is_no_room_for_is_counted(
    archive: SessionArchive, tmp_path: Path
) -> None:
    with archive.session(call(tmp_path, SESSION_LOG_MAX_LINES=100)) as (context, _):
        records = context.records
        assert records is not None
        records.add("note", text="x " * 5_000_000)
        records.add("note", odd=object())
        for _ in range(110):
            records.add("note", text="short")
    records.add("note", text="after the end")
    await archive.close()
    [path] = files(tmp_path)
    session, *notes = read_archive(path, CODEC)
    assert (len(notes), session["records"], session["dropped"]) == (100, 100, 12)


@given(st.data())
def test_a_changed_or_truncated_archive_is_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("tampered") / "a.orlog"
    write_archive(path.parent, path, LINES, CODEC)
    whole = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        whole[bit // 8] ^= 1 << bit % 8
    else:
        del whole[data.draw(st.integers(0, len(whole) - 1)) :]
    path.write_bytes(whole)
    with pytest.raises(SealedPayloadError, match=r"^It (is|was|has|holds) "):
        read_archive(path, CODEC)


def test_another_passphrase_and_a_payload_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.orlog"
    write_archive(tmp_path, path, LINES, CODEC)
    with pytest.raises(SealedPayloadError, match="a key that is not known"):
        read_archive(path, PayloadCodec("another"))
    first = path.read_bytes()[:8]
    path.write_bytes(first + CODEC.seal(b"{}", ("openrouter", "user", "chat", "row")))
    with pytest.raises(SealedPayloadError, match="not as it was sealed"):
        read_archive(path, CODEC)


async def test_a_folder_that_cannot_be_written_is_reported_once_and_again_when_it_can(
    archive: SessionArchive, tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    root = tmp_path / "logs"
    root.write_text("no folder")
    for _ in range(3):
        answer(archive, call(root), text="lost")
    await archive.close()
    [warning] = warnings()
    assert "are not archived until this is over" in warning and str(root) in warning
    root.unlink()
    answer(archive, call(root), text="kept")
    await archive.close()
    assert warnings()[1:] == ["archives: they are written again; 3 were lost"]
    assert len(files(root)) == 1


async def test_a_full_disk_leaves_nothing_half_written(
    archive: SessionArchive,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    warnings: Callable[[], list[str]],
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        for _ in range(2):
            answer(archive, call(tmp_path), text="lost")
        await archive.close()
    assert files(tmp_path) == []
    [warning] = warnings()
    assert warning.endswith(f"{tmp_path}: No space left on device")


async def test_more_than_can_wait_is_dropped_rather_than_waited_for(
    tmp_path: Path, warnings: Callable[[], list[str]]
) -> None:
    archive = SessionArchive(most_waiting=1_000)
    for _ in range(5):  # the loop gets no turn, so nothing is written meanwhile
        answer(archive, call(tmp_path), text="x " * 200)
    await archive.close()
    assert len(files(tmp_path)) == 2
    assert warnings() == [
        "archives: answers are not archived until this is over: "
        "they cannot be written as fast as answers end",
        "archives: they are written again; 3 were lost",
    ]


async def test_a_server_that_stops_still_writes_what_waits(tmp_path: Path) -> None:
    archive, before = SessionArchive(), asyncio.all_tasks()
    for _ in range(3):
        answer(archive, call(tmp_path), text="waits")
    await asyncio.sleep(0)
    for task in (tasks := asyncio.all_tasks() - before):
        task.cancel()
    await asyncio.wait(tasks)
    # What was under way is written once more, beside the thread that cannot be stopped.
    assert len({path for path in files(tmp_path) if path.suffix == ".orlog"}) == 3


async def test_the_clean_up_deletes_old_archives_and_nothing_else(
    archive: SessionArchive, tmp_path: Path
) -> None:
    root, other = tmp_path / "logs", tmp_path / "other"
    context = call(root, SESSION_LOG_RETENTION_DAYS=2)
    for chat in ("old", "mixed", "mixed"):
        answer(archive, call(root, chat=chat, SESSION_LOG_RETENTION_DAYS=2))
    other.mkdir()
    for path in (root / "readme.txt", root / "user-1" / "mixed" / "notes.txt", other / "x.orlog"):
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        path.write_text("not ours")
    (root / "user-1" / "link").symlink_to(other)
    (foreign := root / "uploads" / "empty").mkdir(parents=True)
    answer(archive, context)
    await archive.close()
    (root / "user-1" / "mixed" / ".killed.part").write_text("half")
    newest = files(root / "user-1" / "chat-1")
    for path in {*files(tmp_path)} - {*newest}:
        os.utime(path, (0, time.time() - 3 * 24 * 3_600))
    await archive.sweep()
    await archive.sweep()
    assert files(tmp_path) == sorted(
        [*newest, root / "readme.txt", root / "user-1" / "mixed" / "notes.txt", other / "x.orlog"]
    )
    assert not (root / "user-1" / "old").exists()
    assert foreign.exists()


def test_what_anybody_may_have_written_is_no_archive(tmp_path: Path) -> None:
    path = tmp_path / "u" / "c" / "m.r.orlog"
    write_archive(tmp_path, path, LINES, PayloadCodec())
    with pytest.raises(SealedPayloadError, match="not encrypted"):
        read_archive(path, CODEC)


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SESSION_LOG_PASSPHRASE", PASSPHRASE)
    write_archive(tmp_path, tmp_path / "u" / "c" / "m.r.orlog", LINES, CODEC)
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[str], str]:
    status = run_command_line(["unlock", *map(str, arguments)])
    told = capsys.readouterr()
    return status, told.out.splitlines(), told.err


def test_unlock_lists_prints_and_filters(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, [headline], _ = shown(capsys, "--list", sealed)
    assert status == 0 and headline.endswith("finished  a/one  u  c  m  r  1.5 s, 2 records")
    _, lines, _ = shown(capsys, sealed / "u" / "c" / "m.r.orlog")
    assert [line[14:].split()[0] for line in lines if line[:1].isdigit()][1:] == ["request", "item"]
    assert '"text": "Grüße \\u001b[2J"' in lines[3]
    _, lines, _ = shown(capsys, "--json", "--kind", "request", sealed)
    assert [json.loads(line)["kind"] for line in lines] == ["session", "request"]
    assert json.loads(lines[1]) == json.loads(LINES[1])
    _, lines, _ = shown(capsys, "--json", "--grep", "grüße", sealed)
    assert [json.loads(line)["kind"] for line in lines] == ["session", "item"]
    assert shown(capsys, "--grep", "nowhere", sealed) == (0, [], "")
    assert shown(capsys, "--outcome", "failed", sealed) == (0, [], "")


def test_unlock_says_which_archive_it_cannot_read_and_goes_on(
    sealed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sealed / "u" / "c" / "m.r.orlog"
    (sealed / "cut.orlog").write_bytes(whole.read_bytes()[:20])
    status, lines, complaints = shown(
        capsys, "--list", sealed / "none.orlog", sealed / "cut.orlog", whole
    )
    assert (status, len(lines)) == (1, 1)
    assert complaints.splitlines() == [
        f"{sealed}/none.orlog: No such file or directory",
        f"{sealed}/cut.orlog: It is cut short.",
    ]
    monkeypatch.setenv("SESSION_LOG_PASSPHRASE", "another")
    assert shown(capsys, whole) == (
        1,
        [],
        f"{whole}: It was sealed with a key that is not known here.\n",
    )


def test_unlock_asks_for_the_passphrase(
    sealed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SESSION_LOG_PASSPHRASE")
    monkeypatch.setattr("getpass.getpass", lambda prompt: PASSPHRASE)
    assert shown(capsys, "--list", sealed)[0] == 0
    monkeypatch.setattr("getpass.getpass", lambda prompt: "")
    status, _, complaint = shown(capsys, "--list", sealed)
    assert status == 2 and "SESSION_LOG_PASSPHRASE" in complaint
