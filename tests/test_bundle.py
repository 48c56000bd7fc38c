"""The committed bundle: up to date, safe to load twice, nothing in it for Open WebUI to rewrite."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from build.builder import build, written_map
from build.config import read_config
from build.host import load_as_open_webui, read_frontmatter, replace_imports
from open_webui_openrouter_pipe.storage.archive_file import write_archive
from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec

CONFIG = read_config(Path(__file__).resolve().parent.parent)
RUN_WITHOUT = """
import runpy, sys
missing, pipe, folder = sys.argv[1:]
sys.modules.update(dict.fromkeys(missing.split()))
sys.argv = [pipe, "unlock", folder]
runpy.run_path(pipe, run_name="__main__")
"""
MUTABLE = (dict, list, set, bytearray, ContextVar)


@pytest.fixture(scope="module")
def text() -> str:
    return CONFIG.output_path.read_text(encoding="utf-8")


@pytest.fixture
def two_copies(text: str) -> Iterator[tuple[ModuleType, ModuleType]]:
    copies = load_as_open_webui(text, "openrouter"), load_as_open_webui(text, "second")
    yield copies
    for copy in copies:
        del sys.modules[copy.__name__]


def test_the_committed_bundle_is_what_the_source_builds(text: str) -> None:
    assert build(CONFIG).bundle.text == text, "run: make bundle"


def test_open_webui_finds_the_frontmatter_and_nothing_to_install(text: str) -> None:
    assert text.split("\n", maxsplit=1)[0] == '"""'
    assert read_frontmatter(text) == dict(CONFIG.frontmatter)
    assert "requirements" not in read_frontmatter(text)


def test_open_webui_has_nothing_to_rewrite(text: str) -> None:
    assert replace_imports(text) == text


def test_the_settings_form_finds_its_class(text: str) -> None:
    classes = [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]
    (pipe,) = [n for n in classes if n.name == "Pipe"]
    assert "Valves" in {getattr(statement, "name", "") for statement in pipe.body}


def test_the_line_map_covers_every_module(text: str) -> None:
    sources = {path.relative_to(CONFIG.package_path).as_posix() for path in _modules_with_code()}
    assert sources <= set(written_map(text))


def test_the_file_is_small_enough_to_be_read_on_every_call(text: str) -> None:
    assert len(text.encode()) <= CONFIG.max_kilobytes * 1024


def test_as_a_program_it_reads_archives_without_what_open_webui_brings(tmp_path: Path) -> None:
    lines = [
        b'{"kind":"session","time":1,"seconds":1,"outcome":"finished","model":"a/one",'
        b'"user_id":"u","chat_id":"c","message_id":"m","request_id":"r","records":1,"dropped":0}',
        b'{"kind":"item","time":2,"text":"Hello"}',
    ]
    write_archive(tmp_path, tmp_path / "u" / "c" / "m.orlog", lines, PayloadCodec("a passphrase"))
    missing = "aiohttp httpx orjson pydantic redis sqlalchemy starlette yarl open_webui"
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN_WITHOUT, missing, str(CONFIG.output_path), str(tmp_path)],
        env={"SESSION_LOG_PASSPHRASE": "a passphrase"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "finished  a/one  u  c  m  r" in done.stdout and '"text": "Hello"' in done.stdout


def test_two_copies_share_nothing_they_define(two_copies) -> None:
    first, second = two_copies
    shared = [
        name
        for name, value in vars(first).items()
        if name != "__builtins__"
        and vars(second).get(name) is value
        and _belongs_to(value, first, second)
    ]
    assert shared == []


def test_two_copies_construct_their_pipes_side_by_side(two_copies) -> None:
    first, second = (copy.Pipe() for copy in two_copies)
    assert not isinstance(first, type(second))
    first.valves = first.Valves()
    second.valves = second.Valves()
    assert type(first.valves) is not type(second.valves)


def test_two_copies_know_the_same_running_request(two_copies) -> None:
    first, second = two_copies
    assert first.current_request() is second.current_request()


def _belongs_to(value: object, *copies: ModuleType) -> bool:
    """Whether a value is one of the copy's own: a class, a function, an instance, a container."""
    own = {copy.__name__ for copy in copies}
    if isinstance(value, type | FunctionType):
        return value.__module__ in own
    return isinstance(value, MUTABLE) or type(value).__module__ in own


def _modules_with_code() -> list[Path]:
    files = CONFIG.package_path.rglob("*.py")
    return [path for path in files if path.name not in ("__init__.py", "sources.py")]
