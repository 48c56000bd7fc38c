"""The turn: a slot, a request, its Events, and what the caller sees of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from .api.bodies import CompletionsBody
from .api.events import (
    Event,
    Notice,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    Usage,
)
from .api.gateway.selection import EndpointName, select_endpoint
from .attempts import Ask
from .core.admission import enter_gate, leave_gate
from .core.context import RequestContext, current_request
from .core.error_templates import explain_failure, without_key
from .core.errors import InternalError, ModelUnavailableError, PipeError
from .core.json_values import objects_in
from .core.logging_system import LOG
from .core.source_map import trace_of
from .core.timing_logger import timing_mark, timing_scope
from .host.models import may_use_model
from .host.users import is_admin
from .host.versions import require_supported_host
from .models.entries import NOTICE_ID, explain_absence
from .models.family import ModelFamily, to_host_id
from .models.variants import ids_behind
from .models.visibility import allowed_only, require_allowed
from .requests.attachments import attach_files
from .requests.chat_body import needs_chat_endpoint
from .requests.history import call_ids_in
from .requests.modalities import ask_for_sound
from .requests.normalise import build_responses_body
from .requests.references import references_in, with_kept_details
from .requests.retention import remember
from .requests.studio import build_studio_body
from .rounds import Rounds
from .runtime import Runtime
from .storage.budgets import budget_warnings
from .storage.encoded_files import LargeFiles
from .storage.keeping import keep_files
from .storage.kept_thinking import keep_thinking
from .storage.spend_report import read_spend_command, report_spending
from .storage.spending import CreditLeft, has_closing_line, tell_spending
from .streaming.renderer import Piece, Renderer
from .streaming.transcript import Transcript
from .tools.toolbox import Toolbox, open_toolbox

OpenToolbox = Callable[[RequestContext, CompletionsBody, ModelFamily | None], Toolbox]


async def run_turn(
    context: RequestContext,
    body: CompletionsBody,
    runtime: Runtime,
    renderer: Renderer[Piece],
    open_tools: OpenToolbox = open_toolbox,
) -> AsyncGenerator[Piece]:
    """Answer one call; every failure becomes a piece that says so, and none is raised.

    Closing the generator, or cancelling the task that waits in it, cuts the connection upstream
    and stops the tools that run.
    """
    transcript = Transcript(call_ids_in(body))
    with (
        runtime.lease(context.function_id, context.settings),
        runtime.session_archive().session(context) as (context, note),
        timing_scope("turn"),
    ):
        current_request().set(context)
        try:
            turn = Turn(context, body, runtime, transcript, open_tools)
            async with aclosing(_kept_answer(turn)) as batches:
                async for batch in batches:
                    if isinstance(end := batch[-1], ResponseFailed):
                        _tell(end.error, context)
                    note(batch)
                    for piece in renderer.render(batch):
                        yield piece
            return
        except PipeError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - the person must learn of it, whatever it is
            failure = _unexpected(error, context)
        _tell(failure, context)
        batch = transcript.take([ResponseFailed(failure)])
        note(batch)
        for piece in renderer.render(batch):
            yield piece


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of the pipe, and what is at hand to answer it."""

    context: RequestContext
    body: CompletionsBody
    runtime: Runtime
    transcript: Transcript
    open_tools: OpenToolbox


def _kept_answer(turn: Turn) -> AsyncGenerator[list[Event]]:
    """The answer, its files stored, and what the chat has cost told before its end."""
    context, body = turn.context, turn.body
    if not context.task and (what := read_spend_command(body)) is not None:
        return _spending_told(turn, what)
    answer, artifacts = _answer(turn), turn.runtime.artifacts()
    artifacts.attend(context)
    if context.settings.artifacts.in_database and not context.task:
        answer = keep_thinking(answer, context, artifacts)
    answer = keep_files(answer, context)
    if not has_closing_line(context, body):
        return answer
    credit_left = _credit_watch(context, turn.runtime)
    return tell_spending(answer, context, body, credit_left, turn.transcript.taken)


async def _spending_told(turn: Turn, what: str) -> AsyncGenerator[list[Event]]:
    """The answer to `/spend`: the ledger's, not a model's."""
    context, transcript = turn.context, turn.transcript
    text = await report_spending(context, turn.runtime.ledger(), what)
    nothing = Usage(input_tokens=0, output_tokens=0, total_tokens=0, cost=0.0)
    yield transcript.take([ResponseStarted("", context.model)])
    yield transcript.say(text)
    yield transcript.take([ResponseFinished("", context.model, nothing)])


