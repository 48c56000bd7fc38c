"""One request on its way: repaired, redirected or repeated until an answer comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from .api.bodies import CompletionsBody, ResponsesBody
from .api.catalog import fetch_usage
from .api.events import (
    Event,
    Notice,
    ResponseFailed,
    ResponseStarted,
    RetryScheduled,
    Usage,
    Working,
)
from .api.gateway.chat_completions import stream_chat_completions
from .api.gateway.images import stream_images
from .api.gateway.responses import stream_responses
from .api.gateway.selection import EndpointName, may_fall_back
from .api.gateway.videos import stream_video
from .core.context import RequestContext
from .core.error_templates import without_key
from .core.errors import OpenRouterAPIError, PipeError
from .core.logging_system import LOG
from .core.retry import retry_wait
from .core.timing_logger import timing_mark
from .requests.chat_body import build_chat_body
from .requests.parsed_files import without_parsed
from .requests.recovery import repair_request
from .runtime import Runtime
from .storage.spend_table import tell_end
from .storage.video_watch import VideoWatch


@dataclass(slots=True)
class Ask:
    """What is asked next, and where: a refusal may change both, for the rounds to come too."""

    context: RequestContext
    runtime: Runtime
    body: CompletionsBody
    request: ResponsesBody
    endpoint: EndpointName
    charge: Callable[[Usage], None]
    """Is told what a refused request has cost, where its refusal says so."""

    def send(self) -> AsyncGenerator[list[Event]]:
        """Ask the endpoint chosen now."""
        client, settings = self.runtime.client(), self.context.settings
        note = partial(self.runtime.ledger().note, self.context)
        match self.endpoint:
            case EndpointName.RESPONSES:
                answer = stream_responses(client, settings, without_parsed(self.request))
            case EndpointName.IMAGES:
                answer = stream_images(client, settings, self.request)
            case EndpointName.VIDEOS:
                watch = VideoWatch(self.context, self.runtime.video_jobs, note)
                return watch.follow(stream_video(client, settings, self.request))
            case EndpointName.CHAT_COMPLETIONS:
                chat_body = build_chat_body(self.request, self.body)
                answer = stream_chat_completions(client, settings, chat_body)
        note = partial(note, find_usage=partial(fetch_usage, client, settings))
        return tell_end(answer, note)

    def repair(self, error: PipeError, tried: set[str]) -> bool:
        """Take out of the request what was refused; `tried` remembers the repairs made."""
        if not isinstance(error, OpenRouterAPIError):
            return False
        repaired = repair_request(self.request, error, tried)
        self.request = repaired or self.request
        return repaired is not None

    def fall_back(self, error: PipeError) -> bool:
        """Change to the other endpoint, when the first has said that it is the wrong one."""
        settings, model = self.context.settings, self.context.model
        if self.endpoint is EndpointName.RESPONSES and may_fall_back(model, settings, error):
            self.endpoint = EndpointName.CHAT_COMPLETIONS
            return True
        return False


async def attempt(ask: Ask) -> AsyncGenerator[list[Event]]:
    """Ask until there is an answer or no hope of one; after the first word nothing is repeated."""
    retries, repairs = 0, set[str]()
    while True:
        try:
            async with aclosing(_failing_early(ask)) as batches:
                async for batch in batches:
                    yield batch
            return
        except PipeError as error:
            refusal = error
        refusal.cause = without_key(refusal.cause, ask.context.settings)
        LOG.info("turn: refused: %s", refusal.cause)
        had_tools = "tools" in ask.request
        if ask.repair(refusal, repairs):
            if had_tools and "tools" not in ask.request:
                yield [Notice("This model takes no tools; it answers without them.")]
        elif not ask.fall_back(refusal):
            wait = retry_wait(refusal, retries)
            if wait is None:
                yield [ResponseFailed(refusal)]
                return
            retries += 1
            yield [RetryScheduled(refusal, wait)]
            await asyncio.sleep(wait)


async def _failing_early(ask: Ask) -> AsyncGenerator[list[Event]]:
    """Raise a failure that came before any output, as if the request had been refused."""
    begun = False
    async with aclosing(ask.send()) as batches:
        async for batch in batches:
            if not begun:
                begun = not all(
                    isinstance(event, ResponseStarted | ResponseFailed | Working) for event in batch
                )
                if begun:
                    timing_mark("first event")
            if not begun and isinstance(failed := batch[-1], ResponseFailed):
                if failed.usage is not None:
                    ask.charge(failed.usage)
                raise failed.error
            yield batch
