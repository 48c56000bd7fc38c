"""The parts of Open WebUI's chat middleware that the pipe uses, each by its name."""

from __future__ import annotations

from typing import Any


def middleware_part(name: str) -> Any:
    """A part of the host's chat middleware; `None` where this version has none of that name."""
    try:
        from open_webui.utils import middleware  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return getattr(middleware, name, None)