def _credit_watch(context: RequestContext, runtime: Runtime) -> CreditLeft:
    """For an admin, what is left on the key once it is low; for everyone else nothing."""
    settings = context.settings
    if not settings.low_credit or not settings.api_key or not is_admin(context.host):
        return lambda: None
    limit = runtime.key_limit(settings)
    limit.look(settings)
    return lambda: limit.left if (limit.left or 0) < settings.low_credit else None


async def _answer(turn: Turn) -> AsyncGenerator[list[Event]]:
    context, runtime, settings = turn.context, turn.runtime, turn.context.settings
    await _check(context, runtime)
    family = runtime.registry(settings).find(context.model)
    body = ask_for_sound(turn.body, context, family)
    room = LargeFiles()
    try:
        if not context.task:
            with timing_scope("attachments"):
                body, left_out = await attach_files(body, context, family, runtime.files, room)
            if left_out:
                yield [Notice(" ".join(left_out))]
        async with aclosing(_asked(turn, body, family)) as batches:
            async for batch in batches:
                if not all(isinstance(event, Notice) for event in batch):
                    room.leave()  # the request is on its way
                yield batch
    finally:
        room.leave()


async def _asked(
    turn: Turn, body: CompletionsBody, family: ModelFamily | None
) -> AsyncGenerator[list[Event]]:
    """The answer to the body, its files in it."""
    context, runtime, settings = turn.context, turn.runtime, turn.context.settings
    body = await _with_kept_thinking(body, context, runtime)
    toolbox = turn.open_tools(context, body, family)
    ask = await _prepare_ask(turn, body, family, toolbox)
    gate = runtime.gate
    with timing_scope("admission"):
        await enter_gate(gate, settings.max_concurrent_requests, settings.max_queued_requests)
    try:
        for warning in await budget_warnings(context, runtime.ledger()):
            yield [Notice(warning)]
        rounds = Rounds(ask, family, toolbox, turn.transcript)
        async with aclosing(rounds.run()) as batches:
            async for batch in batches:
                yield batch
    finally:
        leave_gate(gate)
        timing_mark("end of the answer")


async def _prepare_ask(
    turn: Turn, body: CompletionsBody, family: ModelFamily | None, toolbox: Toolbox
) -> Ask:
    """What is asked, and at which endpoint."""
    context, runtime, settings = turn.context, turn.runtime, turn.context.settings
    if family is not None and family.studio:
        endpoint, request = EndpointName(family.studio), build_studio_body(body, context, family)
    else:
        endpoint = select_endpoint(context.model, settings, needs_chat_endpoint(body))
        request = build_responses_body(body, context, family, toolbox.definitions)
    if not context.task and "models" in request:
        known = runtime.registry(settings).known
        allowed = allowed_only(request.pop("models"), known, settings.catalog)
        if granted := await _granted(allowed, context):
            request["models"] = granted
    return Ask(context, runtime, body, request, endpoint, turn.transcript.charge)


async def _granted(model_ids: Sequence[str], context: RequestContext) -> list[str]:
    """Those of the fallbacks that the person could choose: an API client names what it likes."""
    rows = {
        model_id: [f"{context.function_id}.{to_host_id(name)}" for name in ids_behind(model_id)]
        for model_id in model_ids
    }
    granted = [name for name in rows if await may_use_model(context.host, rows[name])]
    if left_out := [name for name in rows if name not in granted]:
        LOG.info("models: not shared with the person, so no fallback: %s", ", ".join(left_out))
    return granted


async def _with_kept_thinking(
    body: CompletionsBody, context: RequestContext, runtime: Runtime
) -> CompletionsBody:
    """The body with the thinking that the chat only refers to, as far as the model may have it."""
    messages = objects_in(body.get("messages"))
    if not references_in(messages):
        return body
    messages = remember(messages, context.settings)
    with timing_scope("artifacts"):
        kept = await runtime.artifacts().load(context, references_in(messages))
    return {**body, "messages": with_kept_details(messages, kept)}


async def _check(context: RequestContext, runtime: Runtime) -> None:
    require_supported_host()
    if context.model == NOTICE_ID:
        settings = context.settings
        raise await explain_absence(runtime.registry(settings), settings)
    if not context.model:
        raise ModelUnavailableError("No model is chosen.", "Choose one from the list.")
    if not context.task:  # Open WebUI's own chores may use any model
        registry, rules = runtime.registry(context.settings), context.settings.catalog
        if rules.needs_catalog:
            await registry.families(context.settings)
        if rules.needs_zdr:
            await registry.require_zdr_ids(context.settings)
        require_allowed(context.model, registry.known, rules)


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
