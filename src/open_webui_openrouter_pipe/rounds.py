"""The rounds of one answer: the model calls tools, reads what they brought back, and goes on."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from .api.events import (
    Event,
    FunctionCallItem,
    ItemFinished,
    ItemStarted,
    Notice,
    ReasoningItem,
    ResponseFinished,
    SourcesFound,
    ToolOutputItem,
)
from .attempts import Ask, attempt
from .core.json_values import JsonObject
from .core.logging_system import LOG
from .core.timing_logger import timing_scope
from .host.citing import SourceNumbers
from .models.family import ModelFamily
from .requests.next_round import add_round, ask_for_words, question_in, say_before_question
from .requests.parsed_files import bind_to_chat
from .streaming.transcript import Transcript
from .tools.toolbox import CallOwner, Toolbox

# A model that makes the same call so often is told that it does.
_REPEATS_NOTICED = 3
# Tokens kept for the answer where the chat sets no limit, and the least a tool's output is worth.
_ANSWER_ROOM = 4_096
_LEAST_OUTPUT_ROOM = 256

_REPEATED = (
    "[You have made this call with the same arguments {count} times. Use what you have, "
    "or try something else.]"
)
_LIMIT_REACHED = (
    "Not run: this answer has used all its {limit} rounds of tools. "
    "Answer now, with what you have, and say what is missing."
)
_CONTEXT_FULL = (
    "Not run: the conversation has no room left for what the tool would bring back. "
    "Answer now, with what you have, and say what is missing."
)
_NO_MORE_TOOLS = "Not run: no more tools can be used in this answer."
_NO_RESULT = "The tool ended without a result."
_REMINDER = "Your tools have run, but you have not answered yet. Answer now, from their results."
_NO_ANSWER = "The model used its tools but wrote no answer. Ask it to go on, or try another model."


@dataclass(slots=True)
class Rounds:
    """One answer on its way: what is asked, by which tools it is helped, what has come."""

    ask: Ask
    family: ModelFamily | None
    toolbox: Toolbox
    transcript: Transcript
    runs: int = 0
    """How often calls were run."""
    is_last: bool = False
    """Whether the round under way was asked to do without tools."""
    made: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """How often each call was made, by name and arguments."""
    source_numbers: SourceNumbers = field(init=False)

    def __post_init__(self) -> None:
        self.source_numbers = SourceNumbers(self.ask.context.host)

    async def run(self) -> AsyncGenerator[list[Event]]:
        """Ask, run what was called, and ask again, until the model has answered."""
        while True:
            end: ResponseFinished | None = None
            async with aclosing(attempt(self.ask)) as batches:
                async for batch in batches:
                    events = self.transcript.take(batch)
                    self._make_own(events)
                    if events and isinstance(last := events[-1], ResponseFinished):
                        end = last
                        events.pop()
                    if events:
                        yield events
            if end is None:
                return  # it failed, and the last batch says so
            async with aclosing(self._continue(end)) as batches:
                async for batch in batches:
                    yield batch
            if self.transcript.ended:
                yield [end]
                return
            self.transcript.begin_round()

    def _make_own(self, events: list[Event]) -> None:
        """Give calls the names Open WebUI runs and shows them by; bind to the chat what is kept."""
        for event in events:
            match event:
                case ItemFinished(_, ReasoningItem(details=details)):
                    bind_to_chat(details, self.ask.context.chat_id)
                case ItemStarted(_, FunctionCallItem() as call):
                    call.name = self.toolbox.host_name(call.name)
                case ItemFinished(_, FunctionCallItem() as call):
                    call.name = self.toolbox.host_name(call.name)
                case _:
                    pass

    async def _continue(self, end: ResponseFinished) -> AsyncGenerator[list[Event]]:
        """Do what the round asks for; the transcript goes on if there is to be another."""
        calls = self.transcript.open_calls()
        if calls:
            if self.toolbox.owner_of(calls) is CallOwner.PIPE:
                async with aclosing(self._answer_calls(calls)) as batches:
                    async for batch in batches:
                        yield batch
        elif end.incomplete_reason or self.transcript.has_answer:
            return
        elif self.is_last:
            yield self.transcript.say(_NO_ANSWER)
        elif self.runs:
            self.is_last = True
            self.transcript.go_on()
            self.ask.request = ask_for_words(self.ask.request, self.family, _REMINDER)

    async def _answer_calls(self, calls: list[FunctionCallItem]) -> AsyncGenerator[list[Event]]:
        if self.is_last:  # it calls tools although it was told not to
            yield self._refuse_calls(calls, _NO_MORE_TOOLS)
            if not self.transcript.has_answer:
                yield self.transcript.say(_NO_ANSWER)
            return
        room = self._room()
        note, notice = self._reason_to_stop(room)
        self.transcript.go_on()
        outputs: list[ToolOutputItem] = []
        if note:
            LOG.warning("rounds: %s", notice)
            self.is_last = True
            yield [Notice(notice)]
            yield self._refuse_calls(calls, note)
            outputs = [_not_run(call, note) for call in calls]
        else:
            self.runs += 1
            with timing_scope("tools"):
                async with aclosing(self._run_calls(calls, room, outputs)) as batches:
                    async for batch in batches:
                        yield batch
        request = add_round(self.ask.request, self.transcript.round_items(), outputs)
        self.ask.request = ask_for_words(request, self.family) if note else request

    async def _run_calls(
        self, calls: list[FunctionCallItem], room: int | None, outputs: list[ToolOutputItem]
    ) -> AsyncGenerator[list[Event]]:
        """Show each output as it comes; `outputs` gets them all, in the order of the calls."""
        waiting = {call.call_id: call for call in calls}
        found: dict[str, ToolOutputItem] = {}
        async with aclosing(self.toolbox.run(calls, room)) as outcomes:
            async for outcome in outcomes:
                call = waiting.pop(outcome.output.call_id, None)
                if call is None:
                    LOG.warning("rounds: an output that no call waits for was left out")
                    continue
                output = self._noticing_repeats(call, outcome.output)
                sources: list[Event] = [SourcesFound(outcome.sources)] if outcome.sources else []
                found[call.call_id] = await self._numbering(output, outcome.sources)
                yield [*self.transcript.answer_call(call, output), *sources]
        for call in waiting.values():
            output = found[call.call_id] = _not_run(call, _NO_RESULT)
            yield self.transcript.answer_call(call, output)
        outputs.extend(found[call.call_id] for call in calls)

    async def _numbering(self, output: ToolOutputItem, sources: list[JsonObject]) -> ToolOutputItem:
        """The output as the model reads it: with the numbers by which it may cite the sources.

        They stand behind the output, so that the rounds before stay in the prompt cache.
        """
        if not sources:
            return output
        question = question_in(self.ask.request)
        tags, words = await self.source_numbers.describe(sources, question)
        if words:
            self.ask.request = say_before_question(self.ask.request, words)
        return replace(output, text=f"{output.text}\n\n{tags}") if tags else output

    def _noticing_repeats(self, call: FunctionCallItem, output: ToolOutputItem) -> ToolOutputItem:
        made = call.name, "".join(call.arguments.split())
        self.made[made] += 1
        if (count := self.made[made]) < _REPEATS_NOTICED:
            return output
        return replace(output, text=f"{output.text}\n\n{_REPEATED.format(count=count)}".strip())

    def _refuse_calls(self, calls: list[FunctionCallItem], note: str) -> list[Event]:
        return [
            event
            for call in calls
            for event in self.transcript.answer_call(call, _not_run(call, note))
        ]

    def _reason_to_stop(self, room: int | None) -> tuple[str, str]:
        """What to tell the model and the person, where no more calls can be run."""
        limit = self.ask.context.settings.max_function_call_loops
        if self.runs >= limit:
            notice = f"The model used tools {limit} times, the most it may; it answers without."
            return _LIMIT_REACHED.format(limit=limit), notice
        if room is not None and room < _LEAST_OUTPUT_ROOM:
            return _CONTEXT_FULL, "The chat fills the model's context; it answers without tools."
        return "", ""

    def _room(self) -> int | None:
        """How many tokens the outputs may have, where that can be told."""
        usage = self.transcript.last_usage
        length = self.family.context_length if self.family else None
        if length is None or usage is None or usage.input_tokens is None:
            return None
        answer = self.ask.request.get("max_output_tokens", _ANSWER_ROOM)
        return length - usage.input_tokens - (usage.output_tokens or 0) - min(answer, length // 4)


def _not_run(call: FunctionCallItem, note: str) -> ToolOutputItem:
    """The output of a call without a result."""
    return ToolOutputItem("", call.call_id, note, status="failed")
