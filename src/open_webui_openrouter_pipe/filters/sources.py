"""The text of each companion filter, by the name of its file."""

from __future__ import annotations

from pathlib import Path

FILTER_SOURCES: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "sources")
}
