"""Open WebUI's tools: what stands in `__tools__`, how it is called, what its result means.

The steps are those of the host's own loop (`utils/middleware.py`: `execute_tool_call` and what
follows it), with the host's own functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

from ..core.context import HostHandles
from ..core.json_codec import encode_json
from ..core.json_values import JsonObject, as_object, objects_in, text_of
from ..core.logging_system import LOG
from .blocking import call_off_loop, is_blocking
from .middleware import middleware_part
from .users import load_user

CALL_TOOL_ID = "builtin:call_tool"
"""The tool behind which Open WebUI hides those it does not show the model."""

# Open WebUI 0.11 has these names in its loop, where nobody can ask for them.
_CITED_TOOLS = frozenset(
    {"fetch_url", "view_file", "view_knowledge_file", "query_knowledge_files", "query_chat_files"}
)

_MOST_SHOWN = 2_000
"""Characters of a call's arguments in a dialogue."""


@dataclass(frozen=True, slots=True)
class HostTool:
    """One entry of `__tools__`."""

    name: str
    kind: str
    """`builtin`, `mcp`, `external`, `terminal`; empty for a Python tool or one of the browser."""
    tool_id: str
    parameters: JsonObject
    lane: str
    """Calls of one lane run one after the other; empty for a tool that may run beside itself."""
    entry: Mapping[str, Any]

    @property
    def is_builtin(self) -> bool:
        """Whether Open WebUI itself brings it."""
        return self.kind == "builtin"


@dataclass(slots=True, kw_only=True)
class ToolResult:
    """What a call brought back: for the model `text` and `images`, for the person the rest."""

    text: str
    failed: bool = False
    images: list[str] = field(default_factory=list[str])
    files: list[JsonObject] = field(default_factory=list[JsonObject])
    embeds: list[str] = field(default_factory=list[str])
    sources: list[JsonObject] = field(default_factory=list[JsonObject])


def read_tool(name: str, value: Any) -> HostTool:
    """Read an entry of `__tools__`."""
    entry = as_object(value)
    kind, tool_id = text_of(entry.get("type")), text_of(entry.get("tool_id"))
    spec = as_object(entry.get("spec"))
    return HostTool(
        name,
        kind,
        tool_id,
        as_object(spec.get("parameters")),
        _lane_of(entry, kind, tool_id),
        entry,
    )


def _lane_of(entry: JsonObject, kind: str, tool_id: str) -> str:
    """One MCP session and one terminal each remember what was done before."""
    server = as_object(entry.get("server"))
    if kind == "mcp":
        return f"mcp:{id(entry.get('client'))}"
    if kind == "terminal":
        return tool_id
    return f"terminal:{text_of(server.get('url'))}" if server.get("is_terminal") is True else ""


def resolve_hidden_call(
    name: str, arguments: JsonObject, tools: Mapping[str, Any]
) -> tuple[str, JsonObject] | str:
    """The call that a call of `call_tool` stands for, any other call as it is; or what is wrong."""
    if read_tool(name, tools.get(name)).tool_id != CALL_TOOL_ID:
        return name, arguments
    try:
        from open_webui.utils.tool_search import (  # pyright: ignore[reportMissingImports]
            resolve_tool_call,
        )
    except ImportError:
        return name, arguments
    call = {"function": {"name": name, "arguments": encode_json(arguments).decode()}}
    error = resolve_tool_call(call, tools)
    if error:
        return text_of(error)
    return call["function"]["name"], json.loads(call["function"]["arguments"])


async def ask_for_approval(
    handles: HostHandles, tool: HostTool, call_id: str, arguments: JsonObject
) -> bool:
    """Whether the person at the page lets the tool run; a page that is gone has not said yes."""
    if handles.event_call is None:
        return False
    call = {"id": call_id, "name": tool.name, "arguments": arguments}
    # Open WebUI 0.11 draws a dialogue of two texts, and nothing of a `tool_call`.
    shown = encode_json(arguments).decode()
    unseen = len(shown) - _MOST_SHOWN
    message = f"```json\n{shown[:_MOST_SHOWN]}\n```"
    if unseen > 0:
        message += f"\n\n**{unseen} more characters are not shown.**"
    data = {"tool_call": call, "title": f"Run {tool.name}?", "message": message}
    answer = await handles.event_call({"type": "confirmation", "data": data})
    return answer is True


async def call_tool(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, messages: Sequence[Any]
) -> Any:
    """Run the tool; gives what it returns and raises what it raises."""
    if tool.entry.get("direct"):
        return await _call_in_browser(handles, tool, arguments)
    function = tool.entry.get("callable")
    if function is None:
        raise LookupError("Open WebUI gives no way to run it.")
    function = await _with_conversation(function, handles, messages)
    if is_blocking(function):
        return await call_off_loop(function, arguments)
    return await function(**arguments)


