"""Which names a text binds at top level, and which it reads from there."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .imports import Import, Place, is_type_checking
from .package import Module

BUILTINS = frozenset(dir(builtins))
MODULE_ATTRIBUTES = frozenset({"__name__", "__doc__", "__file__", "__path__"})


@dataclass(frozen=True, slots=True)
class Binding:
    """A top-level name: defined in the module, or imported with a `meaning` from outside."""

    name: str
    path: str
    line: int
    meaning: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}:{self.line}"


def definitions(module: Module) -> dict[str, list[Binding]]:
    """The names the module defines itself at top level, optional imports included, with places.

    Overloads count once, and so do the branches of an optional import: they are one definition.
    """
    found: dict[str, list[Binding]] = defaultdict(list)
    for statement in module.tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom) or is_type_checking(statement):
            continue
        for name, line in dict(reversed([*_stored(statement)])).items():
            if not (found[name] and _is_overload(module, found[name][-1].line)):
                found[name].append(Binding(name, module.path, line))
    found.pop("__all__", None)
    return dict(found)


def outside_imports(imports: Iterable[Import]) -> Iterator[Binding]:
    """The names a module imports from outside for all its lines; optional ones are definitions."""
    for imported in imports:
        if (
            not imported.own
            and imported.place in (Place.TOP, Place.TYPES)
            and imported.source != "__future__"
        ):
            yield Binding(imported.bound, imported.path, imported.line, imported.meaning)


def _stored(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The names that a statement binds where it stands, not those of scopes inside it."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, node.lineno
        return
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id, node.lineno
    if isinstance(node, ast.alias):
        yield node.asname or node.name.split(".", maxsplit=1)[0], node.lineno
    for child in ast.iter_child_nodes(node):
        yield from _stored(child)


def _is_overload(module: Module, line: int) -> bool:
    for statement in module.tree.body:
        if (
            isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef)
            and statement.lineno == line
        ):
            return any(ast.unparse(d).endswith("overload") for d in statement.decorator_list)
    return False


def free_names(text: str, path: str) -> set[str]:
    """The names that the text reads from its module's namespace without binding them there.

    Annotations do not count: they are never evaluated where they stand.
    """
    module = symtable.symtable(text, path, "exec")
    symbols = module.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    tables, read = [module], set[str]()
    while tables:
        table = tables.pop()
        tables += table.get_children()
        read |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and s.is_global()}
    return read - bound - BUILTINS - MODULE_ATTRIBUTES
