"""The entrance: what Open WebUI calls."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import StreamingResponse

from .core.config import SystemValves, take_snapshot
from .core.context import EventCall, HostHandles, RequestContext
from .core.errors import PipeError
from .core.ids import new_request_id
from .core.personal_valves import PersonalValves
from .host.call import AnswerForm, HostCall, read_call
from .host.columns import with_own_parameters
from .host.departure import unless_hung_up
from .host.users import read_personal_valves
from .host.versions import require_supported_host
from .models.entries import Entry, list_entries, notice_entry
from .models.family import from_host_id
from .orchestrator import run_turn
from .resuming import resume_videos
from .runtime import Runtime, known_vendors
from .streaming.completion_chunks import CompletionChunks
from .streaming.completion_dict import CompletionDict
from .streaming.response_events import ResponseEvents

Answer = AsyncGenerator[dict[str, Any]] | StreamingResponse | dict[str, Any]


class Pipe:
    """Every OpenRouter model in Open WebUI's model list."""

    class Valves(SystemValves):
        """What the admin sets for everyone."""

        @classmethod
        def vendor_choices(cls) -> list[str]:
            """The vendors in the catalog, for the form; none while there is no catalog."""
            return known_vendors(_function_id())

    class UserValves(PersonalValves):
        """What each user sets for themselves."""

    def __init__(self) -> None:
        self.valves = self.Valves()
        self._runtime = Runtime()

    async def pipes(self) -> list[Entry]:
        """The entries for the model list, from memory; the very first call waits a few seconds."""
        settings = take_snapshot(self.valves)
        function_id = _function_id()
        with self._runtime.lease(function_id, settings):
            try:
                require_supported_host()
            except PipeError as error:
                return [notice_entry(error)]
            resume_videos(self._runtime, function_id, settings)
            registry = self._runtime.registry(settings)
            entries = await list_entries(registry, settings)
            self._runtime.metadata_sync(function_id, settings).look(registry.known, settings)
            return entries

    async def pipe(  # noqa: PLR0913 - Open WebUI passes what the signature names
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any] | None = None,
        __request__: Any = None,
        __tools__: dict[str, Any] | None = None,
        __event_emitter__: EventCall | None = None,
        __event_call__: EventCall | None = None,
        __task__: str | None = None,
    ) -> Answer:
        """Answer one chat, API call or chore, in the form its caller can read."""
        handles = HostHandles(
            request=__request__,
            metadata=__metadata__ or {},
            tools=__tools__ or {},
            event_emitter=__event_emitter__,
            event_call=__event_call__,
        )
        call = read_call(await with_own_parameters(body, handles), handles, __task__)
        context = self._context(call, await read_personal_valves(handles, call.function_id))
        model = str(body.get("model", ""))
        resume_videos(self._runtime, context.function_id, context.settings)
        match call.form:
            case AnswerForm.CHAT_EVENTS:
                return run_turn(
                    context,
                    call.body,
                    self._runtime,
                    ResponseEvents(
                        show_usage=context.settings.show_final_usage,
                        thinking=context.settings.thinking_output,
                        speaks_errors=call.is_in_channel,
                    ),
                )
            case AnswerForm.COMPLETION_CHUNKS:
                chunks = run_turn(context, call.body, self._runtime, CompletionChunks(model))
                return StreamingResponse(chunks, media_type="text/event-stream")
            case AnswerForm.COMPLETION_DICT:
                renderer = CompletionDict(
                    model,
                    with_output=call.is_live and not call.task,
                    with_reasoning=not call.task,
                )
                answer = run_turn(context, call.body, self._runtime, renderer)
                if call.is_live or call.task:
                    return await _last(answer)
                # Open WebUI lets the answer run on when an API client has hung up.
                return await unless_hung_up(handles, _last(answer)) or {}

    async def close(self) -> None:
        """Close every connection. Open WebUI never asks for it: a newer copy does, on reload."""
        await self._runtime.close()

    def _context(self, call: HostCall, own: PersonalValves | None) -> RequestContext:
        return RequestContext(
            request_id=new_request_id(),
            function_id=call.function_id,
            settings=take_snapshot(self.valves, own),
            model=from_host_id(call.host_model_id),
            user_id=call.user_id,
            session_id=call.session_id,
            chat_id=call.chat_id,
            message_id=call.message_id,
            task=call.task,
            hand_over=call.hand_over,
            host=call.handles,
        )


async def _last(answer: AsyncGenerator[dict[str, Any]]) -> dict[str, Any]:
    """The only piece of a whole answer."""
    async with aclosing(answer) as pieces:
        return [piece async for piece in pieces][-1]


def _function_id() -> str:
    """The id the admin chose: Open WebUI loads the file as `function_<id>_<32 hex digits>`."""
    loaded = re.match(r"function_(?P<id>.+?)(_[0-9a-f]{32})?$", __name__)
    return loaded["id"] if loaded else "openrouter"
