"""Every setting is read by somebody, and the documents tell it with its default."""

from __future__ import annotations

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from open_webui_openrouter_pipe.core.config import Settings, SystemValves
from open_webui_openrouter_pipe.core.personal_valves import PersonalValves

ROOT = Path(__file__).resolve().parent.parent
SETTINGS_PAGE = (ROOT / "docs/settings.md").read_text(encoding="utf-8")
ERRORS_PAGE = (ROOT / "docs/errors.md").read_text(encoding="utf-8")
TABLE = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*)\|", SETTINGS_PAGE, re.MULTILINE))
# Their defaults come from the environment.
FROM_ENVIRONMENT = ("API_KEY", "BASE_URL")


def test_every_setting_is_read() -> None:
    tree = ast.parse((ROOT / "dist/pipe.py").read_text(encoding="utf-8"))
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    read = {node.attr for node in attributes if ast.unparse(node.value).endswith("settings")}
    assert {field.name for field in dataclasses.fields(Settings)} <= read


@pytest.mark.parametrize("name", [name for name in TABLE if name not in FROM_ENVIRONMENT])
def test_the_documents_name_the_default_of_a_setting(name: str) -> None:
    default = SystemValves.model_fields[name].default
    written = TABLE[name].split("(")[0].strip(" `")
    match default:
        case bool():
            assert written == ("on" if default else "off")
        case list():
            assert written == "" and not default
        case float():
            assert float(written) == default
        case _:
            assert written == str(default)


def test_the_documents_name_every_setting() -> None:
    valves = set(SystemValves.model_fields)
    templates = {name for name in valves if name.endswith("_TEMPLATE")}
    missing = {name for name in valves - templates if f"`{name}`" not in SETTINGS_PAGE}
    missing |= {name for name in templates if f"`{name}`" not in ERRORS_PAGE}
    assert not missing


def test_the_documents_name_what_each_person_may_choose() -> None:
    section = SETTINGS_PAGE.split("## What each person may choose")[1].split("\n## ")[0]
    assert set(re.findall(r"`([A-Z_]{4,})`", section)) == set(PersonalValves.model_fields)
