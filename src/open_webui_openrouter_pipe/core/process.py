"""What every copy of the pipe in one process shares."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import TypeVar, cast

# Open WebUI loads the file anew on every change; each copy finds the same holder under this name.
_HOLDER = "open_webui_openrouter_pipe_process"

Shared = TypeVar("Shared")


def shared_by_process(name: str, make: Callable[[], Shared]) -> Shared:
    """The one value of this name, made by whichever copy asks first.

    The copy that made it may be older than the one that reads it: names of what it holds stay.
    """
    holder = sys.modules.setdefault(_HOLDER, ModuleType(_HOLDER))
    return cast("Shared", holder.__dict__.setdefault(name, make()))
