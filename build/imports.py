"""Every import statement of a module: what it brings in, under which name, and where it stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from .package import Module, Package

IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError"})


class Place(Enum):
    """Where an import stands; the flat file treats each differently."""

    TOP = "top level"
    OPTIONAL = "inside a try"
    TYPES = "under TYPE_CHECKING"
    LATE = "inside a function or class"


@dataclass(frozen=True, slots=True)
class Import:
    """One name that one import statement binds.

    `source` is the module it comes from, for our own modules relative to the package; `item` is
    None for `import source`.
    """

    path: str
    line: int
    source: str
    item: str | None
    alias: str | None
    place: Place
    own: bool
    relative: bool

    @property
    def bound(self) -> str:
        if self.alias:
            return self.alias
        return self.item if self.item else self.source.split(".", maxsplit=1)[0]

    @property
    def meaning(self) -> str:
        """What the bound name stands for; `import a.b` and `import a` both bind the module `a`."""
        if self.item:
            return f"{self.source}.{self.item}"
        return self.source if self.alias else self.bound


Imports = Mapping[str, tuple[Import, ...]]
"""The imports of every module, by module name."""


def package_imports(package: Package) -> Imports:
    """The imports of every module, by module name."""
    return {
        name: tuple(module_imports(module, package.name))
        for name, module in package.modules.items()
    }


def module_imports(module: Module, package: str) -> Iterator[Import]:
    """The imports of one module, wherever in it they stand."""
    for statement, place in _placed(module.tree.body):
        for alias in statement.names:
            yield _record(module, package, (statement, alias), place)


def is_type_checking(statement: ast.stmt) -> bool:
    """Whether this is `if TYPE_CHECKING:` or `if typing.TYPE_CHECKING:`."""
    if not isinstance(statement, ast.If):
        return False
    test = statement.test
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def is_optional_import(statement: ast.stmt) -> bool:
    """Whether this is a `try` that falls back when an import fails."""
    if not isinstance(statement, ast.Try):
        return False
    caught = {
        name.id for handler in statement.handlers if handler.type for name in _names(handler.type)
    }
    return bool(caught & IMPORT_ERRORS)


def _names(node: ast.AST) -> Iterator[ast.Name]:
    return (child for child in ast.walk(node) if isinstance(child, ast.Name))


def _placed(body: list[ast.stmt]) -> Iterator[tuple[ast.Import | ast.ImportFrom, Place]]:
    for statement in body:
        place = _place_inside(statement)
        for node in ast.walk(statement):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield node, Place.TOP if node is statement else place


def _place_inside(statement: ast.stmt) -> Place:
    if is_type_checking(statement):
        return Place.TYPES
    return Place.OPTIONAL if is_optional_import(statement) else Place.LATE


def _record(
    module: Module,
    package: str,
    imported: tuple[ast.Import | ast.ImportFrom, ast.alias],
    place: Place,
) -> Import:
    statement, alias = imported
    if isinstance(statement, ast.Import):
        source, item, level = alias.name, None, 0
    else:
        level, item = statement.level, alias.name
        source = (
            _resolve(module, level, statement.module or "") if level else statement.module or ""
        )
    return Import(
        path=module.path,
        line=statement.lineno,
        source=source,
        item=item,
        alias=alias.asname,
        place=place,
        own=bool(level) or source.split(".", maxsplit=1)[0] == package,
        relative=bool(level),
    )


def _resolve(module: Module, level: int, source: str) -> str:
    """The dotted name inside the package; an empty first part marks a climb out of the package."""
    parts = module.name.split(".")
    if level > len(parts):
        return f".{source}"
    base = parts[: len(parts) - level]
    return ".".join([*base, source] if source else base)
