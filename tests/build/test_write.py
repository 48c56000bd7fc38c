"""The file around the modules: frontmatter, contents, imports, line map."""

from __future__ import annotations

import ast

import pytest

from build.builder import where, written_map
from build.host import load_as_open_webui, read_frontmatter

FILES = {
    "__init__.py": '"""All of it."""\n',
    "core/__init__.py": '"""The lowest room."""\n',
    "core/errors.py": '''\
        """One tree of errors.

        With a second paragraph.
        """

        from __future__ import annotations

        import time

        FIRST = 1

        if TYPE_CHECKING:
            import json

        SECOND = 2


        def now() -> float:
            return time.time()
        ''',
}
FILES["core/errors.py"] = FILES["core/errors.py"].replace(
    "import time\n", "import time\n        from typing import TYPE_CHECKING\n"
)


def test_open_webui_reads_the_project_file_in_the_frontmatter(bundled):
    text = bundled({}).bundle.text
    assert text.startswith('"""\ntitle: Small\n')
    assert read_frontmatter(text) == {
        "title": "Small",
        "author": "Somebody, Somebody else",
        "author_url": "https://small.example",
        "git_url": "https://small.example/git",
        "description": "A small package: made for a test",
        "version": "1.2.3",
        "required_open_webui_version": "0.12.0",
        "license": "MIT",
    }


def test_the_contents_name_the_line_of_every_banner(bundled):
    lines = bundled(FILES).bundle.text.split("\n")
    contents = lines[: lines.index("import time")]
    entries = [line for line in contents if line.startswith("#   ")]
    assert [entry.split()[2:3] for entry in entries] == [["errors.py"], ["pipe.py"]]
    assert entries[0].endswith("One tree of errors.")
    for entry, path in zip(entries, ("core/errors.py", "pipe.py"), strict=True):
        number = int(entry.split()[1])
        assert lines[number - 1] == "#" * 32
        assert lines[number] == f"# {path}"


def test_the_contents_say_what_a_room_is_for(bundled):
    assert "\n# core/  The lowest room.\n" in bundled(FILES).bundle.text


def test_the_imports_stand_once_sorted_in_two_groups(bundled):
    files = {
        "a.py": "import json\nfrom collections.abc import Mapping\nimport pydantic as p\n"
        "from typing import Any, TYPE_CHECKING\nfrom pydantic import Field\n",
        "b.py": "import json\nimport asyncio.locks\nfrom collections.abc import Iterator\n"
        "from collections import deque as Queue\nfrom pydantic import BaseModel, Field\n",
    }
    text = bundled(files).bundle.text
    block = text[text.index("from __future__") : text.index("\n\n\n#")]
    assert block.split("\n") == [
        "from __future__ import annotations",
        "",
        "import asyncio.locks",
        "import json",
        "from collections import deque as Queue",
        "from collections.abc import Iterator, Mapping",
        "from typing import Any",
        "",
        "import pydantic as p",
        "from pydantic import BaseModel, Field",
    ]
    assert text.count("from __future__") == 1


def test_a_long_import_is_broken_into_lines(bundled):
    names = ["NamedTuple", "ParamSpec", "Protocol", "Required", "Sequence", "SupportsAbs"]
    names += ["SupportsBytes", "SupportsFloat", "SupportsIndex", "TypedDict"]
    text = bundled({"a.py": f"from typing import {', '.join(names)}\n"}).bundle.text
    assert "from typing import (\n    NamedTuple,\n    ParamSpec,\n" in text
    assert ast.parse(text)


def test_every_mapped_line_is_the_line_of_the_source(project, bundled):
    config = project(FILES)
    lines = bundled(FILES).bundle.text.split("\n")
    spans = written_map("\n".join(lines))
    assert list(spans) == ["core/errors.py", "pipe.py"]
    for path, runs in spans.items():
        source = (config.package_path / path).read_text(encoding="utf-8").split("\n")
        mapped = set()
        for here, there, count in runs:
            assert lines[here - 1 : here - 1 + count] == source[there - 1 : there - 1 + count]
            mapped |= set(range(there, there + count))
        code = {n for n, line in enumerate(source, 1) if "SECOND" in line or "return" in line}
        assert code <= mapped


@pytest.mark.parametrize(
    ("line", "source"),
    [
        ("FIRST = 1", "core/errors.py:11"),
        ("SECOND = 2", "core/errors.py:16"),
        ("    return time.time()", "core/errors.py:20"),
        ("class Pipe:", "pipe.py:3"),
    ],
)
def test_where_names_the_source_of_a_line(project, bundled, line, source):
    config = project(FILES)
    text = bundled(FILES).bundle.text
    config.output_path.parent.mkdir()
    config.output_path.write_text(text, encoding="utf-8")
    assert where(config, text.split("\n").index(line) + 1) == f"src/small/{source}"


@pytest.mark.parametrize("words", ["import time", "# core/errors.py", '"""'])
def test_where_knows_the_lines_of_the_bundler(project, bundled, words):
    config = project(FILES)
    text = bundled(FILES).bundle.text
    config.output_path.parent.mkdir()
    config.output_path.write_text(text, encoding="utf-8")
    assert where(config, text.split("\n").index(words) + 1) == "written by the bundler"


def test_the_map_is_there_for_the_code_that_asks_for_it(bundled):
    files = {"a.py": "def line_map():\n    return globals().get('BUNDLE_MAP')\n"}
    text = bundled(files).bundle.text
    assert load_as_open_webui(text).line_map() == written_map(text)
