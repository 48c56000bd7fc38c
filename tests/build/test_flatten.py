"""What of a module stands in the flat file, and how it looks there."""

from __future__ import annotations

import textwrap

from build.builder import verified_build


def section(text: str, path: str) -> str:
    """The lines below a module's banner, up to the next banner."""
    rule = "#" * 32
    parts = text.split(f"{rule}\n")
    at = next(number for number, part in enumerate(parts) if part.startswith(f"# {path}\n"))
    return parts[at + 1].strip("\n")


def test_a_module_is_kept_word_for_word_without_its_docstring_and_imports(bundled):
    source = '''
        """One subject.

        More about it.
        """

        from __future__ import annotations

        import json  # the wire
        from typing import TYPE_CHECKING, Any

        from .core.limits import LIMIT

        if TYPE_CHECKING:
            from collections.abc import Iterator

        __all__ = ["Reader"]

        # Above the class.


        class Reader:  # beside it
            """Reads."""

            size: int = LIMIT  # the most

            def read(self,   text: Any) -> Iterator[str]:
                # odd spacing stays
                yield json.dumps( text )


        X = """two
        lines"""
        # The end.
    '''
    text = bundled({"a.py": source, "core/limits.py": "LIMIT = 1\n"}).bundle.text
    assert section(text, "a.py") == textwrap.dedent('''\
        # Above the class.


        class Reader:  # beside it
            """Reads."""

            size: int = LIMIT  # the most

            def read(self,   text: Any) -> Iterator[str]:
                # odd spacing stays
                yield json.dumps( text )


        X = """two
        lines"""
        # The end.''')


def test_the_banner_says_the_path_and_the_whole_docstring(bundled):
    source = (
        '"""One subject.\n\nMore about it.\n"""\n\nfrom __future__ import annotations\n\nA = 1\n'
    )
    text = bundled({"core/a.py": source}).bundle.text
    rule = "#" * 32
    banner = f"{rule}\n# core/a.py\n#\n# One subject.\n#\n# More about it.\n{rule}\n\nA = 1\n"
    assert f"\n\n{banner}" in text


def test_comments_above_dropped_lines_stay(bundled):
    future = "from __future__ import annotations"
    source = f"# Licence.\n{future}\n\n# why time\nimport time\n\nA = time\n"
    text = bundled({"a.py": source}).bundle.text
    assert section(text, "a.py") == "# Licence.\n# why time\n\nA = time"


def test_optional_imports_stay_where_they_stand(bundled):
    source = (
        "try:\n    import lzma\nexcept ImportError:\n    lzma = None\n\nHAS = lzma is not None\n"
    )
    text = bundled({"a.py": source}).bundle.text
    assert section(text, "a.py") == source.rstrip()
    assert text.count("import lzma") == 1


def test_a_docstring_later_in_the_module_stays(bundled):
    source = 'A = 1\n"""What A is."""\n'
    assert section(bundled({"a.py": source}).bundle.text, "a.py") == source.rstrip()


def test_a_module_of_nothing_but_a_docstring_is_a_banner(bundled):
    text = bundled({"a.py": '"""Nothing yet."""\n'}).bundle.text
    assert "# a.py\n#\n# Nothing yet.\n" in text


def test_a_file_without_a_last_newline_is_the_same_as_one_with_it(bundled):
    with_newline = bundled({"a.py": "A = 1\n"}).bundle.text
    assert bundled({"a.py": "A = 1"}).bundle.text == with_newline


def test_windows_line_ends_make_no_difference(project, bundled):
    text = bundled({"a.py": "A = 1\nB = 2\n"}).bundle.text
    config = project({})
    path = config.package_path / "a.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert verified_build(config).bundle.text == text
