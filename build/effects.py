"""What runs when the file is loaded: only calls that are known to do nothing but make a value.

Open WebUI loads the file on its event loop, possibly several times, and switches the function off
when loading raises. So a call that stands outside function bodies must be in the table below, or be
one of our own functions and classes: those are followed, and what they call is judged by the same
table. Methods of values (`"a b".split()`) pass.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from .findings import Finding
from .imports import Imports, is_type_checking
from .names import definitions
from .package import Module, Package

HARMLESS = {
    "abc": "abstractmethod",
    "base64": "b64decode b64encode urlsafe_b64decode urlsafe_b64encode",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "contextlib": "asynccontextmanager contextmanager nullcontext",
    "contextvars": "ContextVar",
    "dataclasses": "dataclass field fields replace",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Context Decimal",
    "enum": "auto unique",
    "fractions": "Fraction",
    "functools": "cache cached_property lru_cache partial reduce total_ordering wraps",
    "hashlib": "sha256",
    "httpx": "Headers Limits Timeout URL",
    "inspect": "isasyncgenfunction iscoroutinefunction signature",
    "ipaddress": "ip_address ip_network",
    "itertools": "chain count product",
    "json": "dumps loads",
    "operator": "attrgetter itemgetter methodcaller",
    "orjson": "dumps loads",
    "pathlib": "PurePosixPath",
    "pydantic": (
        "AfterValidator AliasChoices BeforeValidator ConfigDict Discriminator Field PlainSerializer"
        " PrivateAttr SecretStr StringConstraints Tag TypeAdapter WithJsonSchema computed_field"
        " create_model field_serializer field_validator model_serializer model_validator"
    ),
    "re": "compile escape",
    "sqlalchemy": (
        "BigInteger Boolean CheckConstraint Column Date DateTime Float ForeignKey Index Integer"
        " JSON LargeBinary MetaData Numeric PrimaryKeyConstraint SmallInteger String Table Text"
        " UniqueConstraint text"
    ),
    "string": "Template",
    "struct": "Struct calcsize",
    "types": "MappingProxyType SimpleNamespace",
    "typing": (
        "NamedTuple NewType ParamSpec TypeVar TypeVarTuple TypedDict cast dataclass_transform final"
        " get_args get_origin get_type_hints overload runtime_checkable"
    ),
    "urllib.parse": "quote urlsplit",
    "uuid": "UUID",
    "weakref": "WeakKeyDictionary WeakSet WeakValueDictionary",
}
HARMLESS_NAMES = frozenset(f"{m}.{name}" for m, names in HARMLESS.items() for name in names.split())
EFFECTIVE_BUILTINS = frozenset(
    ("__import__", "breakpoint", "compile", "delattr", "eval", "exec", "input", "open", "print")
)

REMEDY = "make it when it is first needed, or add it to build/effects.py if it only makes a value"
ENVIRONMENT = "os.environ"
CONSTRUCTORS = frozenset({"__init__", "__post_init__", "__new__"})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Owned:
    """One of our own functions or classes, and the module whose imports its body means."""

    module: Module
    node: ast.stmt


@dataclass(slots=True)
class Reader:
    """What one import of the package would run, followed through our own functions."""

    owned: Mapping[str, Owned]
    outside: Mapping[str, Mapping[str, str]]
    followed: set[str] = field(default_factory=set)

    def statement(self, module: Module, node: ast.stmt) -> Iterator[Finding]:
        """What this statement runs when it is executed once, at import."""
        for expression in _executed(node):
            yield from self.expression(module, expression)
        if isinstance(node, ast.ClassDef | ast.Try):
            for child in _bodies(node):
                yield from self.statement(module, child)
        for decorator in getattr(node, "decorator_list", ()):
            if not isinstance(decorator, ast.Call):
                yield from self.called(module, decorator, [])

    def expression(self, module: Module, expression: ast.AST) -> Iterator[Finding]:
        """The calls and environment reads in an expression, or in a function body that is run."""
        for node in _running(expression):
            if isinstance(node, ast.Call):
                yield from self.called(module, node.func, node.args)
            elif isinstance(node, ast.expr) and self.dotted(module, node) == ENVIRONMENT:
                yield Finding(module.path, node.lineno, "reads the environment at import", REMEDY)

    def called(
        self, module: Module, callee: ast.expr, arguments: list[ast.expr]
    ) -> Iterator[Finding]:
        """Judge one call by what is called."""
        name = self.dotted(module, callee)
        if name in self.owned:
            yield from self.follow(name)
        elif name.startswith(f"{ENVIRONMENT}."):
            return  # the read itself is the finding
        elif name == "logging.getLogger":
            if any(isinstance(a, ast.Name) and a.id == "__name__" for a in arguments):
                problem = "a logger named __name__ is another one at every load"
                yield Finding(module.path, callee.lineno, problem, "give it a constant name")
        elif name and name not in HARMLESS_NAMES and not _is_harmless_builtin(name):
            yield Finding(module.path, callee.lineno, f"{name}() runs at import", REMEDY)

    def follow(self, name: str) -> Iterator[Finding]:
        """Read one of our own functions, or a constructor of ours, as the import would run it."""
        if name in self.followed:
            return
        self.followed.add(name)
        owned = self.owned[name]
        for function in _run_when_called(owned.node):
            for child in function.body:
                yield from self.expression(owned.module, child)

    def dotted(self, module: Module, node: ast.AST) -> str:
        """The full name of what an expression names; empty when it is an attribute of a value."""
        match node:
            case ast.Name(id=name):
                outside = self.outside[module.name]
                if name in outside:
                    return outside[name]
                known = name in self.owned or hasattr(builtins, name)
                return name if known else ""
            case ast.Attribute(value=value, attr=attribute):
                base = self.dotted(module, value)
                return f"{base}.{attribute}" if base and self._is_outside(module, value) else ""
            case _:
                return ""

    def _is_outside(self, module: Module, node: ast.expr) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in self.outside[module.name]


def import_time_effects(package: Package, imports: Imports) -> Iterator[Finding]:
    """A call or an environment read at load that is not known to be harmless."""
    owned = {
        name: Owned(module, node)
        for module in package.modules.values()
        for node in module.tree.body
        for name in [getattr(node, "name", "")]
        if name in definitions(module)
    }
    outside = {
        name: {i.bound: i.meaning for i in found if not i.own} for name, found in imports.items()
    }
    reader = Reader(owned, outside)
    for module in package.modules.values():
        for statement in module.tree.body:
            if not is_type_checking(statement):
                yield from reader.statement(module, statement)


def _is_harmless_builtin(name: str) -> bool:
    return hasattr(builtins, name) and name not in EFFECTIVE_BUILTINS


def _executed(node: ast.stmt) -> Iterator[ast.AST]:
    """The expressions a statement evaluates where it stands; annotations never are."""
    if isinstance(node, FUNCTIONS):
        yield from node.decorator_list
        yield from (d for d in [*node.args.defaults, *node.args.kw_defaults] if d)
    elif isinstance(node, ast.ClassDef):
        yield from [
            *node.decorator_list,
            *node.bases,
            *(keyword.value for keyword in node.keywords),
        ]
    elif isinstance(node, ast.AnnAssign):
        yield from [node.value] if node.value else []
    elif not isinstance(node, ast.Try):
        yield node


def _bodies(node: ast.ClassDef | ast.Try) -> list[ast.stmt]:
    if isinstance(node, ast.ClassDef):
        return node.body
    return [
        *node.body,
        *(s for handler in node.handlers for s in handler.body),
        *node.orelse,
        *node.finalbody,
    ]


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all below it, without the bodies of functions that are only defined."""
    if isinstance(node, ast.Lambda):
        return
    yield node
    if isinstance(node, FUNCTIONS):
        children: list[ast.AST] = [*node.decorator_list]
    else:
        children = list(ast.iter_child_nodes(node))
    for child in children:
        yield from _running(child)


def _run_when_called(node: ast.stmt) -> Iterator[ast.FunctionDef]:
    if isinstance(node, ast.FunctionDef):
        yield node
    elif isinstance(node, ast.ClassDef):
        yield from (
            s for s in node.body if isinstance(s, ast.FunctionDef) and s.name in CONSTRUCTORS
        )
