"""The folder in which Open WebUI keeps its data."""

from __future__ import annotations

import re
from pathlib import Path


def own_file(name: str, function_id: str) -> Path | None:
    """Where one installed copy may keep a file; `None` outside of Open WebUI."""
    try:
        from open_webui.env import DATA_DIR  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return Path(DATA_DIR) / "openrouter" / f"{re.sub(r'[^0-9A-Za-z_]', '_', function_id)}-{name}"
