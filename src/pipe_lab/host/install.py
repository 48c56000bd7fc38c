"""Make a virtual environment with Open WebUI in it, once, and keep it for every later run."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

USUAL_VERSION = "0.12.4"
OTHER_VERSIONS = ("0.11.4",)

Report = Callable[[str], None]


class InstallError(Exception):
    """Open WebUI could not be installed; the text says which command failed and how."""


def cache_folder() -> Path:
    """The folder the lab keeps between runs: $PIPE_LAB_CACHE, or one inside the user's cache."""
    if chosen := os.environ.get("PIPE_LAB_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "open-webui-openrouter-pipe"


def open_webui_version() -> str:
    """The version the lab runs: the usual one, or the other one that OPEN_WEBUI names."""
    chosen = os.environ.get("OPEN_WEBUI") or USUAL_VERSION
    if chosen not in (USUAL_VERSION, *OTHER_VERSIONS):
        known = ", ".join((USUAL_VERSION, *OTHER_VERSIONS))
        raise InstallError(f"The lab has no list of packages for Open WebUI {chosen}, but {known}.")
    return chosen


def is_full() -> bool:
    """Whether FULL=1 asks for everything Open WebUI asks for, instead of the slim list."""
    return os.environ.get("FULL", "") not in ("", "0")


def ensure_open_webui(*, report: Report = print) -> Path:
    """The Python of an environment with Open WebUI in it, which is made when it is not there."""
    full = is_full()
    version = open_webui_version()
    requirements = f"open-webui=={version}\n" if full else slim_pins(version)
    folder = cache_folder() / f"open-webui-{'full' if full else 'slim'}-{_key(requirements)}"
    python = folder / "bin" / "python"
    stamp = folder / ".complete"
    if stamp.exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder.with_suffix(".lock"), report):
        if not stamp.exists():
            _install(folder, requirements, full, report)
            stamp.touch()
    return python


def slim_pins(version: str) -> str:
    """The lab's list of exact versions, as pip reads it."""
    name = f"open-webui-{version}-slim.txt"
    return resources.files("pipe_lab.host").joinpath(name).read_text(encoding="utf-8")


def _key(requirements: str) -> str:
    """What an environment depends on; another interpreter or another pin makes another one."""
    parts = (requirements, platform.python_version(), platform.machine(), sys.base_prefix)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


@contextmanager
def _lock(path: Path, report: Report) -> Iterator[None]:
    """Hold the folder's lock: two runs at once install once, and the second one waits."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("Another run is installing Open WebUI; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _install(folder: Path, requirements: str, full: bool, report: Report) -> None:
    """Build the environment from nothing; whatever an interrupted run left behind goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    size = "several GB, give it time" if full else "about 900 MB, one or two minutes"
    report(f"Installing Open WebUI {open_webui_version()} into {folder} ({size}, once).")
    folder.mkdir(parents=True)
    pins = folder / "requirements.txt"
    pins.write_text(requirements, encoding="utf-8")
    python = folder / "bin" / "python"
    options = ["-r", str(pins)] if full else ["--no-deps", "-r", str(pins)]
    if uv := shutil.which("uv"):
        _run([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(folder)])
        _run([uv, "pip", "install", "--python", str(python), *options], report)
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
        # Only the slim list is complete; what everything needs is known when pip has found it out.
        total = 0 if full else requirements.count("==")
        _run([*pip, "--progress-bar=off", *options], report, total)
    report("Open WebUI is installed.")


def _run(command: list[str], report: Report | None = None, total: int = 0) -> None:
    """Run one command, passing on what a person wants to see of it."""
    tail: deque[str] = deque(maxlen=15)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        collected = 0
        for line in process.stdout:
            tail.append(line.rstrip())
            if report is None:
                continue
            if line.startswith(("Collecting ", "Processing ")):
                collected += 1
                if collected % 20 == 0 or collected == total:
                    report(
                        f"  {collected} {f'of {total} packages' if total else 'packages so far'}"
                    )
            elif line.startswith(("Installing ", "Resolved ", "Prepared ", "Installed ")):
                report("  " + line.strip()[:90])
    if process.returncode != 0:
        raise InstallError(f"{' '.join(command[:6])} … failed:\n" + "\n".join(tail))
