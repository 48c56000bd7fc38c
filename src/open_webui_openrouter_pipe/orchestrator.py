"""The turn: a slot, a request, its Events, and what the caller sees of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from .api.bodies import CompletionsBody, ResponsesBody
from .api.events import Event, ResponseFailed, ResponseStarted, RetryScheduled
from .api.gateway.responses import stream_responses
from .core.admission import enter_gate, leave_gate
from .core.context import CURRENT_REQUEST, RequestContext
from .core.errors import InternalError, OpenRouterAPIError, PipeError
from .core.logging_system import LOG
from .core.retry import retry_wait
from .host.versions import require_supported_host
from .models.entries import NOTICE_ID, explain_absence
from .models.visibility import require_allowed
from .requests.normalise import build_responses_body
from .requests.recovery import repair_request
from .runtime import Runtime
from .streaming.coalescer import merge_deltas, pace
from .streaming.collector import Collector
from .streaming.renderer import Piece, Renderer


async def run_turn(
    context: RequestContext, body: CompletionsBody, runtime: Runtime, renderer: Renderer[Piece]
) -> AsyncGenerator[Piece]:
    """Answer one call; every failure becomes a piece that says so, and none is raised.

    Closing the generator, or cancelling the task that waits in it, cuts the connection upstream.
    """
    CURRENT_REQUEST.set(context)
    collector = Collector()
    with runtime.lease(context.function_id, context.settings):
        try:
            async with aclosing(_answer(context, body, runtime)) as batches:
                async for batch in batches:
                    for piece in renderer.render(collector.take(merge_deltas(batch))):
                        yield piece
                    if not collector.ended:
                        await pace(batch)
            return
        except PipeError as error:
            failure = error
            LOG.warning("turn: %s", error.cause)
        except Exception as error:  # noqa: BLE001 - the person must learn of it, whatever it is
            failure = _unexpected(error, context)
        for piece in renderer.render(collector.take([ResponseFailed(failure)])):
            yield piece


async def _answer(
    context: RequestContext, body: CompletionsBody, runtime: Runtime
) -> AsyncGenerator[list[Event]]:
    settings = context.settings
    await _check(context, runtime)
    family = runtime.registry(settings).find(context.model)
    request = build_responses_body(body, context, family)
    gate = runtime.gate
    await enter_gate(gate, settings.max_concurrent_requests, settings.max_queued_requests)
    try:
        async with aclosing(_attempts(context, runtime, request)) as batches:
            async for batch in batches:
                yield batch
    finally:
        leave_gate(gate)


async def _attempts(
    context: RequestContext, runtime: Runtime, request: ResponsesBody
) -> AsyncGenerator[list[Event]]:
    """Ask until there is an answer or no hope of one; after the first word nothing is repeated."""
    retries, repairs = 0, set[str]()
    while True:
        try:
            answer = stream_responses(runtime.client(), context.settings, request)
            async with aclosing(_failing_early(answer)) as batches:
                async for batch in batches:
                    yield batch
            return
        except PipeError as error:
            repaired = _repaired(request, error, repairs)
            wait = 0.0 if repaired is not None else retry_wait(error, retries)
            if wait is None:
                raise
            LOG.warning("turn: %s Trying again in %.1f seconds.", error.cause, wait)
            refusal = error
        if repaired is not None:
            request = repaired
            continue
        retries += 1
        yield [RetryScheduled(refusal, wait)]
        await asyncio.sleep(wait)


def _repaired(request: ResponsesBody, error: PipeError, repairs: set[str]) -> ResponsesBody | None:
    return (
        repair_request(request, error, repairs) if isinstance(error, OpenRouterAPIError) else None
    )


async def _failing_early(
    answer: AsyncGenerator[list[Event]],
) -> AsyncGenerator[list[Event]]:
    """Raise a failure that came before any output, as if the request had been refused."""
    begun = False
    async with aclosing(answer) as batches:
        async for batch in batches:
            begun = begun or not all(
                isinstance(event, ResponseStarted | ResponseFailed) for event in batch
            )
            if not begun and isinstance(failed := batch[-1], ResponseFailed):
                raise failed.error
            yield batch


async def _check(context: RequestContext, runtime: Runtime) -> None:
    require_supported_host()
    if context.model == NOTICE_ID:
        settings = context.settings
        raise await explain_absence(runtime.registry(settings), settings)
    if not context.task:  # Open WebUI's own chores may use any model
        require_allowed(context.model, context.settings)


def _unexpected(error: Exception, context: RequestContext) -> InternalError:
    LOG.error("turn: an unexpected error", exc_info=error)
    return InternalError(
        "Something went wrong inside the OpenRouter function.",
        f"The admin finds the details in the server's log under request {context.request_id}.",
    )
