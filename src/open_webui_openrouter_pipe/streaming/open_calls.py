"""The calls an API client has to run itself: those that nobody here has answered."""

from __future__ import annotations

from typing import Any

from ..api.events import FunctionCallItem, ToolOutputItem


class OpenCalls:
    """Keeps the calls of an answer until their output comes."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[str, FunctionCallItem] = {}

    def take(self, item: FunctionCallItem | ToolOutputItem) -> None:
        """Note a call, or that it has its output."""
        if isinstance(item, FunctionCallItem):
            self._calls[item.call_id] = item
        else:
            self._calls.pop(item.call_id, None)

    def of_completion(self) -> list[dict[str, Any]]:
        """What is left, in chat completions' form."""
        return [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in self._calls.values()
        ]
