"""Scripts that run inside the installed Open WebUI, on a database of their own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.conftest import ROOT


def play_scenes(host_python: Path, script: str, folder: Path, **environment: str) -> dict[str, Any]:
    """Run a script of this folder on the bundle, and return what it has seen."""
    done = subprocess.run(
        [str(host_python), str(Path(__file__).with_name(script)), str(ROOT / "dist" / "pipe.py")],
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
            **environment,
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])
