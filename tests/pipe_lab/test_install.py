"""Installing Open WebUI: what a person is told meanwhile, and that it is done once."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from pipe_lab.host.install import ensure_open_webui, slim_pins

# Stands in for Python: `-m venv FOLDER` puts it there, `-m pip install` names packages.
INTERPRETER = """\
#!/bin/sh
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit; fi
for number in $(seq {packages}); do echo "Collecting package-$number"; done
"""


@pytest.fixture
def packages() -> int:
    return slim_pins("0.12.4").count("==")


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packages: int) -> None:
    interpreter = tmp_path / "interpreter"
    interpreter.write_text(INTERPRETER.format(packages=packages), encoding="utf-8")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    without_uv = tmp_path / "commands"
    without_uv.mkdir()
    for command in ("mkdir", "cp", "seq"):
        (without_uv / command).symlink_to(str(shutil.which(command)))
    monkeypatch.setenv("PATH", str(without_uv))
    monkeypatch.setenv("PIPE_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("OPEN_WEBUI", raising=False)


def test_the_slim_list_is_counted_to_its_end(
    monkeypatch: pytest.MonkeyPatch, packages: int
) -> None:
    monkeypatch.delenv("FULL", raising=False)
    said: list[str] = []
    python = ensure_open_webui(report=said.append)
    assert f"  {packages} of {packages} packages" in said
    told = len(said)
    assert ensure_open_webui(report=said.append) == python
    assert len(said) == told


def test_nobody_knows_beforehand_how_many_packages_everything_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FULL", "1")
    said: list[str] = []
    ensure_open_webui(report=said.append)
    assert "  20 packages so far" in said
    assert not any(" of " in text for text in said)
