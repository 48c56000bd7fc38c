"""Answers `/responses` and `/chat/completions` when no script does: checks, persona, bill."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from .answers import (
    Answer,
    AnswerItem,
    FunctionCall,
    GeneratedImage,
    Message,
    Reasoning,
    Speech,
    WebSearch,
)
from .body_checks import check_body
from .catalog import provider_of
from .chat_chunks import chat_body, chat_chunks
from .conversation import Conversation, read_conversation
from .documents import read_documents
from .error_bodies import broken_off, error_chat_choice, error_reply
from .persona import answer_to
from .prompt_cache import PromptCache
from .recording import RecordedRequest
from .replies import Event, Reply
from .responses_events import failed_response, opening_response, responses_events
from .routing_checks import (
    check_capabilities,
    check_model,
    check_replay,
    choose_row,
    serving_row,
    unknown_model,
)
from .usage import Tokens, chat_usage, count_tokens, responses_usage

Row = dict[str, Any]

_IMAGE_TOKENS = 1290
_STREAM_MODEL = re.compile(r"lab/stream-(\d+)")
_DIRECTIVE = re.compile(r"#(stream|error|fail|stall|truncate)\b([^\n]*)")
_SETTING = re.compile(r"(\w+)=(\d+)")
_RESPONSES_COMMENT = ": \n\n"
_CHAT_COMMENT = ": OPENROUTER PROCESSING\n\n"


@dataclass(frozen=True, slots=True)
class Completions:
    """What answers are made with: the catalog, the prompt cache, the pace of the words."""

    rows: list[Row]
    cache: PromptCache
    pace: float = 0.0
    deltas: int | None = None

    def reply_to(self, request: RecordedRequest) -> Reply:
        """The refusal of a request, or the answer to it."""
        body = request.body
        if refusal := check_body(request.path, body):
            return refusal
        row = choose_row(body, [*self.rows, *_stream_rows(body)])
        if row is None or (refusal := check_model(row)):
            return refusal or unknown_model(body)
        row = serving_row(row, self.rows)
        asked = read_conversation(request.path, body)
        if refusal := check_capabilities(asked, row) or check_replay(body, row):
            return refusal
        return self._answer(request, asked, row)

    def _answer(self, request: RecordedRequest, asked: Conversation, row: Row) -> Reply:
        directive = _DIRECTIVE.search(asked.prompt)
        answer = self._stream_of_words(row, directive) or answer_to(asked, row)
        answer = _limited(answer, asked.max_output_tokens)
        tokens = _tokens(answer, *self.cache.read_and_write(asked, row))
        read = read_documents(request.body, row)
        tokens = replace(tokens, documents=len(read))
        if request.path == "/responses":
            reply = _responses_reply(request.body, answer, row, tokens)
        else:
            streams = bool(request.body.get("stream"))
            reply = _chat_reply(_annotated(answer, read), row, tokens, streams)
        if directive is None:
            return replace(reply, pause=self.pace)
        if directive[1] != "stream":
            reply = _disturbed(reply, directive)
        return replace(reply, pause=_setting(directive, "pause_ms", 0) / 1000)

    def _stream_of_words(self, row: Row, directive: re.Match[str] | None) -> Answer | None:
        model = _STREAM_MODEL.fullmatch(row["id"])
        count = int(model[1]) if model else self.deltas
        if directive and directive[1] == "stream":
            count = _setting(directive, "deltas", 200)
        if count is None:
            return None
        return Answer((Message(tuple(f"word{number} " for number in range(count))),))


def _annotated(answer: Answer, notes: list[dict[str, Any]]) -> Answer:
    """The answer, its words carrying these notes."""
    items = [
        replace(item, annotations=(*notes, *item.annotations))
        if isinstance(item, Message)
        else item
        for item in answer.items
    ]
    return replace(answer, items=tuple(items))


def _stream_rows(body: dict[str, Any]) -> list[Row]:
    """`lab/stream-<n>` exists for every n."""
    model = str(body.get("model"))
    if not _STREAM_MODEL.fullmatch(model):
        return []
    return [
        {
            "id": model,
            "canonical_slug": model,
            "name": model,
            "context_length": None,
            "architecture": {"input_modalities": ["text"], "output_modalities": ["text"]},
            "pricing": {"prompt": "0.0000001", "completion": "0.0000004"},
            "supported_parameters": ["tools", "tool_choice", "temperature"],
        }
    ]


def _setting(directive: re.Match[str], name: str, default: int) -> int:
    return int(dict(_SETTING.findall(directive[2])).get(name, default))


def _limited(answer: Answer, limit: int | None) -> Answer:
    """Cut the answer where `max_output_tokens` is used up."""
    if limit is None:
        return answer
    left = limit
    kept: list[AnswerItem] = []
    for item in answer.items:
        needed = _item_tokens(item)
        if needed > left:
            return Answer((*kept, *_cut(item, left)), "max_output_tokens")
        kept.append(item)
        left -= needed
    return answer


def _cut(item: AnswerItem, tokens: int) -> tuple[AnswerItem, ...]:
    if not isinstance(item, Message | Reasoning | FunctionCall):
        return ()
    return (replace(item, pieces=item.pieces[: tokens * 3 // 4]),)


def _item_tokens(item: AnswerItem) -> int:
    if isinstance(item, GeneratedImage):
        return _IMAGE_TOKENS
    if isinstance(item, WebSearch):
        return 0
    if isinstance(item, Speech):
        return count_tokens("".join(item.transcript)) + len(item.sound)
    if isinstance(item, FunctionCall):
        return count_tokens(f"{item.name} {item.arguments}") + 8
    return count_tokens(item.text)


def _tokens(answer: Answer, total: int, cached: int, written: int) -> Tokens:
    thinking = sum(_item_tokens(item) for item in answer.items if isinstance(item, Reasoning))
    images = sum(isinstance(item, GeneratedImage) for item in answer.items)
    return Tokens(
        input=total,
        output=sum(_item_tokens(item) for item in answer.items),
        reasoning=thinking,
        cached=cached,
        cache_write=written,
        image=images * _IMAGE_TOKENS,
        searches=sum(isinstance(item, WebSearch) for item in answer.items),
    )


def _responses_reply(body: dict[str, Any], answer: Answer, row: Row, tokens: Tokens) -> Reply:
    response = opening_response(row["id"], body)
    headers = {"X-Generation-Id": response["id"]}
    events = responses_events(answer, response, responses_usage(row, tokens))
    if not body.get("stream"):
        return Reply(body=events[-1]["response"], headers=headers)
    return Reply(events=[_RESPONSES_COMMENT, *events], headers=headers)


def _chat_reply(answer: Answer, row: Row, tokens: Tokens, stream: bool) -> Reply:
    model, provider = row["canonical_slug"], provider_of(row["id"])
    usage = chat_usage(row, tokens)
    if not stream:
        whole = chat_body(answer, model, provider, usage)
        return Reply(body=whole, headers={"X-Generation-Id": whole["id"]})
    chunks = chat_chunks(answer, model, provider, usage)
    headers = {"X-Generation-Id": chunks[0]["id"]}
    return Reply(events=[_CHAT_COMMENT, *chunks], headers=headers)


def _disturbed(reply: Reply, directive: re.Match[str]) -> Reply:
    """What a person can ask for to see a failure: `#error 429`, `#fail`, `#stall`, `#truncate`."""
    if directive[1] == "error":
        number = re.search(r"[45]\d\d", directive[2])
        status = int(number[0]) if number else 500
        retry_after = 1.0 if status in (429, 503) else None
        return error_reply(status, "The error that you asked for.", retry_after=retry_after)
    if reply.events is None:
        return reply
    half = len(reply.events) // 2
    if directive[1] == "truncate":
        return replace(reply, end_after=half)
    if directive[1] == "stall":
        return replace(reply, stall_after=half)
    return broken_off(reply, half, _failure(reply.events, half - 1))


def _failure(events: list[Event], number: int) -> Event:
    message = "The failure that you asked for."
    opening = next(event for event in events if isinstance(event, dict))
    if "response" not in opening:
        return error_chat_choice(message, 502, "provider_unavailable", stream=True)
    error = {"code": "server_error", "message": message}
    failed = failed_response(opening["response"], error, "provider_unavailable", None)
    return {"type": "response.failed", "response": failed, "sequence_number": number}
