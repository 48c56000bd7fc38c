"""The source as the bundler sees it: modules, each with its text and its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .companions import FILTERS, Companion, read_companions, sources_module
from .findings import Finding, Refused, refuse_if_any


@dataclass(frozen=True, slots=True)
class Module:
    """One source file; `path` is relative to the package, `name` is what an import says."""

    path: str
    text: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".")

    @property
    def room(self) -> str:
        return self.name.split(".", maxsplit=1)[0]

    @property
    def docstring(self) -> str:
        return ast.get_docstring(self.tree) or ""


@dataclass(frozen=True, slots=True)
class Package:
    """The modules that are flattened, by name; each folder's sentence; the embedded filters."""

    name: str
    modules: dict[str, Module]
    rooms: dict[str, str]
    companions: tuple[Companion, ...] = ()

    @property
    def sources(self) -> dict[str, str]:
        """The text of every file whose lines go into the bundle, by path."""
        files = [*self.modules.values(), *self.companions]
        return {file.path: file.text for file in files}


def read_package(folder: Path) -> Package:
    """Read every module below `folder`, in the order of their paths on every machine."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    texts = {path: (folder / path).read_text(encoding="utf-8") for path in paths}
    companions, findings = read_companions(texts)
    refuse_if_any(findings)
    for companion in companions:
        del texts[companion.path]
    if companions:
        texts[FILTERS] = sources_module(texts[FILTERS], companions)
    modules = [_parse(path, text) for path, text in texts.items()]
    inits = [module for module in modules if module.path.endswith("__init__.py")]
    refuse_if_any(finding for module in inits for finding in _more_than_docstring(module))
    return Package(
        name=folder.name,
        modules={module.name: module for module in modules if module not in inits},
        rooms={str(Path(module.path).parent.as_posix()): module.docstring for module in inits},
        companions=companions,
    )


def _parse(path: str, text: str) -> Module:
    if not text.endswith("\n"):
        text += "\n"
    try:
        return Module(path, text, ast.parse(text))
    except SyntaxError as error:
        finding = Finding(path, error.lineno or 1, f"syntax error: {error.msg}", "mend it")
        raise Refused([finding]) from error


def _more_than_docstring(module: Module) -> Iterator[Finding]:
    for statement in module.tree.body:
        if not is_docstring(statement):
            problem = "an __init__.py that holds more than its docstring"
            yield Finding(module.path, statement.lineno, problem, "move the code into a module")


def is_docstring(statement: ast.stmt) -> bool:
    """Whether the statement is nothing but a string."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
