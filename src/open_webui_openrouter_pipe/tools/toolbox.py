"""The tools of one turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ..api.bodies import CompletionsBody
from ..api.events import FunctionCallItem, ToolOutputItem
from ..core.context import RequestContext
from ..core.json_values import JsonObject
from ..models.family import ModelFamily


class CallOwner(Enum):
    """Who runs the calls of a round."""

    PIPE = "pipe"
    HOST = "host"
    CALLER = "caller"


@dataclass(slots=True)
class CallOutcome:
    """What one call brought back."""

    output: ToolOutputItem
    sources: list[JsonObject] = field(default_factory=list[JsonObject])
    """What it leaned on, each as the `data` of Open WebUI's `source` event."""


class Toolbox(Protocol):
    """What the model may call in this turn."""

    definitions: list[JsonObject]
    """Entries of the request's `tools`, ready to send."""

    def owner_of(self, calls: Sequence[FunctionCallItem]) -> CallOwner:
        """Who runs these calls."""
        ...

    def run(
        self, calls: Sequence[FunctionCallItem], context_left: int | None
    ) -> AsyncGenerator[CallOutcome]:
        """Run the calls: one outcome each, as they finish."""
        ...


class EmptyToolbox:
    """No tools: whatever the model calls is left to the host."""

    def __init__(self) -> None:
        self.definitions: list[JsonObject] = []

    def owner_of(self, calls: Sequence[FunctionCallItem]) -> CallOwner:
        """Who runs these calls."""
        return CallOwner.HOST

    async def run(
        self, calls: Sequence[FunctionCallItem], context_left: int | None
    ) -> AsyncGenerator[CallOutcome]:
        """Nothing to run."""
        for call in calls:
            yield CallOutcome(ToolOutputItem("", call.call_id, "There is no such tool."))


def open_toolbox(
    context: RequestContext, body: CompletionsBody, family: ModelFamily | None
) -> Toolbox:
    """The tools of this turn."""
    return EmptyToolbox()
