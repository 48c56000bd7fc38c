"""What the chat has cost so far, told with the end of an answer; and that it was stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from ..api.bodies import CompletionsBody
from ..api.events import Event, ResponseFailed, ResponseFinished, SpendingKnown, Usage
from ..api.gateway.items import read_usage
from ..core.context import RequestContext
from ..core.json_values import objects_in
from ..core.logging_system import LOG
from ..core.money import dollars
from ..host.chats import is_saved_chat, read_saved_usage
from ..host.events import send_event

Taken = Callable[[], Usage | None]
"""What the finished rounds of the answer have taken."""

CreditLeft = Callable[[], float | None]
"""USD left of the key's limit, where the one who asks should know."""


def has_closing_line(context: RequestContext, body: CompletionsBody) -> bool:
    """Whether a person watches the answer come, and wants to know what it costs."""
    in_message = bool(context.chat_id and context.message_id) and not context.task
    return in_message and bool(body.get("stream")) and context.settings.show_final_usage


async def tell_spending(
    answer: AsyncGenerator[list[Event]],
    context: RequestContext,
    body: CompletionsBody,
    credit_left: CreditLeft,
    taken: Taken,
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; before its end comes what the closing line tells beside its usage."""
    ended = False
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                end = batch[-1]
                if not isinstance(end, ResponseFinished | ResponseFailed):
                    yield batch
                    continue
                if batch[:-1]:
                    yield batch[:-1]
                earlier = await _earlier_cost(context, body)
                ended = True
                yield [_add_up(earlier, end, credit_left()), end]
    except (asyncio.CancelledError, GeneratorExit):
        if not ended:
            await _tell_stop(context, taken())
        raise


def _add_up(
    earlier: list[float | None], end: ResponseFinished | ResponseFailed, credit: float | None
) -> SpendingKnown:
    costs = [*earlier, end.usage.charged if end.usage else None]
    known = [cost for cost in costs if cost is not None]
    # A first answer is the whole chat: its own cost says it.
    total = sum(known) if earlier and known else None
    return SpendingKnown(total, is_whole=len(known) == len(costs), credit_left=credit)


async def _earlier_cost(context: RequestContext, body: CompletionsBody) -> list[float | None]:
    """What each saved answer of the chat has cost; `None` where its usage does not tell."""
    messages = objects_in(body.get("messages"))
    answered = any(message.get("role") == "assistant" for message in messages)
    if not answered or not is_saved_chat(context.chat_id):
        return []
    try:
        saved = [read_usage(usage) for usage in await read_saved_usage(context)]
    except Exception:  # noqa: BLE001 - a sum that cannot be told must not cost the answer its end
        LOG.exception("spending: the usage saved with the chat could not be read")
        return []
    return [usage.charged if usage else None for usage in saved]


async def _tell_stop(context: RequestContext, taken: Usage | None) -> None:
    """Tokens and cost come with a round's last event: of the one that was stopped nothing is known.

    The stop itself goes on whatever becomes of the line.
    """
    seconds = time.perf_counter() - context.started_at
    known = taken.charged if taken else None
    cost = "cost unknown" if known is None else f"at least {dollars(known)}"
    words = f"Stopped after {seconds:.1f} s \N{MIDDLE DOT} {cost}"
    try:
        await send_event(context.host, "status", {"description": words, "done": True})
    except Exception:  # noqa: BLE001 - Open WebUI must learn of the stop, not of this
        LOG.exception("spending: the end of a stopped answer could not be told")
