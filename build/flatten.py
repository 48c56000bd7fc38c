"""One module in the flat file: verbatim, without its docstring, imports and `__all__`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import libcst as cst
import libcst.matchers as m
from libcst.metadata import MetadataWrapper, WhitespaceInclusivePositionProvider

from .companions import FILTERS, Companion, opening
from .package import Module, Package

ALL = m.Name("__all__")
TYPE_CHECKING = m.Name("TYPE_CHECKING")
DROPPED = m.OneOf(
    m.SimpleStatementLine(body=[m.OneOf(m.Import(), m.ImportFrom())]),
    m.SimpleStatementLine(body=[m.Assign(targets=[m.AssignTarget(target=ALL)])]),
    m.SimpleStatementLine(body=[m.AnnAssign(target=ALL)]),
    m.If(test=m.OneOf(TYPE_CHECKING, m.Attribute(attr=TYPE_CHECKING))),
)
DOCSTRING = m.SimpleStatementLine(body=[m.Expr(value=m.SimpleString() | m.ConcatenatedString())])


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive lines of one source file; without a path they are the bundler's own."""

    path: str
    first_line: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """One module in the flat file."""

    module: Module
    pieces: tuple[Piece, ...]


def flatten(package: Package, order: Sequence[Module]) -> list[Section]:
    """The modules' sections in the given order."""
    return [Section(module, _section(package, module)) for module in order]


def _section(package: Package, module: Module) -> tuple[Piece, ...]:
    pieces = tuple(_pieces(module))
    if module.path == FILTERS and package.companions:
        pieces = tuple(part for piece in pieces for part in _filters(piece, package.companions))
    return _without_blank_edges(pieces)


def _pieces(module: Module) -> Iterator[Piece]:
    """The lines that stay, each run of them with the source line where it begins."""
    wrapper = MetadataWrapper(cst.parse_module(module.text), unsafe_skip_copy=True)
    starts = wrapper.resolve(WhitespaceInclusivePositionProvider)
    tree = wrapper.module
    yield from _comments(module.path, 1, tree.header)
    for number, statement in enumerate(tree.body):
        first = starts[statement].start.line
        if m.matches(statement, DROPPED) or (number == 0 and m.matches(statement, DOCSTRING)):
            yield from _comments(module.path, first, getattr(statement, "leading_lines", ()))
        else:
            lines = tree.code_for_node(statement).splitlines()
            yield Piece(module.path, first, tuple(lines))
    if any(line.comment for line in tree.footer):
        lines = [line.comment.value if line.comment else "" for line in tree.footer]
        yield Piece(module.path, module.text.count("\n") + 1 - len(lines), tuple(lines))


def _comments(path: str, first: int, lines: Sequence[cst.EmptyLine]) -> Iterator[Piece]:
    """The comments among the empty lines, so that no word a person wrote is lost."""
    for number, line in enumerate(lines, start=first):
        if line.comment:
            yield Piece(path, number, (line.comment.value,))


def _filters(piece: Piece, companions: Sequence[Companion]) -> Iterator[Piece]:
    """The embedded filters' lines belong to their own files; what is around them, to nobody."""
    done = 0
    for companion in companions:
        first = piece.lines.index(opening(companion)) + 1
        end = first + len(companion.text.splitlines()) - 1
        yield Piece("", 0, piece.lines[done:first])
        yield Piece(companion.path, 2, piece.lines[first:end])
        done = end
    yield Piece("", 0, piece.lines[done:])


def _without_blank_edges(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """The pieces without blank lines at both ends: the banners set their own."""
    kept = [piece for piece in pieces if any(line.strip() for line in piece.lines)]
    if not kept:
        return ()
    first = kept[0]
    blank = next(number for number, line in enumerate(first.lines) if line.strip())
    kept[0] = Piece(first.path, first.first_line + blank, first.lines[blank:])
    last = kept[-1]
    lines = list(last.lines)
    while not lines[-1].strip():
        lines.pop()
    kept[-1] = Piece(last.path, last.first_line, tuple(lines))
    return tuple(kept)
