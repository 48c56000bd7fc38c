"""The commands a person and the CI run."""

from __future__ import annotations

import pytest

import bundle
from build.builder import build
from tests.build.conftest import write_project


def run(config, *arguments: str) -> int:
    return bundle.main(["--root", str(config.root), *arguments])


def test_writes_the_file(project, capsys):
    config = project({"a.py": "A = 1\n"})
    assert run(config) == 0
    assert config.output_path.read_bytes() == build(config).bundle.text.encode()
    assert capsys.readouterr().out.startswith("dist/pipe.py: ")


def test_writes_nothing_when_something_is_refused(project, capsys):
    config = project({"a.py": "from math import *\n"})
    assert run(config) == 1
    assert not config.output_path.exists()
    assert capsys.readouterr().err == (
        "a.py:3: a star import; name what is imported\nrefused: 1 to mend in src/small\n"
    )


def test_check_accepts_what_was_just_written(project):
    config = project({"a.py": "A = 1\n"})
    run(config)
    assert run(config, "--check") == 0


def test_check_says_what_is_stale(project, capsys):
    config = project({"a.py": "A = 1\n"})
    run(config)
    (config.package_path / "a.py").write_text(
        "from __future__ import annotations\n\nA = 2\n", encoding="utf-8"
    )
    before = config.output_path.read_bytes()
    assert run(config, "--check") == 1
    said = capsys.readouterr().err
    assert "dist/pipe.py is stale (+1 -1 lines)" in said
    assert "-A = 1\n+A = 2" in said
    assert "BUNDLE_MAP" not in said
    assert config.output_path.read_bytes() == before


def test_check_keeps_a_long_difference_short(project, capsys):
    config = project({"a.py": "A = 1\n"})
    run(config)
    project({"a.py": "".join(f"A{n} = 1\n" for n in range(100))})
    assert run(config, "--check") == 1
    assert len(capsys.readouterr().err.splitlines()) < 30


@pytest.mark.parametrize("command", [["--check"], ["--where", "5"]])
def test_says_when_there_is_no_file(project, capsys, command):
    assert run(project({}), *command) == 1
    assert "dist/pipe.py does not exist; run: python bundle.py" in capsys.readouterr().err


def test_where_prints_the_source_line(project, capsys):
    config = project({"a.py": "A = 1\nB = 2\n"})
    run(config)
    line = config.output_path.read_text(encoding="utf-8").split("\n").index("B = 2") + 1
    assert run(config, "--where", str(line)) == 0
    assert capsys.readouterr().out.endswith("src/small/a.py:4\n")


def test_report_weighs_the_rooms(project, capsys):
    config = project({"core/a.py": "A = '" + "x" * 2048 + "'\n", "api/b.py": "B = 1\nC = 2\n"})
    assert run(config, "--report") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["core"].split()[1:] == ["2.0", "KB", "1", "lines"]
    assert rows["api"].split()[3:] == ["2", "lines"]
    assert "at most 50 KB" in rows["together"]
    assert "exec" in rows["compile"]


def test_two_builds_on_two_machines_give_the_same_bytes(tmp_path, project):
    """Another place and another order of writing the files; nothing of either shows."""
    files = {"core/a.py": "A = 1\n", "core/b.py": "B = 1\n", "api/c.py": "C = 1\n"}
    here = build(project(files)).bundle.text
    there = build(write_project(tmp_path / "else", dict(reversed(files.items())))).bundle.text
    assert here == there
