"""The turn: a slot, a request, its Events, and what the caller sees of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from .api.bodies import CompletionsBody
from .api.events import Event, ResponseFailed
from .api.gateway.responses import stream_responses
from .core.admission import enter_gate, leave_gate
from .core.context import RequestContext, current_request
from .core.errors import InternalError, PipeError
from .core.logging_system import LOG
from .host.versions import require_supported_host
from .models.entries import NOTICE_ID, explain_absence
from .models.visibility import require_allowed
from .requests.normalise import build_responses_body
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
    current_request().set(context)
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
    request = build_responses_body(body, context.model)
    gate = runtime.gate
    await enter_gate(gate, settings.max_concurrent_requests, settings.max_queued_requests)
    try:
        async with aclosing(stream_responses(runtime.client(), settings, request)) as batches:
            async for batch in batches:
                yield batch
    finally:
        leave_gate(gate)


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
