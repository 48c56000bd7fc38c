"""The order of the modules in the file: what is imported first, then floors, then names."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import pytest

from build.builder import build
from build.findings import Refused

EMPTY = "X_{} = 1\n"


def order_of(text: str) -> list[str]:
    return re.findall(r"^#{32}\n# ([\w/]+\.py)$", text, re.MULTILINE)


def module(name: str, *imported: str) -> str:
    lines = [f"from {path} import {item}" for path, item in (i.split(":") for i in imported)]
    return "\n".join([*lines, f"{name} = 1\n"])


def test_floors_come_in_the_order_of_the_layers_contract_and_names_within_them(bundled):
    files = {
        "api/z.py": module("AZ"),
        "api/b.py": module("AB"),
        "core/z.py": module("CZ"),
        "tools/t.py": module("T"),
        "streaming/s.py": module("S"),
    }
    assert order_of(bundled(files).bundle.text) == [
        "core/z.py",
        "api/b.py",
        "api/z.py",
        "streaming/s.py",
        "tools/t.py",
        "pipe.py",
    ]


def test_what_is_imported_comes_first_whatever_its_name(bundled):
    files = {
        "core/a.py": module("A", ".m:M"),
        "core/m.py": module("M", ".z:Z"),
        "core/z.py": module("Z"),
    }
    assert order_of(bundled(files).bundle.text)[:3] == ["core/z.py", "core/m.py", "core/a.py"]


def test_imports_win_against_floors(bundled):
    files = {"core/low.py": module("LOW", "..api.high:HIGH"), "api/high.py": module("HIGH")}
    assert order_of(bundled(files).bundle.text) == ["api/high.py", "core/low.py", "pipe.py"]


def test_a_room_on_no_floor_comes_just_before_what_needs_it(bundled):
    files = {
        "pipe.py": "from .extra.x import EXTRA\n\n"
        "class Pipe:\n    class Valves:\n        value = EXTRA\n",
        "extra/x.py": module("EXTRA"),
        "core/c.py": module("C"),
    }
    assert order_of(bundled(files).bundle.text) == ["core/c.py", "extra/x.py", "pipe.py"]


@pytest.mark.parametrize("start", ["core/a.py", "core/b.py", "core/c.py"])
def test_a_long_cycle_is_told_import_by_import(refused, start):
    files = {
        "core/a.py": module("A", ".b:B"),
        "core/b.py": module("B", ".c:C"),
        "core/c.py": module("C", ".a:A"),
    }
    (finding,) = refused({start: files[start], **files})
    for step in (
        "core/a.py:3 imports core.b",
        "core/b.py:3 imports core.c",
        "core/c.py:3 imports core.a",
    ):
        assert step in finding.problem


PROGRAM = {
    "core/shared.py": "import json\n\ndef read() -> str:\n    return json.dumps(1)\n",
    "core/aside.py": "import no_such_package\n",
    "tools/run.py": "from ..core.shared import read\n\ndef main() -> int:\n"
    "    return 7 if read() else 0\n",
}


def test_a_program_stands_first_and_runs_without_what_the_rest_needs(project, tmp_path):
    config = replace(project(PROGRAM), program="tools.run:main")
    text = build(config).bundle.text
    assert order_of(text) == ["core/shared.py", "tools/run.py", "core/aside.py", "pipe.py"]
    assert text.index("__main__") < text.index("import no_such_package")
    (tmp_path / "small.py").write_text(text, encoding="utf-8")
    done = subprocess.run([sys.executable, "-I", tmp_path / "small.py"], check=False)
    assert done.returncode == 7


def test_a_program_that_is_nowhere_is_refused(project):
    with pytest.raises(Refused, match="no module of the package"):
        build(replace(project(PROGRAM), program="tools.walk:main"))
