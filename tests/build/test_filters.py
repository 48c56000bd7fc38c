"""Filters are embedded as text and read the same in both forms."""

from __future__ import annotations

import pytest

from build.host import load_as_open_webui

SOURCES = """
from pathlib import Path

FILTER_SOURCES: dict[str, str] = {
    path.stem: path.read_text(encoding="utf-8")
    for path in sorted(Path(__file__).parent.glob("*.py"))
    if path.stem not in ("__init__", "sources")
}
"""
TOGGLE = '''\
"""
title: Toggle
"""

import re


class Filter:
    """A filter with its own \\\\ backslashes."""

    toggle = True
    pattern = re.compile(r"\\d+\\n")
    name = "caf\\u00e9 - \\u00e9"
'''
READER = """
from ..filters.sources import FILTER_SOURCES


def filter_text(name: str) -> str:
    return FILTER_SOURCES[name]
"""
FILES = {
    "filters/sources.py": SOURCES,
    "filters/toggle.py": TOGGLE,
    "filters/second.py": '"""\ntitle: Second\n"""\n\nclass Filter: ...\n',
    "core/reader.py": READER,
}


def test_the_bundle_holds_every_filter_letter_for_letter(project, bundled):
    module = load_as_open_webui(bundled(FILES).bundle.text)
    config = project(FILES)
    for name in ("toggle", "second"):
        written = (config.package_path / "filters" / f"{name}.py").read_text(encoding="utf-8")
        assert module.filter_text(name) == written
    assert sorted(module.FILTER_SOURCES) == ["second", "toggle"]


def test_filters_share_no_names_with_the_pipe_or_each_other(bundled):
    module = load_as_open_webui(bundled(FILES).bundle.text)
    assert not hasattr(module, "Filter")
    assert not hasattr(module, "Path")


def test_the_lines_of_a_filter_are_mapped_to_its_own_file(bundled):
    bundle = bundled(FILES).bundle
    lines = bundle.text.split("\n")
    ((here, there, count),) = bundle.spans["filters/toggle.py"]
    assert lines[here - 1 : here - 1 + count] == TOGGLE.split("\n")[1:-1]
    assert there == 2


REFUSALS = {
    "no sources module": ({"filters/toggle.py": TOGGLE}, "filters/sources.py:1: filters without"),
    "no frontmatter": (
        {**FILES, "filters/toggle.py": "class Filter: ...\n"},
        "filters/toggle.py:1: a filter's first line",
    ),
    "an import from the package": (
        {**FILES, "filters/toggle.py": '"""\n"""\nfrom .second import Filter\n'},
        "filters/toggle.py:3: a filter that imports from the package",
    ),
    "single triple quotes": (
        {**FILES, "filters/toggle.py": '"""\n"""\n' + "X = ''''''\n"},
        "filters/toggle.py:3: ''' inside an embedded filter",
    ),
    "no last newline": (
        {**FILES, "filters/toggle.py": '"""\n"""\nX = 1'},
        "filters/toggle.py:3: a filter without a last newline",
    ),
    "a syntax error": (
        {**FILES, "filters/toggle.py": '"""\n"""\ndef f(:\n'},
        "filters/toggle.py:3: syntax error",
    ),
    "words the host rewrites": (
        {**FILES, "filters/toggle.py": '"""\n"""\nX = "from ' + 'apps"\n'},
        "filters/toggle.py:3: Open WebUI would rewrite the words 'from apps'",
    ),
}


@pytest.mark.parametrize(("files", "said"), REFUSALS.values(), ids=REFUSALS.keys())
def test_refuses_a_filter_that_cannot_be_embedded(refused, files, said):
    findings = [str(finding) for finding in refused(files)]
    assert len(findings) == 1
    assert findings[0].startswith(said), findings
