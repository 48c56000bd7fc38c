"""The stand-alone filters in `filters/`: embedded as text, as Open WebUI stores them.

`filters/sources.py` is the one module the bundler replaces. In the package it reads the files
beside it; in the bundle its only name, `FILTER_SOURCES`, is a dict of string constants.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .findings import Finding

FILTERS = "filters/sources.py"
NAME = "FILTER_SOURCES"


@dataclass(frozen=True, slots=True)
class Companion:
    """One filter: where it stands, what it says."""

    path: str
    text: str

    @property
    def key(self) -> str:
        return self.path.removeprefix("filters/").removesuffix(".py")


def read_companions(texts: Mapping[str, str]) -> tuple[tuple[Companion, ...], list[Finding]]:
    """The filters among the package's files, and what is wrong with them."""
    others = (FILTERS, "filters/__init__.py")
    companions = tuple(
        Companion(path, text)
        for path, text in texts.items()
        if path.startswith("filters/") and path not in others
    )
    findings = [finding for companion in companions for finding in _refusals(companion)]
    if companions and NAME not in _assigned(texts.get(FILTERS, "")):
        remedy = f"let {FILTERS} read the files beside it into {NAME}: dict[str, str]"
        findings.append(
            Finding(FILTERS, 1, "filters without a module that gives their text", remedy)
        )
    return companions, findings


def sources_module(text: str, companions: tuple[Companion, ...]) -> str:
    """What stands in the bundle in place of `filters/sources.py`."""
    docstring = ast.get_docstring(ast.parse(text)) or "The text of the companion filters."
    lines = [f'"""{docstring}\n"""' if "\n" in docstring else f'"""{docstring}"""', ""]
    lines += ["from __future__ import annotations", "", f"{NAME}: dict[str, str] = {{"]
    lines += [f'    "{companion.key}": {literal(companion.text)},' for companion in companions]
    return "\n".join([*lines, "}", ""])


def literal(text: str) -> str:
    """A raw string literal that holds `text` line for line, so that people can read it."""
    return f"r'''{text}'''"


def opening(companion: Companion) -> str:
    """The line of the bundle that holds the first line of the filter."""
    return f'    "{companion.key}": {literal(companion.text)}'.split("\n", maxsplit=1)[0]


def _assigned(text: str) -> set[str]:
    targets: list[ast.expr] = []
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
        elif isinstance(statement, ast.Assign):
            targets.extend(statement.targets)
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _refusals(companion: Companion) -> Iterator[Finding]:
    path, text = companion.path, companion.text
    if text.split("\n", maxsplit=1)[0].strip() != '"""':
        yield Finding(
            path,
            1,
            "a filter's first line is not exactly three quotes",
            "begin with its frontmatter",
        )
    if not text.endswith("\n"):
        yield Finding(
            path, text.count("\n") + 1, "a filter without a last newline", "end the file with one"
        )
    for number, line in enumerate(text.split("\n"), start=1):
        if "'''" in line:
            yield Finding(path, number, "''' inside an embedded filter", 'write """ instead')
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        yield Finding(path, error.lineno or 1, f"syntax error: {error.msg}", "mend it")
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield Finding(
                path, node.lineno, "a filter that imports from the package", "let it stand alone"
            )
