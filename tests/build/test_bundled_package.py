"""A bundled package behaves as the package, whatever imports what."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType

from hypothesis import given, settings
from hypothesis import strategies as st

from build.builder import build
from build.host import load_as_open_webui
from tests.build.conftest import write_project

FOLDERS = ("", "core/", "api/", "api/gateway/", "tools/")


@st.composite
def packages(draw: st.DrawFn) -> dict[str, str]:
    """Modules in any folders; each computes with names of some that were drawn before it."""
    files: dict[str, str] = {}
    homes: dict[str, str] = {}
    for number in range(draw(st.integers(1, 6))):
        folder = draw(st.sampled_from(FOLDERS))
        letter = draw(st.sampled_from("abcxyz"))
        path = f"{folder}{letter}{number}.py"
        used = draw(st.lists(st.sampled_from(sorted(homes)), unique=True)) if homes else []
        lines = [f"from {relative(path, homes[name])} import {name}" for name in used]
        if draw(st.booleans()):
            lines += ["import struct", "from decimal import Decimal as Exact"]
            total = f"int(Exact({draw(st.integers(-9, 9))})) + struct.calcsize('i')"
        else:
            total = str(draw(st.integers(-9, 9)))
        calls = "".join(f" + {name}" if name.isupper() else f" + {name}(1)" for name in used)
        lines += [
            "",
            f"CONSTANT{number} = {draw(st.integers(-9, 9))}{calls}",
            "",
            f"def function{number}(value):",
            draw(st.sampled_from(["", "    # a comment", '    """A docstring."""'])),
            f"    return value * 3 + {total} + CONSTANT{number}{calls}",
        ]
        names = (f"CONSTANT{number}", f"function{number}")
        homes.update(dict.fromkeys(names, path))
        files[path] = "\n".join([*lines, ""])
    return files


def relative(path: str, other: str) -> str:
    """How the module at `path` names the module at `other`."""
    ups = "." * (path.count("/") + 1)
    return ups + other.removesuffix(".py").replace("/", ".")


def values(module: ModuleType, names: list[str]) -> list[object]:
    found = [getattr(module, name) for name in names]
    return [value(7) if callable(value) else value for value in found]


def as_modules(folder: Path, files: dict[str, str]) -> dict[str, ModuleType]:
    """The package imported the ordinary way, and forgotten again."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return {
            path: importlib.import_module("small." + path.removesuffix(".py").replace("/", "."))
            for path in files
        }
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "small"]:
            del sys.modules[name]


@settings(max_examples=40, deadline=None)
@given(packages())
def test_the_bundle_computes_what_the_modules_compute(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = write_project(Path(folder), files)
        flat = load_as_open_webui(build(config).bundle.text)
        modules = as_modules(config.package_path.parent, files)
    del sys.modules[flat.__name__]
    for module in modules.values():
        own = [name for name in vars(module) if name.startswith(("CONSTANT", "function"))]
        assert values(flat, own) == values(module, own)
