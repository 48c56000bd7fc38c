"""A headless Chromium and one page in it, driven over the DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

WINDOW = (1280, 860)
START_SECONDS = 30
WAIT_SECONDS = 60

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--lang=en-US",
    "--remote-debugging-port=0",
    f"--window-size={WINDOW[0]},{WINDOW[1]}",
)
_VIEW = {"width": WINDOW[0], "height": WINDOW[1], "deviceScaleFactor": 1, "mobile": False}
_ENTER = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}


class BrowserError(Exception):
    """The browser is missing, did not start, or the page refused a command."""


def find_chromium() -> str:
    """The path of an installed Chromium; raises with what to do when there is none."""
    for name in _NAMES:
        if found := shutil.which(name):
            return found
    raise BrowserError("Chromium is not installed; on Debian: apt-get install chromium.")


class BrowserPage:
    """One page of a Chromium of its own; use it as an async context manager."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._process: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._number = 0
        self._loaded = asyncio.Event()

    async def __aenter__(self) -> BrowserPage:
        try:
            await self._start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one DevTools command and return its result."""
        if self._socket is None:
            raise BrowserError("the page is not open")
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        async with asyncio.timeout(WAIT_SECONDS):
            message = await answer
        if "error" in message:
            raise BrowserError(f"{method}: {message['error'].get('message')}")
        return message["result"]

    async def open(self, url: str) -> None:
        """Go to an address and wait until it has loaded."""
        await self._load("Page.navigate", url=url)

    async def reload(self) -> None:
        """Load the page anew, as a person who comes back."""
        await self._load("Page.reload")

    async def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        result = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in result:
            raise BrowserError(f"{script}: {json.dumps(result['exceptionDetails'])[:500]}")
        return result["result"].get("value")

    async def wait_for(self, script: str) -> Any:
        """Ask until the expression is true in the page, and return its value."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                # The page loads and redraws as it likes; nothing announces a condition of ours.
                while not (value := await self.evaluate(script)):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
                return value
        except TimeoutError as exc:
            text = await self.evaluate("document.body.innerText")
            raise BrowserError(f"{script} never came true; the page reads:\n{text}") from exc

    async def click(self, element: str) -> None:
        """Press the mouse on what the expression names, once it is there."""
        place = await self.wait_for(
            f"(() => {{ const box = ({element})?.getBoundingClientRect();"
            " return box?.width ? {x: box.x + box.width / 2, y: box.y + box.height / 2} : null })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.command(
                "Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place
            )

    async def type_text(self, text: str) -> None:
        """Enter text where the cursor is."""
        await self.command("Input.insertText", text=text)

    async def press_enter(self) -> None:
        """Press and release the Enter key."""
        for kind in ("keyDown", "keyUp"):
            await self.command("Input.dispatchKeyEvent", type=kind, **_ENTER)

    async def choose_file(self, element: str, path: Path) -> None:
        """Put a file into the file input that the expression names."""
        await self.wait_for(f"!!({element})")
        found = await self.command("Runtime.evaluate", expression=element)
        node = found["result"]["objectId"]
        await self.command("DOM.setFileInputFiles", files=[str(path)], objectId=node)

    async def screenshot(self, path: Path) -> None:
        """Save what the window shows as PNG."""
        image = await self.command("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(image["data"]))

    async def _load(self, method: str, **parameters: Any) -> None:
        self._loaded.clear()
        await self.command(method, **parameters)
        async with asyncio.timeout(WAIT_SECONDS):
            await self._loaded.wait()

    async def _start(self) -> None:
        # As root Chromium refuses its own sandbox.
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        self._process = await asyncio.create_subprocess_exec(
            find_chromium(),
            *(*_FLAGS, *root, f"--user-data-dir={self._folder.name}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self._http = aiohttp.ClientSession()
        async with asyncio.timeout(START_SECONDS):
            port = await self._debugging_port(self._process)
            self._socket = await self._http.ws_connect(
                await _page_socket(self._http, port), max_msg_size=0
            )
        self._reader = asyncio.create_task(self._read(self._socket))
        await self.command("Page.enable")
        await self.command("Emulation.setDeviceMetricsOverride", **_VIEW)

    async def _debugging_port(self, process: asyncio.subprocess.Process) -> int:
        file = Path(self._folder.name) / "DevToolsActivePort"
        while True:
            if process.returncode is not None:
                raise BrowserError(f"Chromium ended with code {process.returncode}")
            lines = file.read_text().splitlines() if file.exists() else []
            if lines:
                return int(lines[0])
            await asyncio.sleep(0.05)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            answer: Mapping[str, Any] = json.loads(message.data)
            if answer.get("method") == "Page.loadEventFired":
                self._loaded.set()
            waiting = self._answers.pop(answer.get("id", 0), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(dict(answer))

    async def _close(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait({self._reader})
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.close()
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await asyncio.to_thread(self._folder.cleanup)


async def _page_socket(http: aiohttp.ClientSession, port: int) -> str:
    """The address of the first page's DevTools socket."""
    while True:
        async with http.get(f"http://127.0.0.1:{port}/json") as response:
            targets = await response.json(content_type=None)
        pages = [target for target in targets if target["type"] == "page"]
        if pages:
            return pages[0]["webSocketDebuggerUrl"]
        await asyncio.sleep(0.05)
