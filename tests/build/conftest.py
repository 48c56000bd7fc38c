"""Small projects made for one test each."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from build.builder import Build, verified_build
from build.config import Config, read_config
from build.findings import Finding, Refused

Project = Callable[..., Config]

PYPROJECT = """
[project]
name = "small"
version = "1.2.3"
description = "A small package: made for a test"
license = "MIT"
authors = [{ name = "Somebody" }, { name = "Somebody else" }]

[project.urls]
Homepage = "https://small.example"
Repository = "https://small.example/git"

[tool.bundle]
package = "src/small"
output = "dist/pipe.py"
title = "Small"
required_open_webui_version = "0.12.0"
max_kilobytes = 50

[[tool.importlinter.contracts]]
type = "layers"
layers = ["small.pipe", "small.tools | small.streaming", "small.api", "small.core"]
"""

PIPE = """
class Pipe:
    class Valves:
        pass
"""


def write_project(root: Path, files: Mapping[str, str]) -> Config:
    """A project whose package holds these files; each gets the future import every module needs.

    A text that begins with a docstring or a comment is taken as it is.
    """
    root.mkdir(exist_ok=True)
    (root / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for path, text in {"pipe.py": PIPE, **files}.items():
        file = root / "src" / "small" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(text).lstrip("\n")
        if not text.startswith(('"""', "#")):
            text = f"from __future__ import annotations\n\n{text}"
        file.write_text(text, encoding="utf-8")
    return read_config(root)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Makes a project from its files."""
    return lambda files: write_project(tmp_path, files)


@pytest.fixture
def bundled(project: Project) -> Callable[[Mapping[str, str]], Build]:
    """The verified build of a project with these files."""
    return lambda files: verified_build(project(files))


@pytest.fixture
def refused(project: Project) -> Callable[[Mapping[str, str]], tuple[Finding, ...]]:
    """What the bundler says about a project with these files, nothing if it builds."""

    def findings(files: Mapping[str, str]) -> tuple[Finding, ...]:
        try:
            verified_build(project(files))
        except Refused as refusal:
            return refusal.findings
        return ()

    return findings
