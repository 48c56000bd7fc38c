"""One session archive: a file that is whole or not there, sealed, and for its owner's eyes only.

The format stands in docs/storage.md. All of it may take a while: it belongs in a thread.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..core.errors import SealedPayloadError
from ..core.ids import api_tool_name
from .payload_codec import PayloadCodec, read_label

ARCHIVE_SUFFIX = ".orlog"
_UNFINISHED_SUFFIX = ".part"
_FIRST_ARCHIVE_BYTES = b"ORLOG\x01\r\n"
_ARCHIVE_IDENTITY = ("session archive",)
_PRIVATE_FOLDER = 0o700


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
    if not read_label(sealed[first:]).key_id:
        raise SealedPayloadError("It is not encrypted: anybody may have written it.")
    content = codec.open(sealed[first:], _ARCHIVE_IDENTITY)
    return [json.loads(line) for line in content.splitlines()]


def delete_old_archives(root: Path, before: float) -> None:
    """Delete what was written before that time (seconds since 1970), and folders left empty by it.

    Other things may stand under the same root: an empty folder that held no archive is not ours.
    """
    for user in _within(root.resolve()):
        _remove_if_empty(user, [_delete_within(chat, before) for chat in _within(user)])


def _delete_within(chat: Path, before: float) -> bool:
    """Whether something was deleted there."""
    suffixes = (ARCHIVE_SUFFIX, _UNFINISHED_SUFFIX)
    old = [_delete_older(file, before) for file in _within(chat) if file.suffix in suffixes]
    return _remove_if_empty(chat, old)


def _remove_if_empty(folder: Path, deleted: Sequence[bool]) -> bool:
    if any(deleted):
        with suppress(OSError):  # something is in it
            folder.rmdir()
    return any(deleted)


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


def _within(folder: Path) -> list[Path]:
    """What is in a folder; a link leads elsewhere and is left alone."""
    try:
        return [] if folder.is_symlink() else [*folder.iterdir()]
    except OSError:  # no folder, or gone
        return []


def _delete_older(file: Path, before: float) -> bool:
    with suppress(OSError):  # other workers may be at it too
        if file.lstat().st_mtime < before:
            file.unlink()
            return True
    return False
