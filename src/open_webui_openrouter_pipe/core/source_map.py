"""Where a line of the flat file comes from: for our own error log."""

from __future__ import annotations

import traceback

LineMap = dict[str, tuple[tuple[int, int, int], ...]]
"""By source file: (line in the flat file, line in the source, how many lines)."""


def trace_of(error: BaseException) -> str:
    """The error's traceback, with the source line behind each line of the flat file."""
    line_map: LineMap = globals().get("BUNDLE_MAP") or {}
    lines: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        place = f"{frame.filename}:{frame.lineno}"
        if frame.filename == "<string>" and frame.lineno is not None:
            place = source_of(frame.lineno, line_map)
        lines.append(f"  {place} in {frame.name}")
    summary = "".join(traceback.format_exception_only(error)).strip()
    return "\n".join([summary, *lines])


def source_of(line: int, line_map: LineMap) -> str:
    """`streaming/collector.py:88 (pipe.py line 9120)`, or the line alone where nobody knows."""
    for path, runs in line_map.items():
        for here, there, count in runs:
            if here <= line < here + count:
                return f"{path}:{there + line - here} (pipe.py line {line})"
    return f"pipe.py line {line}"
