"""What the installed Open WebUI itself makes of a pipe's events, and of its parameters.

Imported by tests, and run as a script by the Python of the server's environment.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_ENVIRONMENT = {"OFFLINE_MODE": "true", "WEBUI_SECRET_KEY": "unused", "FROM_INIT_PY": "true"}


class HostFunctions:
    """The host's own functions, in a process that stays until the `with` block ends."""

    def __init__(self, python: Path) -> None:
        self._python = python
        self._stack = ExitStack()

    def __enter__(self) -> HostFunctions:
        folder = self._stack.enter_context(tempfile.TemporaryDirectory())
        self._log = self._stack.enter_context((Path(folder) / "log").open("w+"))
        self._process = self._stack.enter_context(
            subprocess.Popen(
                [str(self._python), __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                # The host reads its settings and makes its data folder when it is imported.
                env={**_ENVIRONMENT, "DATA_DIR": folder, "STATIC_DIR": folder},
            )
        )
        self._stack.callback(self._process.kill)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reduce(self, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
        """Feed the events to the host; the answer has `output`, `usage`, `error`, `messages`."""
        return self._ask("reduce", list(events))

    def column_body(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The body of another column than the first.

        `parameters` has those of `defaults`, of the `first` model, of the column's `own` model
        and of the `chat`.
        """
        return self._ask("column_body", dict(parameters))

    def _ask(self, question: str, argument: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps([question, argument]) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            raise RuntimeError(f"the host's functions failed:\n{self._log.read()[-2000:]}")
        return json.loads(answer)


def reduce_events(python: Path, events: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Feed the events of one answer to the host."""
    with HostFunctions(python) as host:
        return host.reduce(events)


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


def _column_body(parameters: dict[str, Any]) -> dict[str, Any]:
    """The same steps as `chat_completion`, `process_chat_payload` and the call of a function."""
    misc = importlib.import_module("open_webui.utils.misc")
    payload = importlib.import_module("open_webui.utils.payload")
    of_first = misc.merge_model_params(parameters["defaults"], parameters["first"])
    body = {"params": misc.merge_model_params(of_first, parameters["chat"])}
    body = payload.apply_params_to_form_data(body, {})
    return payload.apply_model_params_to_body_openai(parameters["own"], body)


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the host prints is no answer
    functions = {"reduce": _reduce, "column_body": _column_body}
    for line in sys.stdin:
        question, argument = json.loads(line)
        print(json.dumps(functions[question](argument)), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
