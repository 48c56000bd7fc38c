"""What the installed Open WebUI itself makes of a pipe's events: saved output, next-turn messages.

Imported by tests, and run as a script by the Python of the server's environment.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def reduce_events(python: Path, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Feed the events to the host; the answer has `output`, `usage`, `error` and `messages`."""
    lines = "\n".join(json.dumps(event) for event in events)
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(python), __file__],
            input=lines,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            # The host reads its settings and makes its data folder when it is imported.
            env={"OFFLINE_MODE": "true", "WEBUI_SECRET_KEY": "unused", "DATA_DIR": folder},
        )
    if done.returncode != 0:
        raise RuntimeError(f"the host's reducer failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _reduce(events: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The same steps as the host's chat middleware, with the host's own functions."""
    response = importlib.import_module("open_webui.utils.response")
    misc = importlib.import_module("open_webui.utils.misc")
    output: list[dict[str, Any]] = []
    usage: dict[str, Any] = {}
    error: Any = None
    for event in events:
        if "error" in event and not event.get("type"):
            error = event["error"]
            continue
        output, found = response.handle_responses_streaming_event(event, output)
        found = found or {}
        if found.get("usage"):
            usage = response.merge_usage(usage, found["usage"])
        error = found.get("error", error)
    messages = misc.convert_output_to_messages(output, raw=True, flatten_tool_images=True)
    return {"output": output, "usage": usage, "error": error, "messages": messages}


if __name__ == "__main__":
    print(json.dumps(_reduce(json.loads(line) for line in sys.stdin if line.strip())))
