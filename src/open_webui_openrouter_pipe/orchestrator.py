"""The turn: a slot, a request, its Events, and what the caller sees of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from .api.bodies import CompletionsBody, ResponsesBody
from .api.events import Event, ResponseFailed, ResponseStarted, RetryScheduled, Usage
from .api.gateway.chat_completions import stream_chat_completions
from .api.gateway.responses import stream_responses
from .api.gateway.selection import EndpointName, may_fall_back, select_endpoint
from .core.admission import enter_gate, leave_gate
from .core.context import RequestContext, current_request
from .core.error_templates import explain_failure, without_key
from .core.errors import (
    InternalError,
    ModelUnavailableError,
    OpenRouterAPIError,
    PipeError,
)
from .core.logging_system import LOG
from .core.retry import retry_wait
from .core.source_map import trace_of
from .core.timing_logger import timing_mark, timing_scope
from .host.users import is_admin
from .host.versions import require_supported_host
from .models.entries import NOTICE_ID, explain_absence
from .models.visibility import require_allowed
from .requests.chat_body import build_chat_body, needs_chat_endpoint
from .requests.normalise import build_responses_body
from .requests.recovery import repair_request
from .runtime import Runtime
from .storage.pictures import keep_pictures
from .storage.spending import CreditLeft, has_closing_line, tell_spending
from .streaming.collector import Collector
from .streaming.renderer import Piece, Renderer
from .streaming.think_tags import ThinkTags


async def run_turn(
    context: RequestContext, body: CompletionsBody, runtime: Runtime, renderer: Renderer[Piece]
) -> AsyncGenerator[Piece]:
    """Answer one call; every failure becomes a piece that says so, and none is raised.

    Closing the generator, or cancelling the task that waits in it, cuts the connection upstream.
    """
    current_request().set(context)
    tags, collector = ThinkTags(), Collector()
    with runtime.lease(context.function_id, context.settings), timing_scope("turn"):
        try:
            async with aclosing(_kept_answer(context, body, runtime)) as batches:
                async for batch in batches:
                    if isinstance(end := batch[-1], ResponseFailed):
                        _tell(end.error, context)
                    for piece in renderer.render(collector.take(tags.split(batch))):
                        yield piece
            return
        except PipeError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the person must learn of it, whatever it is
            failure = _unexpected(error, context)
        _tell(failure, context)
        for piece in renderer.render(collector.take(tags.split([ResponseFailed(failure)]))):
            yield piece


def _kept_answer(
    context: RequestContext, body: CompletionsBody, runtime: Runtime
) -> AsyncGenerator[list[Event]]:
    """The answer, its pictures stored, and what the chat has cost told before its end."""
    answer = keep_pictures(_answer(context, body, runtime), context)
    if not has_closing_line(context, body):
        return answer
    return tell_spending(answer, context, body, _credit_watch(context, runtime))


def _credit_watch(context: RequestContext, runtime: Runtime) -> CreditLeft:
    """For an admin, what is left on the key once it is low; for everyone else nothing."""
    settings = context.settings
    if not settings.low_credit or not settings.api_key or not is_admin(context.host):
        return lambda: None
    limit = runtime.key_limit(settings)
    limit.look(settings)
    return lambda: limit.left if (limit.left or 0) < settings.low_credit else None


async def _answer(
    context: RequestContext, body: CompletionsBody, runtime: Runtime
) -> AsyncGenerator[list[Event]]:
    settings = context.settings
    await _check(context, runtime)
    family = runtime.registry(settings).find(context.model)
    request = build_responses_body(body, context, family)
    endpoint = select_endpoint(context.model, settings, needs_chat_endpoint(body))
    gate = runtime.gate
    with timing_scope("admission"):
        await enter_gate(gate, settings.max_concurrent_requests, settings.max_queued_requests)
    try:
        async with aclosing(_attempts(Ask(context, runtime, body, endpoint), request)) as batches:
            async for batch in batches:
                yield batch
    finally:
        leave_gate(gate)
        timing_mark("end of the answer")


@dataclass(slots=True)
class Ask:
    """One request on its way: to which endpoint it goes may still change."""

    context: RequestContext
    runtime: Runtime
    body: CompletionsBody
    endpoint: EndpointName
    usage: Usage | None = None
    """What a refused request has cost, where its refusal said so."""

    def send(self, request: ResponsesBody) -> AsyncGenerator[list[Event]]:
        """Ask the endpoint chosen now."""
        client, settings = self.runtime.client(), self.context.settings
        if self.endpoint is EndpointName.RESPONSES:
            return stream_responses(client, settings, request)
        return stream_chat_completions(client, settings, build_chat_body(request, self.body))

    def fall_back(self, error: PipeError) -> bool:
        """Change to the other endpoint, when the first has said that it is the wrong one."""
        settings, model = self.context.settings, self.context.model
        if self.endpoint is EndpointName.RESPONSES and may_fall_back(model, settings, error):
            self.endpoint = EndpointName.CHAT_COMPLETIONS
            return True
        return False


async def _attempts(ask: Ask, request: ResponsesBody) -> AsyncGenerator[list[Event]]:
    """Ask until there is an answer or no hope of one; after the first word nothing is repeated."""
    retries, repairs = 0, set[str]()
    while True:
        try:
            async with aclosing(_failing_early(ask, ask.send(request))) as batches:
                async for batch in batches:
                    yield batch
            return
        except PipeError as error:
            refusal = error
        refusal.cause = without_key(refusal.cause, ask.context.settings)
        LOG.info("turn: refused: %s", refusal.cause)
        if (repaired := _repaired(request, refusal, repairs)) is not None:
            request = repaired
        elif not ask.fall_back(refusal):
            wait = retry_wait(refusal, retries)
            if wait is None:
                yield [ResponseFailed(refusal, ask.usage)]
                return
            retries += 1
            yield [RetryScheduled(refusal, wait)]
            await asyncio.sleep(wait)


def _repaired(request: ResponsesBody, error: PipeError, repairs: set[str]) -> ResponsesBody | None:
    return (
        repair_request(request, error, repairs) if isinstance(error, OpenRouterAPIError) else None
    )


async def _failing_early(
    ask: Ask, answer: AsyncGenerator[list[Event]]
) -> AsyncGenerator[list[Event]]:
    """Raise a failure that came before any output, as if the request had been refused."""
    begun = False
    async with aclosing(answer) as batches:
        async for batch in batches:
            if not begun:
                begun = not all(
                    isinstance(event, ResponseStarted | ResponseFailed) for event in batch
                )
                if begun:
                    timing_mark("first event")
            if not begun and isinstance(failed := batch[-1], ResponseFailed):
                ask.usage = failed.usage
                raise failed.error
            yield batch


async def _check(context: RequestContext, runtime: Runtime) -> None:
    require_supported_host()
    if context.model == NOTICE_ID:
        settings = context.settings
        raise await explain_absence(runtime.registry(settings), settings)
    if not context.model:
        raise ModelUnavailableError("No model is chosen.", "Choose one from the list.")
    if not context.task:  # Open WebUI's own chores may use any model
        require_allowed(context.model, context.settings)


def _tell(error: PipeError, context: RequestContext) -> None:
    """Word the failure for the person, and leave its number in the log."""
    error.explanation = explain_failure(error, context)
    cause = without_key(error.cause, context.settings)
    LOG.warning("turn: error %s: %s", context.request_id, cause)


def _unexpected(error: Exception, context: RequestContext) -> InternalError:
    LOG.error("turn: an unexpected error: %s", trace_of(error))
    return InternalError(
        "Something went wrong inside the OpenRouter function.",
        f"The admin finds the details in the server's log under request {context.request_id}.",
    )
