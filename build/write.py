"""The flat file as text: frontmatter, contents, one import block, modules under banners, map."""

from __future__ import annotations

import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .config import Config
from .flatten import Piece, Section
from .imports import Import, Place
from .package import Module, Package

WIDTH = 100
WIDEST = 140
# Short, because Open WebUI reads the file on every call.
RULE = "#" * 32
PROGRAM_COMMENT = """\
# Started as a program, the file is only what stands above: the rest needs Open WebUI's packages."""
MAP_NAME = "BUNDLE_MAP"
MAP_COMMENT = """\
# Which source line stands where, for error messages: (here, there, count) in a file's entry says
# that `count` lines from line `here` of this file are the lines from `there` of that file."""

Span = tuple[int, int, int]


@dataclass(slots=True)
class Page:
    """The lines written so far, and which of them are whose."""

    lines: list[str] = field(default_factory=list)
    spans: dict[str, list[Span]] = field(default_factory=dict)

    def write(self, *texts: str) -> None:
        """Add lines of the bundler's own."""
        for text in texts:
            self.lines += text.split("\n")

    def place(self, piece: Piece) -> None:
        """Add lines of a source file and remember where they came from."""
        if piece.path:
            spans = self.spans.setdefault(piece.path, [])
            here, there, count = spans[-1] if spans else (0, 0, 0)
            start = len(self.lines) + 1
            if spans and here + count == start and there + count == piece.first_line:
                spans[-1] = (here, there, count + len(piece.lines))
            else:
                spans.append((start, piece.first_line, len(piece.lines)))
        self.lines += piece.lines


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be written."""

    config: Config
    package: Package
    sections: Sequence[Section]
    imports: Sequence[Import]
    program: frozenset[str] = frozenset()
    """The modules that a start as a program needs; they stand first."""

    @property
    def program_imports(self) -> list[Import]:
        """What that start needs from outside, and the whole standard library."""
        paths = {
            module.path for name, module in self.package.modules.items() if name in self.program
        }
        return [i for i in self.imports if i.path in paths or _is_standard(i)]


@dataclass(frozen=True, slots=True)
class Bundle:
    """The finished text, its map, each module's first line in it, and the text of the sources."""

    text: str
    spans: Mapping[str, Sequence[Span]]
    banners: Mapping[str, int]
    sources: Mapping[str, str]


def write_bundle(content: Content) -> Bundle:
    """Lay the sections out twice: the first time finds the line numbers for the contents."""
    draft = _lay_out(content, {})
    return _lay_out(content, draft.banners)


def _lay_out(content: Content, banners: Mapping[str, int]) -> Bundle:
    page = Page()
    page.write(frontmatter(content.config), "")
    page.write(RULE, *_contents(content, banners), RULE, "")
    first = content.program_imports if content.program else content.imports
    page.write("from __future__ import annotations", "", *import_block(first))
    placed: dict[str, int] = {}
    is_program = bool(content.program)
    for section in content.sections:
        if is_program and section.module.name not in content.program:
            is_program = False
            page.write(*_program_end(content))
        page.write("", "")
        placed[section.module.path] = len(page.lines) + 1
        page.write(RULE, *_banner(section.module), RULE)
        page.write(*([""] if section.pieces else []))
        for piece in section.pieces:
            page.place(piece)
    page.write("", "", RULE, MAP_COMMENT, RULE, "", *_map(page.spans))
    text = "\n".join(page.lines) + "\n"
    return Bundle(text, page.spans, placed, content.package.sources)


def _program_end(content: Content) -> Iterator[str]:
    """What runs the program, and the imports of everything below it."""
    function = content.config.program.partition(":")[2]
    yield from ["", "", RULE, PROGRAM_COMMENT, RULE, ""]
    yield from ['if __name__ == "__main__":', f"    raise SystemExit({function}())", ""]
    above = {(i.source, i.item, i.alias) for i in content.program_imports}
    yield from import_block(i for i in content.imports if (i.source, i.item, i.alias) not in above)


def frontmatter(config: Config) -> str:
    """The docstring that Open WebUI reads; nothing else may stand in it."""
    return "\n".join(['"""', *(f"{key}: {value}" for key, value in config.frontmatter), '"""'])


def _contents(content: Content, banners: Mapping[str, int]) -> Iterator[str]:
    config, rooms = content.config, content.package.rooms
    yield f"# {config.value('title')} {config.value('version')}, in one file."
    yield f"# bundle.py writes it from the modules in {config.package}: change it there."
    yield from ["#", "# Contents, by line"]
    room = ""
    for section in content.sections:
        module = section.module
        if module.room != room:
            room = module.room
            yield from ["#", *([_comment(f"{room}/  {rooms[room]}")] if room in rooms else [])]
        subject = module.docstring.split("\n", maxsplit=1)[0]
        name = module.path.removeprefix(f"{room}/")
        yield _comment(f"{banners.get(module.path, 0):>6}  {name:<28}  {subject}")


def _banner(module: Module) -> Iterator[str]:
    yield f"# {module.path}"
    if module.docstring:
        yield "#"
        yield from (f"# {line}".rstrip() for line in module.docstring.split("\n"))


def _comment(words: str) -> str:
    line = f"# {words}".rstrip()
    return line if len(line) <= WIDEST else f"{line[:WIDEST].rsplit(' ', maxsplit=1)[0]} ..."


def _map(spans: Mapping[str, Sequence[Span]]) -> Iterator[str]:
    yield f"{MAP_NAME}: dict[str, tuple[tuple[int, int, int], ...]] = {{"
    for path, entries in spans.items():
        entry = f'"{path}": {tuple(entries)},'
        yield from textwrap.wrap(
            entry, WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8, break_long_words=False
        )
    yield "}"


def import_block(imports: Iterable[Import]) -> Iterator[str]:
    """All imports from outside, each once: the standard library, then the rest, sorted."""
    outside = [
        i
        for i in imports
        if not i.own
        and i.place is Place.TOP
        and i.source != "__future__"
        and i.item != "TYPE_CHECKING"
    ]
    standard = [i for i in outside if _is_standard(i)]
    others = [i for i in outside if i not in standard]
    groups = [group for group in (standard, others) if group]
    for number, group in enumerate(groups):
        yield from [""] if number else []
        yield from _plain(group)
        yield from _from(group)


def _is_standard(i: Import) -> bool:
    return i.source.split(".", maxsplit=1)[0] in sys.stdlib_module_names


def _plain(imports: Iterable[Import]) -> list[str]:
    lines = {
        f"import {i.source}{f' as {i.alias}' if i.alias else ''}" for i in imports if not i.item
    }
    return sorted(lines, key=str.lower)


def _from(imports: Iterable[Import]) -> Iterator[str]:
    items: dict[str, set[str]] = defaultdict(set)
    for i in imports:
        if i.item:
            items[i.source].add(f"{i.item} as {i.alias}" if i.alias else i.item)
    for source in sorted(items, key=lambda name: (name.lower(), name)):
        names = sorted(items[source], key=lambda name: (name.lower(), name))
        line = f"from {source} import {', '.join(names)}"
        if len(line) <= WIDTH:
            yield line
        else:
            yield from [f"from {source} import (", *(f"    {name}," for name in names), ")"]
