"""Which form of the pipe the tests run on, and which of them need more than this machine offers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]  # the bundler is a folder of this project, not an installed package

from tests.bundle_target import answer_from_bundle  # noqa: E402
from tests.host_parts import put_in_host  # noqa: E402, F401 - a fixture for every room
from tests.services import (  # noqa: E402, F401 - fixtures for every room
    database_url,
    engine,
    postgresql,
    redis_client,
    redis_server,
)

# A busy machine is no failure: the tests bound what they do, not how long it takes.
settings.register_profile("default", deadline=None)

NEEDS_MORE = frozenset({"live", "browser", "host", "service"})


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """A pipe that runs takes the log over, and pytest's `caplog` would see nothing of it."""
    log = logging.getLogger("open_webui_openrouter_pipe")
    handlers, propagate, level = log.handlers[:], log.propagate, log.level
    yield
    log.handlers[:], log.propagate = handlers, propagate
    log.setLevel(level)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--target",
        choices=("modules", "bundle"),
        default="modules",
        help="run the tests on the modules or on dist/pipe.py",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("target") == "bundle":
        answer_from_bundle(ROOT)


def pytest_report_header(config: pytest.Config) -> str:
    return f"target: {config.getoption('target')}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The bundler's tests do not depend on the bundle; pytest would never look into a `build`."""
    if collection_path == ROOT / "tests" / "build":
        return config.getoption("target") == "bundle"
    return None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `-m`, leave out what needs a server of any kind, a browser or an Open WebUI."""
    if config.option.markexpr:
        return
    left_out = [item for item in items if NEEDS_MORE & {mark.name for mark in item.iter_markers()}]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
