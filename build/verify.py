"""The proof before writing: the text compiles, loads in Open WebUI's way, and keeps its word."""

from __future__ import annotations

import ast
import asyncio
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

from .config import Config
from .findings import Finding
from .host import load_as_open_webui, read_frontmatter, replace_imports
from .names import free_names
from .write import Bundle

VERSIONS = ("3.11", "3.12")
COMPILE = "import sys; compile(sys.stdin.buffer.read(), 'pipe.py', 'exec', dont_inherit=True)"
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def problems(config: Config, bundle: Bundle) -> list[Finding]:
    """Everything that is wrong with the finished text."""
    found = [*_text_problems(config, bundle), *_line_problems(config, bundle)]
    found += _compile_problems(config, bundle.text)
    found = found or list(_pipe_problems(config, bundle.text))
    return found or list(_load_problems(config, bundle.text))


def _text_problems(config: Config, bundle: Bundle) -> Iterator[Finding]:
    text = bundle.text
    if read_frontmatter(text) != dict(config.frontmatter):
        yield _at(config, 1, "Open WebUI would read another frontmatter", "mend pyproject.toml")
    if replace_imports(text) != text:
        line = next(n for n, row in enumerate(text.split("\n"), 1) if replace_imports(row) != row)
        yield _at(config, line, "Open WebUI would rewrite this line", "say it in other words")
    kilobytes = len(text.encode()) / 1024
    if kilobytes > config.max_kilobytes:
        problem = f"{kilobytes:.0f} KB are more than the {config.max_kilobytes} allowed"
        yield _at(config, 1, problem, "look at --report and take something out")


def _line_problems(config: Config, bundle: Bundle) -> Iterator[Finding]:
    """Every mapped line is the source's line, character for character."""
    lines = bundle.text.split("\n")
    for path, spans in bundle.spans.items():
        source = bundle.sources[path].split("\n")
        for here, there, count in spans:
            if lines[here - 1 : here - 1 + count] != source[there - 1 : there - 1 + count]:
                problem = f"these {count} lines are not {path} from line {there}"
                yield _at(config, here, problem, "this is a fault of build/flatten.py")


def _compile_problems(config: Config, text: str) -> Iterator[Finding]:
    for version, python in pythons().items():
        done = subprocess.run(
            [python, "-I", "-c", COMPILE], input=text.encode(), capture_output=True, check=False
        )
        if done.returncode:
            said = done.stderr.decode().strip().split("\n")[-1]
            yield _at(config, 1, f"Python {version} does not compile it: {said}", "mend the source")


def _load_problems(config: Config, text: str) -> Iterator[Finding]:
    for name in sorted(free_names(text, config.output)):
        yield _at(config, 1, f"{name} is used and nowhere bound", "import or define it")
    try:
        module = load_as_open_webui(text)
        asyncio.run(_construct(module))
    except Exception as error:  # noqa: BLE001 - whatever the load raises is the finding
        problem = f"loading raises {type(error).__name__}: {error}"
        yield _at(config, _raised_at(error), problem, "mend the source")
        return
    for name, value in vars(module).items():
        ours = getattr(value, "__module__", "") == module.__name__
        if ours and getattr(value, "__pydantic_complete__", True) is False:
            remedy = "let its fields' types be imported when the file is loaded"
            yield _at(config, 1, f"the pydantic model {name} is not complete", remedy)
    del sys.modules[module.__name__]


async def _construct(module: ModuleType) -> None:
    """Open WebUI constructs `Pipe` without arguments on its running event loop."""
    module.Pipe()


def _pipe_problems(config: Config, text: str) -> Iterator[Finding]:
    """Open WebUI looks for `Pipe`, and its settings form for `class Valves` inside it."""
    classes = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    if "Pipe" not in classes:
        yield _at(config, 1, "no class Pipe", "define it in pipe.py")
        return
    body = classes["Pipe"].body
    statements = {n.name for n in body if isinstance(n, ast.ClassDef)}
    assigned = {ast.unparse(t) for n in body if isinstance(n, ast.Assign) for t in n.targets}
    for name in ("Valves", *sorted(assigned & {"UserValves"})):
        if name not in statements:
            line, remedy = classes["Pipe"].lineno, "write it as a class statement there"
            yield _at(config, line, f"no class {name} inside Pipe", remedy)


def _raised_at(error: BaseException) -> int:
    line, trace = 1, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == "<string>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@cache
def pythons() -> dict[str, str]:
    """The interpreters present, one per version that Open WebUI runs on."""
    found: dict[str, str] = {}
    for candidate in _candidates():
        done = subprocess.run([candidate, "-I", "-c", VERSION], capture_output=True, check=False)
        version = done.stdout.decode().strip()
        if not done.returncode and version in VERSIONS:
            found.setdefault(version, candidate)
    return dict(sorted(found.items()))


def _candidates() -> Iterator[str]:
    yield sys.executable
    for version in VERSIONS:
        on_path = shutil.which(f"python{version}")
        yield from [on_path] if on_path else []
    for version in VERSIONS:
        installed = Path.home().glob(f".pyenv/versions/{version}*/bin/python{version}")
        yield from (str(path) for path in sorted(installed))


def _at(config: Config, line: int, problem: str, remedy: str) -> Finding:
    return Finding(config.output, line, problem, remedy)
