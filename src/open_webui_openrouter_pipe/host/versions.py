"""Which Open WebUI this is, and whether the pipe works on it."""

from __future__ import annotations

import re
from functools import cache

from ..core.errors import HostTooOldError

OLDEST_VERSION = (0, 11)


def require_supported_host() -> None:
    """Raise `HostTooOldError` on an Open WebUI before 0.11; outside of one all is well."""
    version = _host_version()
    if version is not None and version < OLDEST_VERSION:
        raise HostTooOldError(
            f"The OpenRouter function needs Open WebUI 0.11 or newer; this is {_dotted(version)}.",
            "The admin should update Open WebUI.",
        )


def _host_version() -> tuple[int, ...] | None:
    try:
        from open_webui.env import VERSION  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return _version_numbers(str(VERSION))


@cache
def _version_numbers(version: str) -> tuple[int, ...] | None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    # It calls itself 0.0.0 when it cannot find out, as in a checkout.
    return numbers if any(numbers) else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
