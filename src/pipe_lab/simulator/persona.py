"""The persona: which items answer a conversation, as the model's vendor would shape them."""

from __future__ import annotations

import base64
import re
from typing import Any

import orjson

from .answers import (
    Answer,
    AnswerItem,
    FunctionCall,
    GeneratedImage,
    Message,
    Reasoning,
    Speech,
    WebSearch,
    words_of,
)
from .conversation import Conversation, OfferedTool
from .identifiers import random_word
from .persona_texts import CITED, CITED_URLS, REFUSAL, text_for, thought_for
from .pictures import picture_url
from .routing_checks import endpoint_slug
from .sounds import tone_in_pieces
from .task_prompts import answer_task
from .tool_arguments import arguments_for

Row = dict[str, Any]

_SEARCH = re.compile(r"\b(search|cite|look up|news)\b", re.IGNORECASE)
_DRAW = re.compile(r"\b(draw|paint|picture of|image of)\b", re.IGNORECASE)
_THINK = re.compile(r"\bthink\b", re.IGNORECASE)
_REFUSE = re.compile(r"\brefuse\b", re.IGNORECASE)
# `#call add {"a": 1, "b": 2}`, one a line: these calls, all at once, whatever is offered.
_CALL = re.compile(r"^#call[ \t]+([\w-]+)[ \t]*(\{.*\})?[ \t]*$", re.MULTILINE)
_SEARCH_TOOLS = ("openrouter:web_search", "web", "web_search", "web_search_preview")
_FORMATS = {
    "openai": "openai-responses-v1",
    "anthropic": "anthropic-claude-v1",
    "google": "google-gemini-v1",
    "x-ai": "xai-responses-v1",
}
_NATIVE_SEARCH = ("openai", "anthropic", "x-ai", "perplexity")


def answer_to(asked: Conversation, row: Row) -> Answer:
    """The whole answer, before any limit on its length."""
    items: list[AnswerItem] = []
    if reasons(asked, row):
        items.append(_thought(asked, row))
    calls = _calls(asked, row)
    items.extend(calls or _content(asked, row))
    return Answer(tuple(items))


def reasons(asked: Conversation, row: Row) -> bool:
    """Whether the model thinks first: asked to, by default, or because it always does."""
    ability = row.get("reasoning")
    if ability is None or answer_task(asked.prompt):
        return False
    if asked.reasoning.get("effort") == "none" or asked.reasoning.get("enabled") is False:
        return False
    wanted = bool(asked.reasoning) or bool(_THINK.search(asked.prompt))
    return wanted or ability.get("mandatory", False) or ability.get("default_enabled", False)


def author_of(row: Row) -> str:
    """The vendor's slug."""
    return row["id"].lstrip("~").partition("/")[0]


def _thought(asked: Conversation, row: Row) -> Reasoning:
    author = author_of(row)
    text = words_of(thought_for(asked))
    form = _FORMATS.get(author)
    wanted = "reasoning.encrypted_content" in asked.include
    blob = _encrypted(asked, row) if wanted and author in ("openai", "x-ai", "google") else None
    if author == "openai":
        # Nothing readable comes without asking for a summary.
        shown = text if asked.reasoning.get("summary") else ()
        return Reasoning(shown, "summary", blob, format=form if blob else None)
    signature = _blob(asked) if author == "anthropic" else None
    return Reasoning(text, "text", blob, signature, form)


def _blob(asked: Conversation) -> str:
    return base64.urlsafe_b64encode(thought_for(asked).encode()).decode().rstrip("=")


def _encrypted(asked: Conversation, row: Row) -> str:
    origin = orjson.dumps({"endpoint_slug": endpoint_slug(row)})
    return f"gAAAAAB{_blob(asked)}.{base64.urlsafe_b64encode(origin).decode().rstrip('=')}"


