"""The Python of the lab's Open WebUI, which has the host's own modules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.reducer import HostFunctions


@pytest.fixture(scope="session")
def host_python() -> Path:
    return ensure_open_webui()


@pytest.fixture(scope="session")
def host_functions(host_python: Path) -> Iterator[HostFunctions]:
    with HostFunctions(host_python) as running:
        yield running
