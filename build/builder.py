"""A whole build: from the project file to the text of the bundle, or a refusal."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from .config import Config
from .findings import Finding, Refused, refuse_if_any
from .flatten import Section, flatten
from .imports import package_imports
from .order import ordered, with_all_it_imports
from .package import read_package
from .rules import findings
from .verify import problems
from .write import MAP_NAME, Bundle, Content, write_bundle


@dataclass(frozen=True, slots=True)
class Build:
    """The bundle and the sections it is made of."""

    bundle: Bundle
    sections: list[Section]


def build(config: Config) -> Build:
    """Read the source and lay it out, unless a rule refuses it."""
    package = read_package(config.package_path)
    imports = package_imports(package)
    refuse_if_any(findings(package, imports))
    program = with_all_it_imports(config.program, imports)
    order = ordered(package, imports, config.floors)
    order.sort(key=lambda module: module.name not in program)
    sections = flatten(package, order)
    everything = [imported for module in imports.values() for imported in module]
    content = Content(config, package, sections, everything, frozenset(program))
    return Build(write_bundle(content), sections)


def verified_build(config: Config) -> Build:
    """Build twice, compare, and prove that the text is what Open WebUI needs."""
    first, second = build(config), build(config)
    if first.bundle.text != second.bundle.text:
        problem = "two builds of the same source differ"
        raise Refused([Finding(config.output, 1, problem, "this is a fault of build/")])
    refuse_if_any(problems(config, first.bundle))
    return first


def where(config: Config, line: int) -> str:
    """The source file and line that stand at `line` of the bundle as it lies on disk."""
    text = config.output_path.read_text(encoding="utf-8")
    for path, spans in written_map(text).items():
        for here, there, count in spans:
            if here <= line < here + count:
                return f"{Path(config.package) / path}:{there + line - here}"
    return "written by the bundler"


def written_map(text: str) -> dict[str, tuple[tuple[int, int, int], ...]]:
    """The line map that a bundle carries."""
    for statement in ast.parse(text).body:
        if isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == MAP_NAME:
            return ast.literal_eval(statement.value) if statement.value else {}
    return {}
