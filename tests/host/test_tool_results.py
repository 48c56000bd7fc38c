"""What the installed Open WebUI's own functions make of what tools return, through the pipe."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def played(host_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every scenario, in one process of the host."""
    script, folder = Path(__file__).with_name("tool_scenarios.py"), tmp_path_factory.mktemp("host")
    done = subprocess.run(
        [str(host_python), str(script), str(ROOT / "dist" / "pipe.py")],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "OFFLINE_MODE": "true",
            "WEBUI_SECRET_KEY": "unused",
            "FROM_INIT_PY": "true",
            "STATIC_DIR": str(folder / "static"),
            "DATA_DIR": str(folder),
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def outputs(played: dict[str, Any]) -> dict[str, Any]:
    return {call_id: outcome["output"] for call_id, outcome in played["outcomes"].items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("python", "a 2 hello f1"),
        ("plain", "a 8 False"),
        ("broken_plain", "Error: `broken_plain` failed: 'a'"),
        ("dict", '{\n  "a": [\n    1,\n    "é"\n  ]\n}'),
        ("tuple", '{\n  "ok": true\n}'),
        ("failed_request", '{\n  "error": "HTTP error 500"\n}'),
        ("html_with_words", "A chart of sales."),
        ("mcp", "one"),
        ("picture", "picture: Image file read successfully."),
        ("nested_picture", '{\n  "shot": "[image]",\n  "title": "t"\n}'),
        ("call_tool", "hidden 8 hello f1"),
        ("call_tool_with_object", "hidden 8 hello f1"),
        (
            "call_tool_unknown",
            'Error: Tool "nothing" is not available. Search for an available tool.',
        ),
        ("call_tool_itself", "Error: call_tool cannot invoke search_tools or itself."),
        ("direct", '{\n  "asked": "direct"\n}'),
    ],
)
def test_the_model_reads_what_the_host_would_show_it(
    outputs: dict[str, Any], name: str, text: str
) -> None:
    if name.startswith("call_tool") and "call_tool" not in outputs:
        pytest.skip("this Open WebUI hides no tools")
    assert outputs[name]["text"] == text


def test_failures_have_the_status_the_host_gives_them(outputs: dict[str, Any]) -> None:
    failed = {name for name, output in outputs.items() if output["status"] == "failed"}
    refused = outputs.keys() & {"call_tool_unknown", "call_tool_itself"}
    assert failed == {"broken_plain", "failed_request"} | refused


@pytest.mark.parametrize(
    ("name", "embed"),
    [("html", "<b>chart</b>"), ("html_with_words", "<b>chart</b>"), ("page", "<i>page</i>")],
)
def test_a_page_is_shown_in_the_card_and_told_to_the_model(
    outputs: dict[str, Any], name: str, embed: str
) -> None:
    assert outputs[name]["embeds"] == [embed]
    assert embed not in outputs[name]["text"]


@pytest.mark.parametrize("name", ["picture", "nested_picture", "mcp"])
def test_a_picture_goes_to_the_model_and_to_the_person(outputs: dict[str, Any], name: str) -> None:
    (image,) = outputs[name]["images"]
    assert image.startswith("data:image/png;base64,iVBOR")
    (file,) = outputs[name]["files"]
    assert (file["type"], file["url"]) == ("image", image)  # a temporary chat stores no files


def test_pages_that_were_fetched_become_sources(played: dict[str, Any]) -> None:
    assert played["outcomes"]["fetch_url"]["sources"] == played["source"]
    assert played["source"][0]["source"]["id"] == "https://example.org"
    assert all(not o["sources"] for n, o in played["outcomes"].items() if n != "fetch_url")


def test_the_terminal_s_panel_hears_of_its_files(played: dict[str, Any]) -> None:
    events = {event["type"]: event["data"] for event in played["events"]}
    assert events["terminal:write_file"] == {"path": "/tmp/a"}
    assert events["terminal:display_file"] == {"path": "/tmp/a.txt"}
    shown = json.loads(played["outcomes"]["display_file"]["output"]["text"])
    assert (shown["source"], shown["terminal_id"]) == ("open_terminal", "t")


PAGE = '<source id="{}" name="https://example.org" resource-id="https://example.org"></source>'
FILE = '<source id="{}" name="a.txt" resource-id="f1"></source>'


def test_sources_are_numbered_for_the_model_by_the_host_s_own_words(played: dict[str, Any]) -> None:
    (tags, words), *later = played["told"]["alone"]
    assert tags == PAGE.format(1)
    assert "inline citations" in words and PAGE.format(1) in words
    assert later == [[FILE.format(2), ""], [PAGE.format(1), ""]]


def test_beside_the_files_of_a_chat_the_numbers_go_on(played: dict[str, Any]) -> None:
    tags = [[PAGE.format(2), ""], [FILE.format(1), ""], [PAGE.format(2), ""]]
    assert played["told"]["beside_files"] == tags
