"""Answers `/responses` and `/chat/completions` when no script does: checks, persona, bill."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from .answers import (
    Answer,
    AnswerItem,
    FunctionCall,
    GeneratedImage,
    Message,
    Reasoning,
    WebSearch,
)
from .body_checks import check_body
from .catalog import provider_of
from .chat_chunks import chat_body, chat_chunks
from .conversation import Conversation, read_conversation
from .error_bodies import broken_off, error_reply
from .persona import answer_to
from .prompt_cache import PromptCache
from .recording import RecordedRequest
from .replies import Event, Reply
from .responses_events import failed_response, numbered, opening_response, responses_events
from .routing_checks import (
    check_capabilities,
    check_model,
    check_replay,
    choose_row,
    serving_row,
)
from .usage import Tokens, chat_usage, count_tokens, responses_usage

Row = dict[str, Any]

_IMAGE_TOKENS = 1290
_STREAM_MODEL = re.compile(r"lab/stream-(\d+)")
_DIRECTIVE = re.compile(r"#(stream|error|fail|stall|truncate)\b([^\n]*)")
_SETTING = re.compile(r"(\w+)=(\d+)")
_COMMENTS = {"/responses": ": \n\n", "/chat/completions": ": OPENROUTER PROCESSING\n\n"}


def completion_reply(
    request: RecordedRequest, rows: list[Row], cache: PromptCache, pace: float
) -> Reply:
    """The refusal of a request, or the answer to it."""
    body = request.body
    if refusal := check_body(request.path, body):
        return refusal
    row = choose_row(body, [*rows, *_stream_rows(body)])
    if refusal := check_model(body, row):
        return refusal
    assert row is not None  # check_model refuses what is not in the catalog
    row = serving_row(row, rows)
    asked = read_conversation(request.path, body)
    if refusal := check_capabilities(asked, row) or check_replay(body, row):
        return refusal
    return _answer(request, asked, row, (cache, pace))


def _answer(
    request: RecordedRequest, asked: Conversation, row: Row, means: tuple[PromptCache, float]
) -> Reply:
    cache, pace = means
    directive = _DIRECTIVE.search(asked.prompt)
    answer = _streamed_answer(row, directive) or _limited(
        answer_to(asked, row), asked.max_output_tokens
    )
    tokens = _tokens(answer, *cache.read_and_write(asked, row))
    stream = bool(request.body.get("stream"))
    if request.path == "/responses":
        reply = _responses_reply(request.body, answer, row, tokens)
    else:
        reply = _chat_reply(answer, row, tokens, stream)
    identifier = reply.headers["X-Generation-Id"]
    if directive and directive[1] != "stream":
        reply = _disturbed(reply, directive, request.path)
    reply.pause = pace if directive is None else _setting(directive, "pause_ms", 0) / 1000
    if not stream and reply.events is not None and request.path == "/responses":
        last = next(event for event in reversed(reply.events) if isinstance(event, dict))
        return Reply(body=last["response"], headers={"X-Generation-Id": identifier})
    return reply


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


def _streamed_answer(row: Row, directive: re.Match[str] | None) -> Answer | None:
    model = _STREAM_MODEL.fullmatch(row["id"])
    if directive and directive[1] == "stream":
        count = _setting(directive, "deltas", 200)
    elif model:
        count = int(model[1])
    else:
        return None
    return Answer((Message(tuple(f"word{number} " for number in range(count))),))


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
    events: list[Event] = [_COMMENTS["/responses"]]
    events += responses_events(answer, response, responses_usage(row, tokens))
    return Reply(events=events, headers={"X-Generation-Id": response["id"]})


def _chat_reply(answer: Answer, row: Row, tokens: Tokens, stream: bool) -> Reply:
    model, provider = row["canonical_slug"], provider_of(row["id"])
    usage = chat_usage(row, tokens)
    if not stream:
        whole = chat_body(answer, model, provider, usage)
        return Reply(body=whole, headers={"X-Generation-Id": whole["id"]})
    chunks = chat_chunks(answer, model, provider, usage)
    events: list[Event] = [_COMMENTS["/chat/completions"], *chunks]
    return Reply(events=events, headers={"X-Generation-Id": chunks[0]["id"]})


def _disturbed(reply: Reply, directive: re.Match[str], path: str) -> Reply:
    """What a person can ask for to see a failure: `#error 429`, `#fail`, `#stall`, `#truncate`."""
    if directive[1] == "error":
        number = re.search(r"\d{3}", directive[2])
        status = int(number[0]) if number else 500
        retry_after = 1.0 if status in (429, 503) else None
        return error_reply(status, "The error that you asked for", retry_after=retry_after)
    half = len(reply.events or ()) // 2
    if directive[1] == "truncate":
        return replace(reply, end_after=half)
    if directive[1] == "stall":
        return replace(reply, stall_after=half)
    if path != "/responses" or reply.events is None:
        return error_reply(502, "The failure that you asked for")
    failed = failed_response(
        _first_response(reply),
        {"code": "server_error", "message": "The failure that you asked for"},
        "provider_unavailable",
        None,
    )
    event = {**numbered([{"type": "response.failed", "response": failed}])[0]}
    return broken_off(reply, half, {**event, "sequence_number": half - 1})


def _first_response(reply: Reply) -> dict[str, Any]:
    events = reply.events or ()
    return next(event["response"] for event in events if isinstance(event, dict))
