"""What the bundle weighs, room by room, and what loading it costs."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .config import Config
from .flatten import Section
from .host import execute, load_as_open_webui
from .write import Bundle


def report(config: Config, bundle: Bundle, sections: Sequence[Section]) -> Iterator[str]:
    """The lines of the report."""
    kilobytes: dict[str, float] = defaultdict(float)
    lines: dict[str, int] = defaultdict(int)
    for section in sections:
        for piece in section.pieces:
            kilobytes[section.module.room] += (
                sum(len(line.encode()) + 1 for line in piece.lines) / 1024
            )
            lines[section.module.room] += len(piece.lines)
    total = len(bundle.text.encode()) / 1024
    kilobytes["(bundler)"] = total - sum(kilobytes.values())
    lines["(bundler)"] = bundle.text.count("\n") - sum(lines.values())
    for room, size in kilobytes.items():
        yield f"{room:<16}{size:>8.1f} KB{lines[room]:>8} lines"
    count = bundle.text.count("\n")
    yield f"{'together':<16}{total:>8.1f} KB{count:>8} lines (at most {config.max_kilobytes} KB)"
    yield "compile {:.0f} ms, exec {:.0f} ms".format(*_milliseconds(bundle.text))


def _milliseconds(text: str) -> tuple[float, float]:
    """What compiling and what executing the file take once all it imports is there."""
    load_as_open_webui(text)
    started = time.perf_counter()
    code = compile(text, "<string>", "exec", dont_inherit=True)
    compiled = time.perf_counter()
    execute(code)
    return 1000 * (compiled - started), 1000 * (time.perf_counter() - compiled)
