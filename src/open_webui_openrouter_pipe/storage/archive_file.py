"""One session archive: a file that is whole or not there, sealed, and for its owner's eyes only.

The format stands in docs/storage.md. All of it may take a while: it belongs in a thread.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.errors import SealedPayloadError
from ..core.ids import api_tool_name
from .payload_codec import PayloadCodec

ARCHIVE_SUFFIX = ".orlog"
_UNFINISHED_SUFFIX = ".part"
_FIRST_ARCHIVE_BYTES = b"ORLOG\x01\r\n"
_ARCHIVE_IDENTITY = ("session archive",)
_PRIVATE_FOLDER = 0o700
_UNFINISHED_SECONDS = 24 * 3_600.0


def archive_path(root: Path, folders: Sequence[str], name: Sequence[str]) -> Path:
    """Where an archive stands; ids that could lead elsewhere are written as ones that cannot."""
    safe = [api_tool_name(folder) for folder in folders]
    return root.joinpath(*safe, ".".join(api_tool_name(part) for part in name) + ARCHIVE_SUFFIX)


def write_archive(root: Path, path: Path, lines: Sequence[bytes], codec: PayloadCodec) -> None:
    """Seal the lines into the file; raises `OSError`, and then leaves nothing behind."""
    sealed = _FIRST_ARCHIVE_BYTES + codec.seal(b"\n".join(lines), _ARCHIVE_IDENTITY)
    try:
        _write_whole(root, path, sealed)
    except FileNotFoundError:  # the clean-up of another worker took the empty folder away
        _write_whole(root, path, sealed)


def read_archive(path: Path, codec: PayloadCodec) -> list[dict[str, Any]]:
    """The records, the one about the whole session first.

    Raises `OSError`, and `SealedPayloadError` for everything but exactly what was written.
    """
    sealed = path.read_bytes()
    first = len(_FIRST_ARCHIVE_BYTES)
    if sealed[:first] != _FIRST_ARCHIVE_BYTES:
        raise SealedPayloadError("It is not a session archive, or its beginning is damaged.")
    content = codec.open(sealed[first:], _ARCHIVE_IDENTITY)
    return [json.loads(line) for line in content.splitlines()]


def delete_old_archives(root: Path, now: float, seconds: float) -> int:
    """Delete the archives older than so many seconds, and give how many there were."""
    for path in [*_own_files(root, _UNFINISHED_SUFFIX)]:  # left by a worker that was killed
        _deleted(path, now - _UNFINISHED_SECONDS)
    return sum(_deleted(path, now - seconds) for path in [*_own_files(root, ARCHIVE_SUFFIX)])


def _write_whole(root: Path, path: Path, content: bytes) -> None:
    for folder in (root, path.parent.parent, path.parent):
        folder.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
    # `mkstemp` makes a new file that nobody else may read.
    handle, unfinished = tempfile.mkstemp(_UNFINISHED_SUFFIX, ".", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _own_files(root: Path, suffix: str) -> Iterator[Path]:
    """The files at the depth of archives; links lead elsewhere and are left alone."""
    for user in _folders(root):
        for chat in _folders(user):
            with suppress(OSError), os.scandir(chat) as entries:
                yield from (Path(each.path) for each in entries if each.name.endswith(suffix))


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(each.path) for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _deleted(path: Path, before: float) -> bool:
    """Whether it was old and is gone now; other workers may be at the same file."""
    try:
        if path.lstat().st_mtime >= before:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    for folder in path.parents[:2]:
        with suppress(OSError):  # something is in it
            folder.rmdir()
    return True
