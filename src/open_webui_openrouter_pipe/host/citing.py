"""The numbers by which an answer cites what its tools found, as Open WebUI's page counts them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..core.context import HostHandles
from ..core.json_values import JsonObject, objects_in
from ..core.logging_system import LOG
from ..core.source_map import trace_of
from .middleware import middleware_part


@dataclass(slots=True)
class SourceNumbers:
    """The numbers given so far in one answer: those of the chat's files, then those of tools."""

    handles: HostHandles
    numbers: dict[str, int] = field(default_factory=dict[str, int])

    async def describe(self, sources: Sequence[JsonObject], question: str) -> tuple[str, str]:
        """Tags that number the sources, and how to cite by them, where the model has not read it.

        Both are empty where the host does not say.
        """
        try:
            number = middleware_part("get_source_context")
            if not self.numbers:  # the chat's files came with the host's words on citing
                number(objects_in(self.handles.metadata.get("sources")), self.numbers)
            is_explained = bool(self.numbers)
            tags = number(sources, self.numbers, include_content=False).strip()
            if is_explained or not tags:
                return tags, ""
            template = await middleware_part("Config").get("rag.template")
            return tags, await middleware_part("rag_template")(template, tags, question)
        except Exception as error:  # noqa: BLE001 - a tool's sources are contained
            LOG.warning("tools: sources have no numbers for the model: %s", trace_of(error))
            return "", ""
