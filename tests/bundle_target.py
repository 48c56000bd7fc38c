"""The package as the bundle holds it: an import hook that answers with the flat file's names.

A test imports `open_webui_openrouter_pipe.core.errors` and gets a view of the one flat module, with
exactly the names that `core/errors.py` defines. What a test sets on the view is set there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType

import pytest

from build.builder import build
from build.companions import NAME
from build.config import Config, read_config
from build.findings import Refused
from build.host import load_as_open_webui
from build.names import definitions
from build.package import Package, read_package


class View(ModuleType):
    """One source module; `view` gives it a property for each of its names."""

    names: frozenset[str] = frozenset()

    def __dir__(self) -> list[str]:
        return sorted(self.names)


def view(fullname: str, flat: ModuleType, names: frozenset[str]) -> View:
    """A module that reads and writes these names of the flat module, and has no others."""
    forwarded = {name: _forwarded(flat, name) for name in names}
    return type("View", (View,), {"names": names, **forwarded})(fullname)


def _forwarded(flat: ModuleType, name: str) -> property:
    return property(
        lambda _: getattr(flat, name),
        lambda _, value: setattr(flat, name, value),
        lambda _: delattr(flat, name),
    )


class BundleFinder(MetaPathFinder, Loader):
    """Answers every import of the package and of the modules in it."""

    def __init__(self, package: Package, flat: ModuleType) -> None:
        self.flat = flat
        self.modules = _modules(package)
        self.folders = _folders(package)
        self.filters = {
            f"{package.name}.filters.{companion.key}": companion.key
            for companion in package.companions
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname in self.folders:
            return ModuleSpec(fullname, self, is_package=True)
        if fullname in self.modules or fullname in self.filters:
            return ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        if spec.name in self.filters:
            return ModuleType(spec.name)
        return view(spec.name, self.flat, self.modules.get(spec.name, frozenset()))

    def exec_module(self, module: ModuleType) -> None:
        """A filter is run from its embedded text; everything else has been loaded with the file."""
        if module.__name__ in self.filters:
            text = getattr(self.flat, NAME)[self.filters[module.__name__]]
            exec(compile(text, f"<{module.__name__}>", "exec"), module.__dict__)


def answer_from_bundle(root: Path) -> BundleFinder:
    """Load the bundle of this project once and answer all imports of its package from it."""
    config = read_config(root)
    finder = BundleFinder(read_package(config.package_path), load_as_open_webui(_fresh(config)))
    sys.meta_path.insert(0, finder)
    return finder


def _fresh(config: Config) -> str:
    """The bundle on disk, which must be what the source builds."""
    try:
        text = build(config).bundle.text
    except Refused as refused:
        raise pytest.UsageError(f"the source cannot be bundled:\n{refused}") from refused
    path = config.output_path
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        raise pytest.UsageError(f"{config.output} is not what the source builds: make bundle")
    return text


def _modules(package: Package) -> Mapping[str, frozenset[str]]:
    return {
        f"{package.name}.{name}": frozenset(definitions(module))
        for name, module in package.modules.items()
    }


def _folders(package: Package) -> frozenset[str]:
    """The package and every folder in it."""
    files = [*(m.path for m in package.modules.values()), *(c.path for c in package.companions)]
    inside = {parent.as_posix() for path in files for parent in PurePosixPath(path).parents}
    inside |= set(package.rooms)
    dotted = (f"{package.name}.{folder.replace('/', '.')}" for folder in inside)
    return frozenset(name.removesuffix("..") for name in dotted)
