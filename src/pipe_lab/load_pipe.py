"""Loads a pipe from its text the way Open WebUI 0.12 does: as a module without a file."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

# The host rewrites these openings wherever they stand, in prose too.
_HOST_IMPORTS = re.compile(r"from (utils|apps|main|config)")


def load_pipe(
    bundle: Path, saved_valves: Mapping[str, Any], function_id: str = "openrouter"
) -> Any:
    """Run the bundle's text, construct its `Pipe` and hand it the saved valves."""
    source = _HOST_IMPORTS.sub(r"from open_webui.\1", bundle.read_text(encoding="utf-8"))
    module = ModuleType(f"function_{function_id}_{uuid4().hex}")
    sys.modules[module.__name__] = module
    try:
        exec(source, module.__dict__)
        pipe = module.__dict__["Pipe"]()
    except BaseException:
        del sys.modules[module.__name__]
        raise
    _publish(module, function_id)
    if hasattr(pipe, "Valves"):
        given = {name: value for name, value in saved_valves.items() if value is not None}
        pipe.valves = pipe.Valves(**given)
    return pipe


def _publish(module: ModuleType, function_id: str) -> None:
    """Keep the newest module under both of its names; the one before it loses its own."""
    name = f"function_{function_id}"
    previous = sys.modules.get(name)
    if previous is not None:
        sys.modules.pop(previous.__name__, None)
    sys.modules[name] = module
