"""Server-sent events: bytes in any pieces become data payloads."""

from __future__ import annotations

DONE_PAYLOAD = b"[DONE]"
_DATA = b"data: "
_NEXT_DATA = b"\n\ndata: "


class SseDecoder:
    """Collects bytes and gives out the payload of each finished event.

    Comments, blank lines and fields other than `data` carry nothing for us.
    LF, CRLF and CR end a line.
    """

    __slots__ = ("_after_cr", "_data", "_open_line")

    def __init__(self) -> None:
        self._open_line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads that this chunk completes."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._open_line.append(chunk)
            return []
        lines, _, rest = b"".join([*self._open_line, chunk]).rpartition(b"\n")
        self._open_line = [rest]
        return self._read_lines(lines)

    def flush(self) -> list[bytes]:
        """Return what stands at the end of the body without its blank line."""
        lines = b"".join(self._open_line) + b"\n"
        self._open_line = []
        return self._read_lines(lines)

    def _read_lines(self, lines: bytes) -> list[bytes]:
        """Read whole lines, the last without its line end."""
        data = self._data
        if not data and _is_line_each(lines):
            return lines[len(_DATA) : -1].split(_NEXT_DATA)
        payloads: list[bytes] = []
        for line in lines.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(_DATA) else line[5:])
            elif not line and data:
                payloads.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
        return payloads


def _is_line_each(lines: bytes) -> bool:
    """Whether each event is one line of data and has ended, as nearly always; then one cut does."""
    if not lines.startswith(_DATA) or not lines.endswith(b"\n"):
        return False
    return lines.count(b"\n") == 2 * lines.count(_NEXT_DATA) + 1
