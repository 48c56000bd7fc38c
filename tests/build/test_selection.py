"""Which tests a plain run takes, and which need to be asked for."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import pytest

def test_plain(): ...

@pytest.mark.live
def test_live(): ...

@pytest.mark.browser
def test_browser(): ...

@pytest.mark.host
def test_host(): ...
"""


def collected(path: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest", "--collect-only", *arguments, str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ([], {"test_plain"}),
        (["-m", "live or host"], {"test_live", "test_host"}),
    ],
)
def test_what_needs_a_server_runs_only_when_asked_for(tmp_path, arguments, names):
    (tmp_path / "test_marked.py").write_text(TESTS, encoding="utf-8")
    ours = ["-p", "tests.conftest", "-c", str(ROOT / "pyproject.toml")]
    said = collected(tmp_path, *ours, *arguments)
    assert "target: modules" in said
    assert set(re.findall(r"<Function (\w+)>", said)) == names


def test_the_bundlers_tests_are_found_though_pytest_skips_folders_of_that_name():
    assert "<Module test_order.py>" in collected(ROOT / "tests")
