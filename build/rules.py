"""What the source may not do because the flat file could not: each rule yields findings."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from .companions import FILTERS
from .effects import import_time_effects
from .findings import Finding
from .imports import Import, Imports, Place, is_optional_import, is_type_checking
from .name_rules import clashes, module_parameters, shadowed_builtins, unbound_names
from .names import definitions
from .package import Module, Package, is_docstring

Rule = Callable[[Package, Imports], Iterator[Finding]]

REPLACED_BY_THE_HOST = re.compile(r"from (?:utils|apps|main|config)")
"""Open WebUI puts its own name into these words wherever they stand, prose included."""

FILE_NAMES = frozenset({"__file__", "__path__", "__package__", "__spec__", "__loader__"})
FILE_READERS = frozenset({"getsource", "getsourcelines", "getsourcefile", "getfile"})
MODULE_HOOKS = frozenset({"__getattr__", "__dir__"})


def findings(package: Package, imports: Imports) -> list[Finding]:
    """Everything that keeps the package from being flattened."""
    return [finding for rule in RULES for finding in rule(package, imports)]


def own_imports(package: Package, imports: Imports) -> Iterator[Finding]:
    """Our modules import each other with a plain relative `from .x import name` at the top."""
    for imported in _all(imports):
        if imported.own:
            for problem, remedy in _own_import_problems(imported):
                yield Finding(imported.path, imported.line, problem, remedy)


def _own_import_problems(imported: Import) -> Iterator[tuple[str, str]]:
    if not imported.relative:
        yield "an absolute import of the package itself", "write it relative: from .x import name"
    if imported.place is not Place.TOP:
        yield f"an import of our own {imported.place.value}", "move it to the top of the module"
    if imported.alias:
        remedy = f"use the name {imported.item} itself"
        yield f"our own {imported.item} under the alias {imported.alias}", remedy


def missing_imports(package: Package, imports: Imports) -> Iterator[Finding]:
    """A relative import names a module of the package and a name that this module defines."""
    defined = {name: definitions(module) for name, module in package.modules.items()}
    home = {item: name for name, items in defined.items() for item in items}
    for imported in _all(imports):
        if not imported.relative or imported.item in (None, "*"):
            continue
        if imported.source not in defined:
            remedy = "import a name from a module: from .module import name"
            problem = f"{imported.source or 'the package'} is no module of the package"
            yield Finding(imported.path, imported.line, problem, remedy)
        elif imported.item not in defined[imported.source]:
            where = home.get(imported.item or "")
            remedy = f"import it from {where}" if where else "define it there or mend the name"
            problem = f"{imported.source} does not define {imported.item}"
            yield Finding(imported.path, imported.line, problem, remedy)


def star_imports(package: Package, imports: Imports) -> Iterator[Finding]:
    """A star hides which names come in."""
    for imported in _all(imports):
        if imported.item == "*":
            yield Finding(imported.path, imported.line, "a star import", "name what is imported")


def future_import(package: Package, imports: Imports) -> Iterator[Finding]:
    """The flat file postpones annotations for all modules, and has no other future for any."""
    for name, module in package.modules.items():
        futures = [i for i in imports[name] if i.source == "__future__"]
        if not any(i.item == "annotations" for i in futures) and _has_code(module):
            problem = "no `from __future__ import annotations`"
            yield Finding(module.path, 1, problem, "write it above the other imports")
        for imported in futures:
            if imported.item != "annotations":
                problem = f"__future__.{imported.item} would hold for the whole flat file"
                yield Finding(module.path, imported.line, problem, "do without it")


def _has_code(module: Module) -> bool:
    return not all(is_docstring(statement) for statement in module.tree.body)


def file_and_kin(package: Package, imports: Imports) -> Iterator[Finding]:
    """What asks for a file, a package or a module hook: the host gives the text neither."""
    for module in package.modules.values():
        for node in ast.walk(module.tree):
            name = _file_word(node)
            if name:
                remedy = "do without it: Open WebUI executes a string"
                yield Finding(
                    module.path, getattr(node, "lineno", 1), f"{name} has no meaning there", remedy
                )
        for statement in module.tree.body:
            hook = getattr(statement, "name", "")
            if hook in MODULE_HOOKS:
                remedy = "name what the module offers"
                yield Finding(module.path, statement.lineno, f"a module-level {hook}", remedy)


def _file_word(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) if name in FILE_NAMES:
            return name
        case ast.Attribute(attr=name, value=ast.Name(id="inspect")) if name in FILE_READERS:
            return f"inspect.{name}"
        case ast.Attribute(attr="resources", value=ast.Name(id="importlib")):
            return "importlib.resources"
        case ast.Import(names=names) if any(
            n.name.startswith("importlib.resources") for n in names
        ):
            return "importlib.resources"
        case ast.ImportFrom(module=str() as source, names=names):
            return _file_import(source, {name.name for name in names})
        case _:
            return ""


def _file_import(source: str, names: set[str]) -> str:
    if source.startswith("importlib.resources") or (source == "importlib" and "resources" in names):
        return "importlib.resources"
    readers = sorted(names & FILE_READERS) if source == "inspect" else []
    return f"inspect.{readers[0]}" if readers else ""


def statement_kinds(package: Package, imports: Imports) -> Iterator[Finding]:
    """At module level stand definitions, constants and imports; anything else runs at load."""
    for module in package.modules.values():
        for statement in module.tree.body:
            problem = _statement_problem(statement)
            if problem:
                yield Finding(module.path, statement.lineno, *problem)


def _statement_problem(statement: ast.stmt) -> tuple[str, str] | None:
    if is_docstring(statement) or isinstance(statement, DEFINING):
        return None
    if isinstance(statement, ast.If) and is_type_checking(statement):
        inside = [*statement.body, *(statement.orelse and [statement])]
        if all(isinstance(s, ast.Import | ast.ImportFrom) for s in inside):
            return None
        return "TYPE_CHECKING with more than imports", "keep only the imports in it"
    if is_optional_import(statement):
        return None
    if isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test):
        return 'an `if __name__ == "__main__"`', "move the command line out of the package"
    kind = type(statement).__name__.lower()
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        kind = f"call of {ast.unparse(statement.value.func)}"
    return (
        f"a module-level {kind} runs at import",
        "move it into a function that is called when it is needed",
    )


DEFINING = (
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
    ast.Assign,
    ast.AnnAssign,
    ast.Import,
    ast.ImportFrom,
)


def type_checking_inside(package: Package, imports: Imports) -> Iterator[Finding]:
    """TYPE_CHECKING guards imports at the top and nothing else, so that the bundle can drop it."""
    for module in package.modules.values():
        guards = {
            id(statement.test) for statement in module.tree.body if isinstance(statement, ast.If)
        }
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Name) and node.id == "TYPE_CHECKING" and id(node) not in guards:
                problem = "TYPE_CHECKING used in another way than `if TYPE_CHECKING:` at top level"
                yield Finding(module.path, node.lineno, problem, "move it to the top of the module")


def hidden_names(package: Package, imports: Imports) -> Iterator[Finding]:
    """A name that is bound at top level where no one looks for it: it may meet another module's."""
    for module in package.modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Global):
                problem = f"a global statement for {', '.join(node.names)}"
                yield Finding(module.path, node.lineno, problem, "keep state in an object")
        for statement in module.tree.body:
            for handler in getattr(statement, "handlers", ()):
                if handler.name:
                    problem = f"the exception's name {handler.name} at top level"
                    yield Finding(module.path, handler.lineno, problem, "leave the name out")