async def _call_in_browser(handles: HostHandles, tool: HostTool, arguments: JsonObject) -> Any:
    if handles.event_call is None:
        raise ConnectionError("It runs in the browser, and no browser is connected.")
    data = {
        "id": str(uuid4()),
        "name": tool.name,
        "params": arguments,
        "server": tool.entry.get("server") or {},
        "session_id": handles.metadata.get("session_id"),
    }
    return await handles.event_call({"type": "execute:tool", "data": data})


async def _with_conversation(function: Any, handles: HostHandles, messages: Sequence[Any]) -> Any:
    """The tool as it stands now: its `__messages__` and `__files__` are those of this turn."""
    try:
        from open_webui.utils.tools import (  # pyright: ignore[reportMissingImports]
            get_updated_tool_function,
        )
    except ImportError:
        return function
    files = handles.metadata.get("files") or []
    return await get_updated_tool_function(
        function=function, extra_params={"__messages__": messages, "__files__": files}
    )


async def read_result(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, raw: Any
) -> ToolResult:
    """What the tool returned, as Open WebUI understands it."""
    process = middleware_part("process_tool_result")
    if process is None:
        return _result_of(_text_without_host(raw))
    if (terminal_file := middleware_part("build_terminal_file_tool_result")) is not None:
        raw = terminal_file(tool.name, arguments, raw, tool.entry, handles.metadata) or raw
    user = await load_user(handles)
    direct = bool(tool.entry.get("direct"))
    text, files, embeds = await process(
        handles.request, tool.name, raw, tool.kind, direct, handles.metadata, user
    )
    result = _result_of(text or "")
    result.embeds = [embed for embed in embeds if isinstance(embed, str)]
    result.sources = _sources_of(handles, tool, arguments, result.text)
    for file in objects_in(files):
        await _add_file(result, file, handles, user)
    if (tell_terminal := middleware_part("terminal_event_handler")) is not None:
        await tell_terminal(tool.name, arguments, result.text, handles.event_emitter)
    return result


def _result_of(text: str) -> ToolResult:
    """The text, and whether Open WebUI shows it as a failure."""
    is_error = middleware_part("_is_tool_result_error") or _begins_as_error
    return ToolResult(text=text, failed=bool(is_error(text)))


def _begins_as_error(text: str) -> bool:
    return text.lstrip().lower().startswith("error:")


def _text_without_host(raw: Any) -> str:
    """The result in words, where the host's own reading is not at hand."""
    if isinstance(raw, tuple):
        raw = cast("tuple[Any, ...]", raw)[0] if raw else ""
    if raw is None or isinstance(raw, str):
        return raw or ""
    return json.dumps(raw, indent=2, ensure_ascii=False, default=str)


def _sources_of(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, text: str
) -> list[JsonObject]:
    """What the person may look up, of the tools that search and fetch."""
    cited = middleware_part("CITATION_TOOL_NAMES") or _CITED_TOOLS
    read_sources = middleware_part("get_citation_source_from_tool_result")
    if not text or tool.name not in cited or read_sources is None or not _shows_citations(handles):
        return []
    return objects_in(read_sources(tool.name, arguments, text, tool.tool_id))


def _shows_citations(handles: HostHandles) -> bool:
    """The model's capability; in a chat with several models `metadata["model"]` is another's."""
    models = getattr(getattr(getattr(handles.request, "app", None), "state", None), "MODELS", None)
    model = as_object(as_object(models).get(text_of(handles.metadata.get("model_id"))))
    meta = as_object(as_object(model.get("info")).get("meta"))
    return as_object(meta.get("capabilities")).get("citations", True) is not False


async def _add_file(result: ToolResult, file: JsonObject, handles: HostHandles, user: Any) -> None:
    """A picture goes to the model as it is, to the person as a file; the rest to the person."""
    url = text_of(file.get("url"))
    if file.get("type") != "image" or not url:
        result.files.append(file)
    elif url.startswith("data:"):
        result.images.append(url)
        result.files.append({**file, "url": await _store_image(url, handles, user)})
    else:
        result.files.append(file)
        if data_url := await _read_image(url, user):
            result.images.append(data_url)


async def _store_image(data_url: str, handles: HostHandles, user: Any) -> str:
    """The address under which the chat keeps the picture; without one, the picture itself."""
    store = middleware_part("store_tool_result_image")
    if store is None:
        return data_url
    return await store(handles.request, data_url, handles.metadata, user)


async def _read_image(url: str, user: Any) -> str:
    """A picture that Open WebUI has stored, as a data URL; empty where it cannot be read."""
    try:
        from open_webui.utils.files import (  # pyright: ignore[reportMissingImports]
            get_image_base64_from_url,
        )
    except ImportError:
        LOG.warning("tools: a tool's picture could not be read for the model")
        return ""
    return text_of(await get_image_base64_from_url(url, user))