def _calls(asked: Conversation, row: Row) -> list[AnswerItem]:
    if asked.tool_outputs or answer_task(asked.prompt) or asked.tool_choice == "none":
        return []
    if ordered := _CALL.findall(asked.prompt):
        return [
            _call(name, arguments or _arguments(name, asked), number, row)
            for number, (name, arguments) in enumerate(ordered)
        ]
    return [
        _call(name, _arguments(name, asked), number, row)
        for number, name in enumerate(_chosen(asked))
    ]


def _chosen(asked: Conversation) -> list[str]:
    """The tools the request insists on, or those the prompt speaks of."""
    if isinstance(asked.tool_choice, dict):
        chosen = asked.tool_choice.get("name") or asked.tool_choice.get("function", {}).get("name")
        return [tool.name for tool in asked.tools if tool.name == chosen]
    spoken = re.sub(r"[\W_]+", " ", asked.prompt.lower())
    named = [tool.name for tool in asked.tools if _mentioned(tool, asked.prompt, spoken)]
    if asked.tool_choice == "required" and not named:
        return [tool.name for tool in asked.tools[:1]]
    return named


def _mentioned(tool: OfferedTool, prompt: str, spoken: str) -> bool:
    words = re.sub(r"[\W_]+", " ", tool.name.lower()).strip()
    return tool.name in prompt or (bool(words) and f" {words} " in f" {spoken} ")


def _arguments(name: str, asked: Conversation) -> str:
    parameters = next((tool.parameters for tool in asked.tools if tool.name == name), {})
    return orjson.dumps(arguments_for(parameters, asked.prompt)).decode()


def _call(name: str, arguments: str, number: int, row: Row) -> FunctionCall:
    author = author_of(row)
    call_id = {
        "anthropic": f"toolu_bdrk_{random_word(24)}",
        "google": f"tool_{name}_{random_word(20)}",
        "moonshotai": f"functions.{name}:{number}",
    }.get(author, f"call_{random_word(24)}")
    pieces = {
        "openai": (arguments,),
        "anthropic": ("", arguments[:1], arguments[1:]),
        "moonshotai": tuple(re.findall(r"\w+|\W", arguments)),
    }.get(author, (arguments,))
    return FunctionCall(name, call_id, pieces)


def _content(asked: Conversation, row: Row) -> list[AnswerItem]:
    outputs = row["architecture"]["output_modalities"]
    draws = "image" in outputs and bool(_DRAW.search(asked.prompt) or "text" not in outputs)
    if draws and not answer_task(asked.prompt):
        picture = GeneratedImage(picture_url(asked.prompt))
        return (
            [Message(words_of("Here is the picture.")), picture] if "text" in outputs else [picture]
        )
    if "audio" in asked.modalities:
        return [Speech(words_of(text_for(asked, row["name"])), tone_in_pieces())]
    if _REFUSE.search(asked.prompt):
        return [Message(words_of(REFUSAL), refusal=True)]
    if _SEARCH.search(asked.prompt) and not answer_task(asked.prompt) and not asked.tool_outputs:
        return _searched(asked, row)
    phase = "final_answer" if row["id"].startswith("openai/gpt-5.6") else None
    return [Message(words_of(text_for(asked, row["name"])), phase=phase)]


def _searched(asked: Conversation, row: Row) -> list[AnswerItem]:
    titles = ("Example Domain", "")
    annotations: list[dict[str, Any]] = []
    for number, (url, title) in enumerate(zip(CITED_URLS, titles, strict=True), start=1):
        start = CITED.index(f"[{number}]") if title else 0
        place = {"start_index": start, "end_index": start + 3 if title else 0}
        annotations.append({"type": "url_citation", "url": url, "title": title, **place})
    message = Message(words_of(CITED), tuple(annotations))
    if not set(asked.server_tools) & set(_SEARCH_TOOLS):
        return [message]
    native = author_of(row) in _NATIVE_SEARCH and "web_search" in row["pricing"]
    return [WebSearch(asked.prompt[:120], CITED_URLS, native), message]
