"""The order of the flat file: what is imported comes first; then floors, then names."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from .findings import Finding, Refused
from .imports import Import, Imports
from .package import Module, Package


def ordered(
    package: Package, imports: Imports, floors: tuple[tuple[str, ...], ...]
) -> list[Module]:
    """The modules, each after all it imports; a room on no floor comes as late as it can."""
    floor_of = {room: number for number, rooms in enumerate(floors) for room in rooms}

    def key(name: str) -> tuple[int, str, str]:
        module = package.modules[name]
        return floor_of.get(module.room, len(floors)), module.room, module.path

    sorter = TopologicalSorter(
        {
            name: {i.source for i in imports[name] if i.own} & package.modules.keys()
            for name in package.modules
        }
    )
    try:
        sorter.prepare()
    except CycleError as error:
        raise Refused([_cycle(error.args[1], imports)]) from error
    ready: list[tuple[tuple[int, str, str], str]] = []
    order: list[Module] = []
    while sorter.is_active():
        for name in sorter.get_ready():
            heapq.heappush(ready, (key(name), name))
        _, name = heapq.heappop(ready)
        sorter.done(name)
        order.append(package.modules[name])
    return order


def with_all_it_imports(program: str, imports: Imports) -> set[str]:
    """The names of the modules that a program of the package needs: they stand first."""
    module = program.partition(":")[0]
    needed, unread = set[str](), [module] if module else []
    while unread:
        name = unread.pop()
        if name not in needed:
            if name not in imports:
                problem = f"the program {program} is in no module of the package"
                raise Refused([Finding("pyproject.toml", 1, problem, "write module:function")])
            needed.add(name)
            unread += [i.source for i in imports[name] if i.own and i.source in imports]
    return needed


def _cycle(names: list[str], imports: Imports) -> Finding:
    """One finding for the whole circle: each import in it, at the line where it stands."""
    steps = list(_steps(names, imports))
    shown = ", ".join(f"{step.path}:{step.line} imports {step.source}" for step in steps)
    remedy = "move what both need into a module of a lower floor"
    return Finding(steps[0].path, steps[0].line, f"an import cycle: {shown}", remedy)


def _steps(names: list[str], imports: Imports) -> Iterator[Import]:
    """Each module stands before the one that imports it; first and last are the same."""
    circle = names[:-1]
    start = circle.index(min(circle))
    circle = circle[start:] + circle[:start]
    for imported, importer in zip(circle, [*circle[1:], circle[0]], strict=True):
        yield next(i for i in imports[importer] if i.own and i.source == imported)
