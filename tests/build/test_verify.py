"""The proof before writing: what only shows in the finished file."""

from __future__ import annotations

import dataclasses
import sys

import pytest

from build.builder import build
from build.config import read_config
from build.findings import Refused
from build.host import load_as_open_webui, read_frontmatter, replace_imports
from build.verify import problems, pythons
from build.write import Bundle

FAULTS = {
    "no Pipe": ({"pipe.py": "class Other: ...\n"}, "dist/pipe.py:1: no class Pipe"),
    "Valves only by name": (
        {"pipe.py": "class Settings: ...\n\nclass Pipe:\n    Valves = Settings\n"},
        "no class Valves inside Pipe",
    ),
    "UserValves only by name": (
        {
            "pipe.py": "class Settings: ...\n\nclass Pipe:\n    UserValves = Settings\n"
            "    class Valves: ...\n"
        },
        "no class UserValves inside Pipe",
    ),
    "an error at load": (
        {"a.py": "X = [][1]\n"},
        "loading raises IndexError: list index out of range",
    ),
    "an error in the constructor": (
        {
            "pipe.py": "class Pipe:\n    class Valves: ...\n"
            "    def __init__(self):\n        raise LookupError('nothing')\n"
        },
        "loading raises LookupError: nothing",
    ),
    "an unfinished pydantic model": (
        {
            "a.py": "from typing import TYPE_CHECKING\nfrom pydantic import BaseModel\n"
            "if TYPE_CHECKING:\n    from fractions import Fraction\n"
            "class M(BaseModel):\n    x: Fraction\n"
        },
        "the pydantic model M is not complete",
    ),
}


@pytest.mark.parametrize(("files", "said"), FAULTS.values(), ids=FAULTS.keys())
def test_refuses_a_file_that_open_webui_could_not_use(refused, files, said):
    findings = [str(finding) for finding in refused(files)]
    assert len(findings) == 1
    assert said in findings[0]


def test_an_error_at_load_is_reported_at_the_line_of_the_bundle(project):
    config = project({"a.py": "X = 1\nY = [][1]\n"})
    bundle = build(config).bundle
    (finding,) = problems(config, bundle)
    assert finding.line == bundle.text.split("\n").index("Y = [][1]") + 1


def test_a_file_over_the_limit_is_refused(project):
    config = project({"a.py": "X = '''" + "x\n" * 26_000 + "'''\n"})
    (finding,) = problems(config, build(config).bundle)
    assert "KB are more than the 50 allowed" in finding.problem


def with_text(bundle: Bundle, old: str, new: str) -> Bundle:
    assert old in bundle.text
    return dataclasses.replace(bundle, text=bundle.text.replace(old, new))


def test_a_line_that_is_not_the_source_it_claims_to_be_is_refused(project):
    config = project({"a.py": "X = 1\n"})
    (finding,) = problems(config, with_text(build(config).bundle, "X = 1", "X = 2"))
    assert finding.problem == "these 1 lines are not a.py from line 3"


def test_a_name_that_the_file_does_not_bind_is_refused(project):
    config = project({"a.py": "import time\ndef f():\n    return time.time()\n"})
    (finding,) = problems(config, with_text(build(config).bundle, "import time\n", "import math\n"))
    assert finding.problem == "time is used and nowhere bound"


def test_a_value_that_is_no_plain_line_is_refused(project):
    config = project({})
    project_file = config.root / "pyproject.toml"
    text = project_file.read_text(encoding="utf-8").replace('"1.2.3"', '"""1.2.3\nx: y"""')
    project_file.write_text(text, encoding="utf-8")
    with pytest.raises(Refused, match="version is not one plain line"):
        read_config(config.root)


def test_the_running_python_is_among_those_that_compile_the_file():
    version = "{}.{}".format(*sys.version_info[:2])
    assert pythons()[version] == sys.executable


def test_a_file_is_loaded_under_a_random_name_that_is_known_while_it_runs():
    first, second = (load_as_open_webui("import sys\nhere = sys.modules[__name__]\n") for _ in "ab")
    assert first.here is first
    assert first.__name__ != second.__name__
    assert first.__name__.startswith("function_openrouter_")


def test_a_file_that_fails_to_load_is_forgotten():
    before = set(sys.modules)
    with pytest.raises(ZeroDivisionError):
        load_as_open_webui("1 / 0\n")
    assert set(sys.modules) == before


@pytest.mark.parametrize("first", ["# x", "'''", '"""x', '\N{BYTE ORDER MARK}"""'])
def test_open_webui_reads_no_frontmatter_after_another_first_line(first):
    assert read_frontmatter(f'{first}\ntitle: X\n"""\n') == {}


def test_open_webui_rewrites_longer_words_and_only_once():
    words = "from " + "mainland and from " + "utils"
    once = replace_imports(words)
    assert once == "from open_webui.mainland and from open_webui.utils"
    assert replace_imports(once) == once
