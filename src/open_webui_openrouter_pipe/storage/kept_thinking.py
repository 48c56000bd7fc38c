"""Sealed thinking goes into the artifact store; the chat gets a reference in its place."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from ..api.events import Event, ItemFinished, ReasoningItem, ResponseFailed, ResponseFinished
from ..core.context import RequestContext
from ..core.ids import PARSED_DETAIL, STORED_DETAIL
from .artifacts import ArtifactStore


async def keep_thinking(
    answer: AsyncGenerator[list[Event]], context: RequestContext, store: ArtifactStore
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on with references; its end waits until what they stand for is written.

    Open WebUI saves the message only after that end, so a saved reference leads somewhere.
    """
    kept: list[str] = []
    async with aclosing(answer) as batches:
        async for batch in batches:
            referring = [_referring(event, context, store, kept) for event in batch]
            if isinstance(referring[-1], ResponseFinished | ResponseFailed) and kept:
                if referring[:-1]:
                    yield referring[:-1]
                await store.settle(kept)
                referring = referring[-1:]
            yield referring


def _referring(
    event: Event, context: RequestContext, store: ArtifactStore, kept: list[str]
) -> Event:
    """The event for the reader; the next round of this answer still needs the item as it is."""
    match event:
        case ItemFinished(_, ReasoningItem(details=details) as item) if details:
            # What was read out of a document is kept with the chat, also when thinking is not.
            parsed = [detail for detail in details if detail.get("type") == PARSED_DETAIL]
            thought = [detail for detail in details if detail not in parsed]
            artifact_id = store.keep(context, "reasoning", thought) if thought else ""
            if not artifact_id:
                return event
            kept.append(artifact_id)
            seals = sum(bool(detail.get("data") or detail.get("signature")) for detail in thought)
            reference = {"type": STORED_DETAIL, "id": artifact_id, "sealed": seals}
            return replace(event, item=replace(item, details=[reference, *parsed]))
        case _:
            return event
