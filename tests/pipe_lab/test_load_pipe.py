"""A pipe is loaded from its text as Open WebUI would load it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipe_lab.load_pipe import load_pipe

TEXT = '''"""Taken from configuration."""
from pydantic import BaseModel

NAME = __name__


class Pipe:
    class Valves(BaseModel):
        API_KEY: str = ""
        PACE: int = 3

    def __init__(self):
        self.valves = self.Valves()
        self.doc = __doc__
        self.name = NAME
        self.file = globals().get("__file__")
'''


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.py"
    path.write_text(TEXT)
    return path


def test_the_module_has_the_hosts_name_and_no_file(bundle: Path) -> None:
    pipe = load_pipe(bundle, {}, "my_pipe")
    prefix, _, suffix = pipe.name.rpartition("_")
    assert prefix == "function_my_pipe" and len(suffix) == 32
    assert pipe.file is None


def test_saved_valves_replace_the_defaults_except_null(bundle: Path) -> None:
    valves = load_pipe(bundle, {"API_KEY": "sk-1", "PACE": None}).valves
    assert (valves.API_KEY, valves.PACE) == ("sk-1", 3)


def test_the_hosts_blind_replacement_is_applied(bundle: Path) -> None:
    assert load_pipe(bundle, {}).doc == "Taken from open_webui.configuration."


def test_a_newer_copy_takes_the_name_of_the_older(bundle: Path) -> None:
    first = load_pipe(bundle, {}, "twice")
    second = load_pipe(bundle, {}, "twice")
    assert sys.modules["function_twice"].__name__ == second.name
    assert first.name not in sys.modules and second.name in sys.modules


def test_a_text_that_does_not_run_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = tmp_path / "pipe.py"
    broken.write_text("raise ValueError('no')")
    with pytest.raises(ValueError, match="no"):
        load_pipe(broken, {}, "broken")
    assert not [name for name in sys.modules if name.startswith("function_broken")]
