"""How the parts of an answer stood, where Open WebUI's next-turn messages would not tell.

Between two results of tools Open WebUI makes one message of everything: the texts joined, then
the calls, the reasoning beside them (`utils/misc.py`, `convert_output_to_messages`). Where an
answer had another order, several texts or a `phase`, a private detail of its reasoning says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..api.events import FunctionCallItem, MessageItem, OutputItem, ReasoningItem
from ..core.ids import LAYOUT_DETAIL, STORED_DETAIL
from ..core.json_values import JsonObject, whole_of
from .renderer import HostEvent


@dataclass(slots=True)
class Segment:
    """What stands between two results of tools, and where its reasoning is stored."""

    items: dict[int, OutputItem] = field(default_factory=dict[int, OutputItem])
    """By their place in the message's output."""
    reasoning_place: int | None = None
    stored_reasoning: HostEvent = field(default_factory=dict[str, object])

    def add(self, place: int, item: OutputItem, stored: HostEvent) -> None:
        """Note a finished item and the form in which it was stored."""
        self.items[place] = item
        if isinstance(item, ReasoningItem):
            self.reasoning_place, self.stored_reasoning = place, stored

    def close(self) -> tuple[int, HostEvent] | None:
        """The reasoning that must be stored once more, with the layout; then begin anew."""
        layout = _layout_of([item for _, item in sorted(self.items.items(), key=lambda e: e[0])])
        place, stored = self.reasoning_place, self.stored_reasoning
        self.items, self.reasoning_place = {}, None
        if place is None or _is_plain(layout):
            return None
        detail = {"type": LAYOUT_DETAIL, "parts": layout}
        return place, {
            **stored,
            "reasoning_details": [*stored.get("reasoning_details", []), detail],
        }


def _layout_of(items: list[OutputItem]) -> list[JsonObject]:
    layout: list[JsonObject] = []
    for item in items:
        match item:
            case ReasoningItem(details=details) if sealed := sum(map(seals_of_detail, details)):
                layout.append({"kind": "reasoning", "sealed": sealed})
            case MessageItem(text=text, phase=phase) if text:
                named = {"phase": phase} if phase else {}
                layout.append({"kind": "message", "length": len(text), **named})
            case FunctionCallItem(call_id=call_id):
                layout.append({"kind": "call", "call_id": call_id})
            case _:
                pass
    return layout


def seals_of_detail(detail: JsonObject) -> int:
    """How much a detail holds, or stands for, of what the vendor encrypted or signed."""
    if detail.get("type") == STORED_DETAIL:
        return whole_of(detail.get("sealed")) or 0
    return int(bool(detail.get("data") or detail.get("signature")))


def _is_plain(layout: list[JsonObject]) -> bool:
    """Whether it is the order that a reader assumes: reasoning, one text, calls."""
    kinds = [part["kind"] for part in layout]
    assumed = sorted(kinds, key=("reasoning", "message", "call").index)
    return (
        kinds == assumed
        and kinds.count("message") <= 1
        and not any("phase" in part for part in layout)
    )
