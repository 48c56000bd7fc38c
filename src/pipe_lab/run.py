"""`make run`: a real Open WebUI with the pipe in it, on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from pipe_lab.host.client import APIError, OpenWebUIClient, sign_in
from pipe_lab.host.install import (
    USUAL_VERSION,
    InstallError,
    ensure_open_webui,
    is_full,
    open_webui_version,
)
from pipe_lab.host.pipe_setup import (
    BUNDLE,
    ROOT,
    Upstream,
    choose_upstream,
    install_pipe,
    prepare_page,
)
from pipe_lab.host.server import OpenWebUIServer, ServerError, ServerSettings

PORT = 8765
# With everything installed Open WebUI reads attachments its own way; it fetches the model for that.
FULL_ENVIRONMENT = {
    "OFFLINE_MODE": "false",
    "RAG_EMBEDDING_ENGINE": "",
    "BYPASS_EMBEDDING_AND_RETRIEVAL": "false",
}
# Seconds between two words of the simulator: about as fast as one can read.
WORD_PAUSE = 0.03


def main() -> int:
    """Install, start, print the address, and run until Ctrl-C."""
    port = int(os.environ.get("PORT", PORT))
    if not BUNDLE.exists():
        return _complain(f"{BUNDLE} is missing; `make bundle` writes it.")
    if not _is_free(port):
        return _complain(f"Port {port} is taken; choose another one with PORT=… make run.")
    try:
        python = ensure_open_webui()
        return asyncio.run(_run(python, port))
    except (InstallError, ServerError, APIError) as exc:
        return _complain(str(exc))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nStopped.")
        return 0


async def _run(python: Path, port: int) -> int:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    print("Starting Open WebUI …", flush=True)
    folder = _data_folder()
    environment = FULL_ENVIRONMENT if is_full() else {}
    settings = ServerSettings(folder, port=port, auth=False, environment=environment)
    async with choose_upstream(WORD_PAUSE) as upstream, OpenWebUIServer(python, settings) as server:
        await _set_up(server.url, upstream)
        print(f"\n  {server.url}\n\nData: {folder}. Ctrl-C stops it.", flush=True)
        await server.wait()
        return _complain(f"Open WebUI ended by itself:\n{server.log_tail()}")


def _data_folder() -> Path:
    """A folder keeps settings and database of the server it was made with: each has its own."""
    kind = "run-full" if is_full() else "run"
    version = open_webui_version()
    return ROOT / ".lab" / (kind if version == USUAL_VERSION else f"{kind}-{version}")


async def _set_up(url: str, upstream: Upstream) -> None:
    # Without authentication there is one account, and any name enters with it.
    account = await sign_in(url, "", "")
    async with OpenWebUIClient(url, account) as client:
        outcome = await install_pipe(client, upstream, BUNDLE.read_text(encoding="utf-8"))
        start = await prepare_page(client)
    print(f"The pipe is {outcome} and talks to {upstream.name}.")
    print(start)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
