"""Where a copy of the pipe may keep a file."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from open_webui_openrouter_pipe.host.data_folder import own_file


def test_outside_of_open_webui_there_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", None)
    assert own_file("catalog.json", "openrouter") is None


@pytest.mark.parametrize(
    ("function_id", "name"),
    [("openrouter_2", "openrouter_2-x.json"), ("../etc/x", "___etc_x-x.json"), ("", "-x.json")],
)
def test_a_file_stays_in_the_folder_whatever_the_function_is_called(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, function_id: str, name: str
) -> None:
    env: Any = ModuleType("open_webui.env")
    env.DATA_DIR = str(tmp_path)
    monkeypatch.setitem(sys.modules, "open_webui", ModuleType("open_webui"))
    monkeypatch.setitem(sys.modules, "open_webui.env", env)
    assert own_file("x.json", function_id) == tmp_path / "openrouter" / name
