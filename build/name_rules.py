"""One namespace for all: where the names of two modules would meet in the flat file."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from .findings import Finding
from .imports import Imports
from .names import BUILTINS, Binding, definitions, free_names, outside_imports
from .package import Package

WRITTEN_BY_THE_BUNDLER = "BUNDLE_MAP"


def clashes(package: Package, imports: Imports) -> Iterator[Finding]:
    """A name that stands twice, equals an imported name, or is imported with two meanings."""
    defined: dict[str, list[Binding]] = defaultdict(list)
    imported = _imported(imports)
    for module in package.modules.values():
        for places in definitions(module).values():
            defined[places[0].name] += places
    for name, places in defined.items():
        if name == WRITTEN_BY_THE_BUNDLER:
            yield _at(places[0], f"{name} is what the bundler itself writes", "choose another name")
        for again in places[1:]:
            yield _at(again, f"{name} stands already at {places[0].place}", "rename one of them")
        if name in imported:
            problem = f"{name} is also imported at {imported[name][0].place}"
            yield _at(places[0], problem, "rename the one of ours")
    yield from _two_meanings(imported)


def _imported(imports: Imports) -> dict[str, list[Binding]]:
    found: dict[str, list[Binding]] = defaultdict(list)
    for statements in imports.values():
        for binding in outside_imports(statements):
            found[binding.name].append(binding)
    return found


def _two_meanings(imported: dict[str, list[Binding]]) -> Iterator[Finding]:
    for name, places in imported.items():
        for other in places[1:]:
            if other.meaning != places[0].meaning:
                first = f"{places[0].meaning} at {places[0].place}"
                problem = f"{name} means {other.meaning} here and {first}"
                yield _at(other, problem, "give one of them another alias")


def shadowed_builtins(package: Package, imports: Imports) -> Iterator[Finding]:
    """A built-in that a top-level name or import would replace in every other module too."""
    for name, module in package.modules.items():
        bound = [places[0] for places in definitions(module).values()]
        for binding in [*bound, *outside_imports(imports[name])]:
            if binding.name in BUILTINS:
                yield _at(
                    binding,
                    f"{binding.name} hides the built-in in the whole flat file",
                    "rename it",
                )


def unbound_names(package: Package, imports: Imports) -> Iterator[Finding]:
    """A name that its own module does not bind.

    As a module it is a NameError; in the flat file it may silently be another module's name.
    """
    for module in package.modules.values():
        for missing in sorted(free_names(module.text, module.path)):
            problem = f"{missing} is used and nowhere bound in this module"
            yield Finding(
                module.path, _line_of(module.tree, missing), problem, "import or define it"
            )


def _line_of(tree: ast.AST, name: str) -> int:
    lines = [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == name
    ]
    return min(lines, default=1)


def module_parameters(package: Package, imports: Imports) -> Iterator[Finding]:
    """A parameter with the name of a module imported anywhere, whose attributes are read.

    Python reads the parameter in both forms. But in the flat file every module's imports are
    everybody's: whoever drops or renames that parameter gets the module instead of a NameError, and
    whoever reads `json.get(...)` there takes it for the module. A parameter of that name which is
    only passed on does no harm and is left alone; so are locals, which Python itself checks.
    """
    plain = {name: tuple(i for i in found if not i.item) for name, found in imports.items()}
    modules = _imported(plain)
    for module in package.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                for argument in _arguments(node.args):
                    name = argument.arg
                    if name in modules and _reads_attribute(node, name):
                        problem = (
                            f"the parameter {name} hides the module at {modules[name][0].place}"
                        )
                        yield Finding(module.path, argument.lineno, problem, "rename the parameter")


def _arguments(arguments: ast.arguments) -> Iterator[ast.arg]:
    yield from [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    yield from (argument for argument in (arguments.vararg, arguments.kwarg) if argument)


def _reads_attribute(function: ast.AST, name: str) -> bool:
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
        for node in ast.walk(function)
    )


def _at(binding: Binding, problem: str, remedy: str) -> Finding:
    return Finding(binding.path, binding.line, problem, remedy)
