"""Rounds of calls inside the installed Open WebUI; prints what each brought back, as JSON.

Run by the host's own Python, with the bundle's path: `tool_scenarios.py dist/pipe.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from fastapi.responses import HTMLResponse
from open_webui.utils.middleware import (  # pyright: ignore[reportMissingImports]
    get_citation_source_from_tool_result,
)
from open_webui.utils.tools import (  # pyright: ignore[reportMissingImports]
    get_async_tool_function_and_apply_extra_params,
)

PIXEL = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
INLINE = {"Content-Disposition": "inline"}
DISPATCHER = {"tool_id": "builtin:call_tool", "type": "builtin", "spec": {}}
PROPERTIES = {name: {"type": "string"} for name in ("q", "n", "path", "url", "tool_name", "params")}
MESSAGES = [{"role": "user", "content": "hello"}]


def flat_pipe(path: str) -> ModuleType:
    """The bundle as Open WebUI loads it."""
    module = ModuleType("function_openrouter")
    sys.modules[module.__name__] = module
    exec(Path(path).read_text(encoding="utf-8"), module.__dict__)
    return module


def entry(function: Any, **others: Any) -> dict[str, Any]:
    """A tool as `__tools__` holds it."""
    parameters = {"type": "object", "properties": PROPERTIES}
    return {"tool_id": "mine", "callable": function, "spec": {"parameters": parameters}} | others


def giving(value: Any) -> Any:
    """A tool that returns this."""

    async def tool(**_: Any) -> Any:
        return value

    return tool


async def python_tool(q: str, n: int = 7, __messages__: Any = None, __files__: Any = None) -> str:
    """As a person writes it in the editor."""
    return f"{q} {n + 1} {__messages__[0]['content']} {__files__[0]['id']}"


def plain_tool(q: str, n: int = 7) -> str:
    """The same without `async`."""
    return f"{q} {n + 1} {threading.current_thread() is threading.main_thread()}"


def broken_plain_tool(q: str) -> None:
    """One that raises."""
    raise KeyError(q)


async def tools() -> dict[str, Any]:
    """One tool for every kind of result."""
    wrap = get_async_tool_function_and_apply_extra_params
    html = HTMLResponse("<b>chart</b>", headers=INLINE)
    picture = {"type": "image", "mimeType": "image/png", "data": PIXEL.partition(",")[2]}
    blob = {"blob": picture["data"], "mimeType": "image/png", "uri": "file:///a.png"}
    resource = {"type": "resource", "resource": blob}
    terminal = {"type": "terminal", "tool_id": "terminal:t"}
    page = ("<i>page</i>", {"Content-Type": "text/html", "Content-Disposition": "inline"})
    return {
        "python": entry(await wrap(python_tool, {"__messages__": [], "__files__": []})),
        "plain": entry(await wrap(plain_tool, {})),
        "broken_plain": entry(await wrap(broken_plain_tool, {})),
        "dict": entry(giving({"a": [1, "é"]})),
        "tuple": entry(giving(({"ok": True}, {"X": "y"})), type="external"),
        "failed_request": entry(giving(({"error": "HTTP error 500"}, None)), type="external"),
        "html": entry(giving(html)),
        "html_with_words": entry(giving((html, "A chart of sales."))),
        "page": entry(giving(page), type="external"),
        "mcp": entry(giving([{"type": "text", "text": "one"}, resource]), type="mcp", client=1),
        "picture": entry(giving(PIXEL)),
        "nested_picture": entry(giving({"shot": PIXEL, "title": "t"})),
        "fetch_url": entry(giving("The page says so."), type="builtin"),
        "write_file": entry(giving({"path": "/tmp/a"}), **terminal),
        "display_file": entry(
            giving({"path": "/tmp/a.txt"}), type="terminal", tool_id="terminal:t"
        ),
        **({"call_tool": DISPATCHER} if find_spec("open_webui.utils.tool_search") else {}),
        "direct": {"direct": True, "server": {"url": "x"}, "spec": {"parameters": {}}},
    }


CALLS = {
    "python": '{"q": "a", "n": "1", "unknown": 2}',
    "plain": '{"q": "a", "n": null}',
    "broken_plain": '{"q": "a"}',
    "fetch_url": '{"url": "https://example.org"}',
    "write_file": '{"path": "a"}',
    "display_file": '{"path": "a.txt"}',
    "call_tool": '{"tool_name": "python", "params": "{\\"q\\": \\"hidden\\"}"}',
}
MORE_CALLS = {
    "call_tool_with_object": '{"tool_name": "python", "params": {"q": "hidden"}}',
    "call_tool_unknown": '{"tool_name": "nothing", "params": "{}"}',
    "call_tool_itself": '{"tool_name": "call_tool", "params": "{}"}',
}


def context(pipe: ModuleType, offered: dict[str, Any], events: list[Any]) -> Any:
    """The turn of a temporary chat, whose pictures stay where they are."""

    async def emit(event: Any) -> None:
        events.append(event)

    async def page(event: Any) -> Any:
        return [{"asked": event["data"]["name"]}, {}]

    metadata = {
        "chat_id": "temporary:tab",
        "message_id": "m",
        "session_id": "tab",
        "files": [{"id": "f1"}],
        "terminal_id": "t",
    }
    state = SimpleNamespace(user=None)
    handles = pipe.HostHandles(
        request=SimpleNamespace(state=state, app=SimpleNamespace(state=SimpleNamespace(MODELS={}))),
        metadata=metadata,
        tools=offered,
        event_emitter=emit,
        event_call=page,
    )
    return pipe.RequestContext(
        request_id="r",
        function_id="openrouter",
        settings=pipe.take_snapshot(pipe.SystemValves()),
        model="a/one",
        chat_id="temporary:tab",
        message_id="m",
        host=handles,
    )


async def play(pipe: ModuleType) -> dict[str, Any]:
    """Run every call in one round."""
    offered, events = await tools(), []
    shown = [{"type": "function", "function": {"name": name}} for name in offered]
    body = {"messages": MESSAGES, "stream": True, "tools": shown}
    box = pipe.open_toolbox(context(pipe, offered, events), body, None)
    calls = [pipe.FunctionCallItem("f", name, name, CALLS.get(name, "{}")) for name in offered]
    for name, sent in MORE_CALLS.items() if "call_tool" in offered else ():
        calls.append(pipe.FunctionCallItem("f", name, "call_tool", sent))
    outcomes = {
        outcome.output.call_id: dataclasses.asdict(outcome)
        async for outcome in box.run(calls, None)
    }
    known = {"source": {"id": "f1", "name": "a.txt"}, "document": ["x"]}
    known["metadata"] = [{"source": "a.txt", "name": "a.txt"}]
    expected_source = get_citation_source_from_tool_result(
        "fetch_url", {"url": "https://example.org"}, "The page says so.", "mine"
    )
    told = {}
    for name, files in {"alone": [], "beside_files": [known]}.items():
        numbers = pipe.SourceNumbers(pipe.HostHandles(metadata={"sources": files}))
        told[name] = [
            await numbers.describe(sources, "Who?")
            for sources in (expected_source, [known], expected_source)
        ]
    return {"outcomes": outcomes, "events": events, "source": expected_source, "told": told}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(flat_pipe(sys.argv[1])))))  # noqa: T201