def mixed_lines(package: Package, imports: Imports) -> Iterator[Finding]:
    """Imports are taken out line by line, so nothing else may share their line."""
    for module in package.modules.values():
        lines = [line for s in module.tree.body for line in {s.lineno, s.end_lineno or s.lineno}]
        for statement in module.tree.body:
            if lines.count(statement.lineno) > 1:
                yield Finding(
                    module.path, statement.lineno, "two statements on one line", "give each its own"
                )


def host_replacements(package: Package, imports: Imports) -> Iterator[Finding]:
    """Open WebUI rewrites these words blindly before it stores and before it runs the text."""
    for path, text in _texts(package):
        for number, line in enumerate(text.split("\n"), start=1):
            match = REPLACED_BY_THE_HOST.search(line)
            if match:
                problem = f"Open WebUI would rewrite the words {match.group()!r}"
                yield Finding(path, number, problem, "say it in other words")


def other_than_ascii(package: Package, imports: Imports) -> Iterator[Finding]:
    """Open WebUI reads the text from its database on every call: pure ASCII costs a quarter."""
    for path, text in _texts(package):
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.isascii():
                odd = next(letter for letter in line if not letter.isascii())
                problem = f"{odd!r} is not ASCII, and makes each read of the whole text slower"
                yield Finding(path, number, problem, f"write {odd!a} in a literal")


def _texts(package: Package) -> Iterator[tuple[str, str]]:
    for companion in package.companions:
        yield companion.path, companion.text
    for module in package.modules.values():
        if not (package.companions and module.path == FILTERS):
            yield module.path, module.text
    for folder, sentence in package.rooms.items():
        yield f"{folder}/__init__.py".removeprefix("./"), sentence


def _all(imports: Imports) -> Iterator[Import]:
    return (imported for module in imports.values() for imported in module)


RULES: tuple[Rule, ...] = (
    own_imports,
    missing_imports,
    star_imports,
    future_import,
    file_and_kin,
    statement_kinds,
    type_checking_inside,
    hidden_names,
    mixed_lines,
    host_replacements,
    other_than_ascii,
    import_time_effects,
    clashes,
    shadowed_builtins,
    unbound_names,
    module_parameters,
)
