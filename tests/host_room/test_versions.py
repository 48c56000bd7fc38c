"""Which Open WebUI is too old."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from open_webui_openrouter_pipe.core.errors import HostTooOldError
from open_webui_openrouter_pipe.host.versions import require_supported_host


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    env = ModuleType("open_webui.env")
    env.__dict__["VERSION"] = version
    monkeypatch.setitem(sys.modules, "open_webui", ModuleType("open_webui"))
    monkeypatch.setitem(sys.modules, "open_webui.env", env)


@pytest.mark.parametrize("version", ["0.11.0", "0.11", "0.12.4", "0.12.4-dev1", "1.0"])
def test_a_host_that_is_new_enough_is_accepted(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    install(monkeypatch, version)
    require_supported_host()


@pytest.mark.parametrize("version", ["0.10.2", "0.9.9", "v0.6.43"])
def test_an_older_host_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    install(monkeypatch, version)
    with pytest.raises(HostTooOldError, match=version.removeprefix("v")):
        require_supported_host()


@pytest.mark.parametrize("version", ["0.0.0", "", "dev"])
def test_a_host_that_does_not_know_its_version_is_accepted(
    monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """Open WebUI calls itself 0.0.0 when it runs from a checkout without package data."""
    install(monkeypatch, version)
    require_supported_host()


def test_without_a_host_there_is_nothing_to_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", None)
    require_supported_host()
