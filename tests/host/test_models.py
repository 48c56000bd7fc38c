"""Syncs on the installed Open WebUI's own table of models."""

from __future__ import annotations

import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipe_lab.host.server import free_port
from tests.host.scenes import play_scenes

pytestmark = pytest.mark.host

REDIS = shutil.which("redis-server")
M0, M1, M2, M3, M4, M5 = (f"openrouter.a.m{number}" for number in range(6))


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    """What several workers have in common; empty where there is no Redis to be started."""
    if REDIS is None:
        yield ""
        return
    port = free_port()
    command = [REDIS, "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        next(line for line in server.stdout if "Ready to accept" in line)
        yield f"redis://127.0.0.1:{port}"
        server.terminate()


@pytest.fixture(scope="module")
def seen(
    host_python: Path, tmp_path_factory: pytest.TempPathFactory, redis_url: str
) -> dict[str, Any]:
    """What stood in the table after each step, in one process of the host."""
    folder = tmp_path_factory.mktemp("host")
    return play_scenes(host_python, "row_scenarios.py", folder, REDIS_URL=redis_url)


def test_a_dry_run_says_what_a_sync_would_write_and_writes_nothing(seen: dict[str, Any]) -> None:
    assert seen["dry_run"] == {}
    (line,) = [line for line in seen["dry_log"] if line.startswith("models: ")]
    assert "would write settings, for admins, of 3 models (" in line
    assert M2 in line


def test_a_large_sync_tells_how_far_it_has_come(seen: dict[str, Any]) -> None:
    assert "models: 100 of 101 settings written" in seen["log"]
    assert seen["log"][-1] == "models: 101 of 101 settings written"


@pytest.mark.skipif(REDIS is None, reason="there is no redis-server")
def test_one_worker_at_a_time(seen: dict[str, Any]) -> None:
    assert seen["at_work_elsewhere"] == {}


def test_a_redis_that_does_not_answer_holds_nobody_up(seen: dict[str, Any]) -> None:
    assert set(seen["without_redis"]) - set(seen["deleted_again"]) == {M5}


def test_a_sync_ends_where_it_is_when_it_is_switched_off(seen: dict[str, Any]) -> None:
    assert 0 < len(seen["halted"]) < 50


def test_new_models_are_private(seen: dict[str, Any]) -> None:
    row = {"description": "first", "active": True, "grants": [], "tags": ["A"]}
    assert seen["first"] == {M0: row, M1: row, M2: row}


def test_a_sync_with_nothing_changed_writes_nothing(seen: dict[str, Any]) -> None:
    assert seen["second_writes"] == seen["first_writes"]


def test_the_admins_hand_survives_three_syncs_by_fresh_copies(seen: dict[str, Any]) -> None:
    later = seen["later"]
    assert later[M0]["description"] == "the admin's"
    assert (later[M1]["active"], later[M1]["description"]) == (False, "fourth")
    assert M2 not in later


def test_public_is_for_new_rows_only(seen: dict[str, Any]) -> None:
    assert seen["later"][M0]["grants"] == []
    assert seen["later"][M3]["grants"] == [["user", "*"]]


def test_the_row_of_a_vanished_model_is_marked(seen: dict[str, Any]) -> None:
    assert {row_id: row["tags"] for row_id, row in seen["vanished"].items()} == {
        M0: ["A"],
        M1: ["A"],
        M3: ["A", "no longer at OpenRouter"],
    }


def test_what_the_key_may_not_use_is_not_taken_for_vanished(seen: dict[str, Any]) -> None:
    assert seen["out_of_reach"][M3]["tags"] == ["A"]


def test_a_row_that_the_host_refuses_stops_no_other(seen: dict[str, Any]) -> None:
    assert set(seen["refused"]) - set(seen["end"]) == {"openrouter.b.c"}


def test_no_private_row_takes_a_model_from_the_other_admins(seen: dict[str, Any]) -> None:
    assert M4 not in seen["would_hide"]
    assert seen["hides_nothing"][M4]["grants"] == [["user", "*"]]


def test_a_deleted_row_stays_away_where_no_setting_is_kept(seen: dict[str, Any]) -> None:
    assert M0 in seen["hides_nothing"]
    assert M0 not in seen["deleted_again"]


def test_the_host_takes_a_copy_of_an_icon(seen: dict[str, Any]) -> None:
    kind, _, data = seen["picture"].partition(";base64,")
    assert kind == "data:image/png"
    assert b64decode(data).endswith(b"https://openrouter.ai/images/icons/Qwen.png")


def test_a_row_that_has_changed_meanwhile_is_not_written(seen: dict[str, Any]) -> None:
    assert (seen["stale_written"], seen["twice"]) == (False, False)
    assert seen["end"] == seen["vanished"]
