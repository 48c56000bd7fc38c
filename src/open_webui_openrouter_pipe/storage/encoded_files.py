"""Files in the form a request carries them; the same picture is not read with every turn."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from ..core.admission import Gate, enter_gate, leave_gate
from ..core.attachment_valves import DownloadRules
from ..core.media_types import sniff_media_type
from ..core.process import shared_by_process
from ..host.files import FoundFile, local_path
from .downloads import Downloads

CheckFile = Callable[[str, int], None]
"""Raises `UnsupportedInputError` for a media type and a size (bytes) that cannot go out."""

_CHUNK_BYTES = 768 * 1024  # a multiple of three: base64 of the chunks is that of the whole
_KEPT_CHARACTERS_EACH = 8 * 1024 * 1024
_KEPT_CHARACTERS_IN_ALL = 64 * 1024 * 1024
_LINK_SECONDS = 600.0
_LARGE_BYTES = 8 * 1024 * 1024
_LARGE_AT_ONCE = 4
_LARGE_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file as text: itself where it is text, base64 where it is sound, else a data URL."""

    media_type: str
    size: int
    """Bytes."""
    text: str


class LargeFiles:
    """A place for a request with large files: only a few at once hold them in more than one form.

    Each takes one place, however many its files; nobody waits who has an answer under way.
    """

    def __init__(self) -> None:
        self._gate: Gate | None = None

    async def enter(self, size: int) -> None:
        """Wait for the place before such a file (of so many bytes) is encoded."""
        if size > _LARGE_BYTES and self._gate is None:
            gate = shared_by_process("large files", Gate)
            await enter_gate(gate, _LARGE_AT_ONCE, _LARGE_WAITING)
            self._gate = gate

    def leave(self) -> None:
        """Give it back: the request is on its way."""
        gate, self._gate = self._gate, None
        if gate is not None:
            leave_gate(gate)


class EncodedFiles:
    """Encodes stored and linked files, and remembers the smaller ones."""

    def __init__(
        self, downloads: Downloads | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._downloads = downloads or Downloads()
        self._clock = clock
        self._kept: OrderedDict[tuple[object, ...], EncodedFile] = OrderedDict()
        self._fetched_at: dict[tuple[object, ...], float] = {}
        """Of those behind links, which may change."""

    async def stored(self, file: FoundFile, check: CheckFile, room: LargeFiles) -> EncodedFile:
        """Encode a file of Open WebUI; raises `UnsupportedInputError`, `OSError`."""

        def read() -> EncodedFile:
            with path.open("rb") as content:
                return encode_file(content, size, check)

        key = (file.id, file.version)
        if known := self._recall(key, check):
            return known
        path = Path(await asyncio.to_thread(local_path, file))
        size = await asyncio.to_thread(lambda: path.stat().st_size)
        await room.enter(size)
        return self._keep(key, await asyncio.to_thread(read))

    async def linked(
        self, url: str, rules: DownloadRules, check: CheckFile, room: LargeFiles
    ) -> EncodedFile:
        """Encode a file of the web; raises `UnsupportedInputError` and what downloads raise."""
        key = (url, rules.addresses)
        if self._is_fresh(key) and (known := self._recall(key, check)):
            return known
        content = await self._downloads.fetch(url, rules)
        await room.enter(len(content))
        file = await asyncio.to_thread(encode_file, BytesIO(content), len(content), check)
        self._fetched_at[key] = self._clock()
        return self._keep(key, file)

    def begun(self, url: str, rules: DownloadRules) -> AbstractContextManager[object]:
        """Have the download of a linked file on its way, unless the file is remembered."""
        is_known = self._is_fresh((url, rules.addresses))
        return nullcontext() if is_known else self._downloads.begun(url, rules)

    def _is_fresh(self, key: tuple[object, ...]) -> bool:
        age = self._clock() - self._fetched_at.get(key, 0.0)
        return key in self._kept and age < _LINK_SECONDS

    def _forget(self, key: tuple[object, ...]) -> None:
        self._kept.pop(key, None)
        self._fetched_at.pop(key, None)

    def _recall(self, key: tuple[object, ...], check: CheckFile) -> EncodedFile | None:
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            check(known.media_type, known.size)
        return known

    def _keep(self, key: tuple[object, ...], file: EncodedFile) -> EncodedFile:
        if len(file.text) <= _KEPT_CHARACTERS_EACH:
            self._kept[key] = file
            while sum(len(each.text) for each in self._kept.values()) > _KEPT_CHARACTERS_IN_ALL:
                self._forget(next(iter(self._kept)))
        else:
            self._forget(key)
        return file


def encode_file(content: IO[bytes], size: int, check: CheckFile) -> EncodedFile:
    """Encode a file chunk by chunk; `check` sees what it is before more than its head is read."""
    chunk = content.read(_CHUNK_BYTES)
    media_type = sniff_media_type(chunk)
    check(media_type, size)
    if media_type.startswith("text/"):
        return EncodedFile(media_type, size, (chunk + content.read()).decode(errors="replace"))
    prefix = "" if media_type.startswith("audio/") else f"data:{media_type};base64,"
    # One block, filled: of many pieces, put together at the end, the allocator keeps the holes.
    encoded = bytearray(len(prefix) + (size + 2) // 3 * 4)
    encoded[: len(prefix)] = prefix.encode()
    end = len(prefix)
    while chunk:
        piece = base64.b64encode(chunk)
        encoded[end : end + len(piece)] = piece
        end += len(piece)
        chunk = content.read(_CHUNK_BYTES)
    del encoded[end:]
    return EncodedFile(media_type, size, encoded.decode("ascii"))
