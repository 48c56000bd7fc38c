"""
title: OpenRouter
author: The OpenRouter pipe maintainers
author_url: https://open-webui-openrouter-pipe.example
git_url: https://open-webui-openrouter-pipe.example/git
description: Every OpenRouter model in Open WebUI: streamed answers, visible reasoning, exact cost, errors a person understands.
version: 0.1.0
required_open_webui_version: 0.12.0
license: MIT
"""

####################################################################################################
# OpenRouter 0.1.0, in one file.
# bundle.py writes it from the modules in src/open_webui_openrouter_pipe: change it there.
#
# Contents, by line
#
# core/  What every room may use: settings, errors, context, logging, admission.
#    122  errors.py                     Every cause of failure a person can act on, each with its words.
#    248  admission.py                  How many answers run at once: a slot, a place in a bounded queue, or a clear refusal.
#    306  ids.py                        Identifiers of our own making.
#    322  json_codec.py                 JSON to and from bytes: orjson, with a way out for text it refuses.
#    359  json_values.py                Values out of loose JSON: each reader gives the type it names, or nothing, and never raises.
#    398  process.py                    What every copy of the pipe in one process shares.
#    419  secrets.py                    Text that is encrypted at rest and never prints itself.
#    503  config.py                     The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with.
#    683  context.py                    Who asks, for which message, under which settings: carried through the whole turn.
#    716  logging_system.py             The log: every record names its request, and one worker writes them off the event loop.
#
# api/  OpenRouter on the wire.
#    816  bodies.py                     The two request bodies: what Open WebUI sends, and what OpenRouter takes.
#    853  errors.py                     Every shape of error body OpenRouter sends becomes one `OpenRouterAPIError`.
#   1008  events.py                     The Event language: what an answer is made of, whichever endpoint it came from.
#   1140  sse.py                        Server-sent events: bytes in any pieces become data payloads.
#   1198  gateway/responses_reader.py   The stream of `POST /responses`, read into Events.
#   1400  transport.py                  httpx on top of aiohttp: httpx's interface, a third of its CPU per streamed piece.
#   1519  http.py                       The HTTP client: one pool, the headers of every request, one place that reads httpx's errors.
#   1630  catalog.py                    `GET /models`: the rows of OpenRouter's catalog.
#   1659  gateway/responses.py          `POST /responses`: a request body in, Events out.
#
# host/  Open WebUI: the only folder that imports it.
#   1758  call.py                       One call of the pipe, as Open WebUI makes it: who, which message, and the form of the answer.
#   1825  versions.py                   Which Open WebUI this is, and whether the pipe works on it.
#
# models/  The catalog: which models there are and what they can do.
#   1858  family.py                     A model as the pipe knows it, and its id both ways without loss.
#   1906  registry.py                   The catalog in memory: answers at once, refreshes itself behind, keeps the last good one.
#   1980  visibility.py                 Which models are offered, and which may be used.
#   2009  entries.py                    The entries of Open WebUI's model list: the models, or one entry that says why there are none.
#
# requests/  From what Open WebUI sends to what OpenRouter takes.
#   2061  allow_list.py                 Only what the API knows goes out.
#   2098  history.py                    Chat messages become input items.
#   2207  parameters.py                 Sampling, length, format and effort: chat-completions names become the Responses API's.
#   2286  normalise.py                  From the body Open WebUI sends to the body OpenRouter takes: the stages, in order.
#
# streaming/  From Events to what Open WebUI shows.
#   2309  coalescer.py                  Fewer, larger pieces: an Open WebUI message costs more than the delta in it.
#   2355  collector.py                  Events put in order: every item opens once, its deltas add up to its text, and it closes once.
#   2483  renderer.py                   What the three renderers have in common: Events in, pieces for one kind of reader out.
#   2504  output_items.py               Items of the answer as Open WebUI stores them in a message's `output` list.
#   2540  usage.py                      What an answer took and cost, under the names its reader knows.
#   2589  completion_chunks.py          An API client that streams: `chat.completion.chunk` objects, as server-sent events.
#   2672  completion_dict.py            A caller that wants the whole answer at once: one `chat.completion` object.
#   2752  response_events.py            A chat in Open WebUI: Responses events, which its reducer stores and its page draws.
#
#   2895  runtime.py                    The services of the process: made when first needed, replaced on reload, gone when idle.
#
#   3019  orchestrator.py               The turn: a slot, a request, its Events, and what the caller sees of them.
#
#   3085  pipe.py                       The entrance: what Open WebUI calls.
####################################################################################################

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import queue
import re
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import Enum
from hashlib import sha256
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import groupby
from math import isfinite
from types import ModuleType
from typing import Annotated, Any, cast, Literal, Protocol, TypedDict, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
import orjson
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema, CoreSchema
from starlette.responses import StreamingResponse
from yarl import URL


####################################################################################################
# core/errors.py
#
# Every cause of failure a person can act on, each with its words.
#
# PipeError
# ├── SettingsError            a valve needs the admin's hand
# ├── HostTooOldError          this Open WebUI cannot show what the pipe sends
# ├── ModelUnavailableError    the chosen entry is not a model that may be used
# ├── UnsupportedInputError    a message holds something that cannot be sent
# ├── BusyError                every slot and every waiting place is taken
# ├── ConnectionFailedError    OpenRouter could not be reached
# ├── UpstreamTimeoutError     OpenRouter fell silent
# ├── StreamInterruptedError   the answer stopped before its end
# ├── OpenRouterAPIError       OpenRouter or a provider refused or failed
# └── InternalError            a fault of the pipe itself
####################################################################################################

class PipeError(Exception):
    """What happened and what to do about it, in words for the person who sees it."""

    def __init__(self, cause: str, next_step: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.next_step = next_step

    def for_person(self) -> str:
        """The text of the message's error."""
        return f"{self.cause}\n\n{self.next_step}" if self.next_step else self.cause


class SettingsError(PipeError):
    """A valve is missing or cannot be used."""


class HostTooOldError(PipeError):
    """Open WebUI is older than the oldest version the pipe works on."""


class ModelUnavailableError(PipeError):
    """The chosen entry is not a model, or one that the settings keep back."""


class UnsupportedInputError(PipeError):
    """A message holds something that no request can carry."""


class BusyError(PipeError):
    """Every slot and every waiting place of this process is taken."""


class ConnectionFailedError(PipeError):
    """OpenRouter could not be reached, or hung up before it answered."""


class UpstreamTimeoutError(PipeError):
    """OpenRouter did not answer, or fell silent, within the time the settings allow."""


class StreamInterruptedError(PipeError):
    """The answer stopped without the event that ends one."""


class InternalError(PipeError):
    """A fault of the pipe itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiFailure:
    """What an error answer of OpenRouter says, whatever its shape."""

    message: str
    status: int | None = None
    """HTTP status, or the number in `error.code` when the failure came inside a stream."""
    code: str = ""
    error_type: str = ""
    """OpenRouter's canonical name of the cause (`ApiErrorType` of the API description)."""
    provider: str = ""
    upstream_message: str = ""
    """What the provider itself said, when OpenRouter's own message is only a wrapper."""
    retry_after: float | None = None
    """Seconds."""
    generation_id: str = ""


class OpenRouterAPIError(PipeError):
    """OpenRouter, or the provider behind it, refused the request or failed on it."""

    def __init__(self, failure: ApiFailure) -> None:
        super().__init__(describe_failure(failure), advise_on_failure(failure))
        self.failure = failure


def describe_failure(failure: ApiFailure) -> str:
    """Say who failed and how: the provider's own words where there are any."""
    message = failure.upstream_message or failure.message or "No reason was given."
    speaker = failure.provider if failure.upstream_message and failure.provider else "OpenRouter"
    status = f" ({failure.status})" if failure.status else ""
    return f"{speaker}{status}: {message}"


_ADVICE_BY_STATUS = {
    400: "Check the model's parameters and the attachments of this chat.",
    401: "The admin should check `API_KEY` in the settings of the OpenRouter function.",
    402: "Add credits at https://openrouter.ai/settings/credits or choose a cheaper model.",
    403: "The request was blocked by a policy; rephrase it or choose another model.",
    404: "Choose another model, or loosen the provider and privacy settings.",
    408: "Try again; a shorter chat answers faster.",
    413: "Remove attachments or start a new chat: the request is too large.",
    429: "Wait a moment and try again, or choose another model.",
}


def advise_on_failure(failure: ApiFailure) -> str:
    """Say what to do next, by status."""
    if failure.status == 429 and failure.retry_after is not None:
        return f"Try again in {failure.retry_after:.0f} seconds, or choose another model."
    if failure.status is not None and failure.status in _ADVICE_BY_STATUS:
        return _ADVICE_BY_STATUS[failure.status]
    if failure.status is not None and 300 <= failure.status < 400:
        return "The address has moved; the admin should check `BASE_URL`."
    if failure.status is not None and failure.status < 500:
        return "Change the request or choose another model."
    return "Try again in a moment, or choose another model."


####################################################################################################
# core/admission.py
#
# How many answers run at once: a slot, a place in a bounded queue, or a clear refusal.
####################################################################################################

@dataclass(slots=True)
class Gate:
    """The slots of one process, shared by every copy of the pipe in it.

    A copy may be older than the code that reads this, so it holds nothing but plain state.
    """

    limit: int = 1
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque[asyncio.Future[None]])


async def enter_gate(gate: Gate, limit: int, queue_limit: int) -> None:
    """Take a slot, waiting in turn; raises `BusyError` at once when the queue is full too."""
    gate.limit = limit
    _grant_free_slots(gate)
    if gate.running < limit and not gate.waiting:
        gate.running += 1
        return
    if len(gate.waiting) >= queue_limit:
        raise BusyError(
            f"This server is busy: {gate.running} answers are being written "
            f"and {len(gate.waiting)} requests wait.",
            "Try again in a moment. The admin can raise `MAX_CONCURRENT_REQUESTS` "
            "or `MAX_QUEUED_REQUESTS` in the settings of the OpenRouter function.",
        )
    place = asyncio.get_running_loop().create_future()
    gate.waiting.append(place)
    try:
        await place
    except asyncio.CancelledError:
        if place.done() and not place.cancelled():
            leave_gate(gate)  # the slot was granted in the same moment
        elif place in gate.waiting:  # else a slot came by in the same moment and passed it over
            gate.waiting.remove(place)
        raise


def leave_gate(gate: Gate) -> None:
    """Give the slot back and let the first in the queue in."""
    gate.running -= 1
    _grant_free_slots(gate)


def _grant_free_slots(gate: Gate) -> None:
    while gate.waiting and gate.running < gate.limit:
        place = gate.waiting.popleft()
        if not place.done():
            gate.running += 1
            place.set_result(None)


####################################################################################################
# core/ids.py
#
# Identifiers of our own making.
####################################################################################################

def new_request_id() -> str:
    """Sixteen hex digits that name one call of the pipe in the log and in an error."""
    return secrets.token_hex(8)


def new_item_id(prefix: str) -> str:
    """An id for an output item that came without one: `msg_…`, `rs_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"


####################################################################################################
# core/json_codec.py
#
# JSON to and from bytes: orjson, with a way out for text it refuses.
####################################################################################################

# JavaScript writes one half of an emoji when a stream cuts it in two; orjson takes pairs only.
_SURROGATE_ESCAPES = re.compile(
    rb"\\(?:u[dD][89aAbB]..\\u[dD][c-fC-F]..|(?P<half>u[dD][89a-fA-F]..)|.)", re.DOTALL
)


def encode_json(value: Any) -> bytes:
    """Write compact UTF-8 JSON; halves of broken emoji (lone surrogates) become `?`."""
    try:
        return orjson.dumps(value)
    except TypeError:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


def decode_json(data: bytes | str) -> Any:
    """Read JSON; halves of broken emoji become U+FFFD; raises `ValueError` when it is none."""
    try:
        return orjson.loads(data)
    except ValueError:
        raw = data.encode("utf-8", "replace") if isinstance(data, str) else data
        repaired = _SURROGATE_ESCAPES.sub(_without_half, raw)
        if repaired == raw:
            raise
        return orjson.loads(repaired)


def _without_half(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


####################################################################################################
# core/json_values.py
#
# Values out of loose JSON: each reader gives the type it names, or nothing, and never raises.
####################################################################################################

JsonObject = dict[str, Any]


def as_object(value: Any) -> JsonObject:
    """The value if it is a JSON object, else an empty one."""
    if isinstance(value, dict):
        return cast("JsonObject", value)
    return dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else {}


def objects_in(value: Any) -> list[JsonObject]:
    """The JSON objects of a list; empty when it is none."""
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("JsonObject", entry) for entry in entries if isinstance(entry, dict)]


def text_of(value: Any) -> str:
    """Text of a string or a number; empty for everything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def number_of(value: Any) -> float | int | None:
    """A number; `None` for everything else, text and booleans included."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole_of(value: Any) -> int | None:
    """A whole number; `None` for everything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


####################################################################################################
# core/process.py
#
# What every copy of the pipe in one process shares.
####################################################################################################

# Open WebUI loads the file anew on every change; each copy finds the same holder under this name.
_HOLDER = "open_webui_openrouter_pipe_process"

Shared = TypeVar("Shared")


def shared_by_process(name: str, make: Callable[[], Shared]) -> Shared:
    """The one value of this name, made by whichever copy asks first.

    The copy that made it may be older than the one that reads it: names of what it holds stay.
    """
    holder = sys.modules.setdefault(_HOLDER, ModuleType(_HOLDER))
    return cast("Shared", holder.__dict__.setdefault(name, make()))


####################################################################################################
# core/secrets.py
#
# Text that is encrypted at rest and never prints itself.
####################################################################################################

_CIPHERTEXT_PREFIX = "encrypted:"
_MASK = "********"


class EncryptedStr(str):
    """A secret valve: ciphertext once validated, where `WEBUI_SECRET_KEY` exists to encrypt it.

    Open WebUI stores what validation returns, so the plain text never reaches its database.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Stay a plain string in the schema, so that the host's form offers a masked field."""
        return core_schema.no_info_after_validator_function(cls.seal, core_schema.str_schema())

    @classmethod
    def seal(cls, text: str) -> EncryptedStr:
        """Encrypt plain text; what is empty or encrypted already stays as it is."""
        text = str.__str__(text).strip()
        if not text or text.startswith(_CIPHERTEXT_PREFIX):
            return cls(text)
        cipher = _cipher()
        if cipher is None:
            return cls(text)
        return cls(_CIPHERTEXT_PREFIX + cipher.encrypt(text.encode("utf-8", "replace")).decode())

    def reveal(self) -> str:
        """The plain text; raises `SettingsError` when the key it was sealed with is gone."""
        text = str.__str__(self)
        if not text.startswith(_CIPHERTEXT_PREFIX):
            return text
        cipher = _cipher()
        try:
            if cipher is not None:
                return cipher.decrypt(text.removeprefix(_CIPHERTEXT_PREFIX).encode()).decode()
        except InvalidToken as error:
            raise _unreadable() from error
        raise _unreadable()

    def fingerprint(self) -> str:
        """A name for this secret that gives nothing of it away; equal secrets have equal names."""
        try:
            secret = self.reveal()
        except SettingsError:
            secret = str.__str__(self)
        return sha256(secret.encode("utf-8", "replace")).hexdigest()

    def __repr__(self) -> str:
        return f"EncryptedStr({_MASK!r})" if len(self) else "EncryptedStr('')"

    def __str__(self) -> str:
        return _MASK if len(self) else ""

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


def _unreadable() -> SettingsError:
    return SettingsError(
        "The saved OpenRouter API key cannot be decrypted: WEBUI_SECRET_KEY has changed.",
        "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
    )


def _cipher() -> Fernet | None:
    secret = os.environ.get("WEBUI_SECRET_KEY", "")
    if not secret:
        return None
    # Our own context string: the host derives keys from the same secret for its own use.
    derivation = HKDF(SHA256(), length=32, salt=None, info=b"open-webui-openrouter-pipe/valves")
    key = derivation.derive(secret.encode("utf-8", "surrogateescape"))
    return Fernet(base64.urlsafe_b64encode(key))


####################################################################################################
# core/config.py
#
# The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with.
####################################################################################################

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def whole_number(minimum: int, maximum: int, fallback: int) -> BeforeValidator:
    """Read a number out of what the form sends: clamp it, and fall back rather than refuse.

    A valve that raises takes every model of the pipe off Open WebUI's list.
    """

    def read(value: Any) -> int:
        try:
            number = int(float(value))
        except (TypeError, ValueError, OverflowError):
            return fallback
        return max(minimum, min(maximum, number))

    return BeforeValidator(read)


def _read_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value)


def _read_secret(value: Any) -> str:
    return value if isinstance(value, str) else _read_text(value)


def _read_log_level(value: Any) -> str:
    level = _read_text(value).upper()
    return level if level in _LOG_LEVELS else "INFO"


Text = Annotated[str, BeforeValidator(_read_text)]
Secret = Annotated[EncryptedStr, BeforeValidator(_read_secret)]
LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_read_log_level)
]


class ConnectionValves(BaseModel):
    """Where OpenRouter is and how long to wait for it."""

    API_KEY: Secret = Field(
        default_factory=lambda: EncryptedStr(os.environ.get("OPENROUTER_API_KEY", "")),
        title="OpenRouter API key",
        description=(
            "Your key from https://openrouter.ai/settings/keys; "
            "empty means the environment variable OPENROUTER_API_KEY."
        ),
        json_schema_extra={"input": {"type": "password"}},
    )
    BASE_URL: Text = Field(
        default_factory=lambda: os.environ.get("OPENROUTER_API_BASE_URL", ""),
        title="Base URL",
        description=(
            "Root of the API, when it is a gateway in front of OpenRouter; empty means "
            f"the environment variable OPENROUTER_API_BASE_URL, else {DEFAULT_BASE_URL}."
        ),
        json_schema_extra={"input": {"type": "text"}},
    )
    HTTP_CONNECT_TIMEOUT_SECONDS: Annotated[int, whole_number(1, 300, 10)] = Field(
        default=10,
        title="Connect timeout (seconds)",
        description="How long connecting to OpenRouter may take.",
    )
    HTTP_TOTAL_TIMEOUT_SECONDS: Annotated[int, whole_number(0, 86_400, 0)] = Field(
        default=0,
        title="Total timeout (seconds)",
        description="How long one whole answer may take; 0 means as long as it streams.",
    )
    HTTP_SOCK_READ_SECONDS: Annotated[int, whole_number(1, 3_600, 300)] = Field(
        default=300,
        title="Silence timeout (seconds)",
        description="How long OpenRouter may stay silent before an answer counts as broken off.",
    )


class CatalogValves(BaseModel):
    """Which models are offered."""

    MODEL_ID: Text = Field(
        default="auto",
        title="Models",
        description=(
            "`auto` offers every model; else a comma-separated list of model ids, "
            "such as `openai/gpt-4o, anthropic/claude-sonnet-4.5`."
        ),
        json_schema_extra={"input": {"type": "text"}},
    )
    MODEL_CATALOG_REFRESH_SECONDS: Annotated[int, whole_number(60, 604_800, 3_600)] = Field(
        default=3_600,
        title="Catalog refresh (seconds)",
        description="How old the list of models may grow before it is fetched again.",
    )


class ConcurrencyValves(BaseModel):
    """How much this server does at once."""

    MAX_CONCURRENT_REQUESTS: Annotated[int, whole_number(1, 2_000, 200)] = Field(
        default=200,
        title="Answers at once",
        description="How many answers one server process streams at the same time.",
    )
    MAX_QUEUED_REQUESTS: Annotated[int, whole_number(0, 10_000, 500)] = Field(
        default=500,
        title="Waiting places",
        description="How many requests may wait for a slot; one more is told to come back later.",
    )


class LoggingValves(BaseModel):
    """What the pipe writes into the server's log."""

    LOG_LEVEL: LogLevel = Field(
        default="INFO",
        title="Log level",
        description="The least important kind of message that reaches the server's log.",
    )


# Pydantic collects fields from the last base to the first: the form shows the connection first.
class SystemValves(LoggingValves, ConcurrencyValves, CatalogValves, ConnectionValves):
    """Everything an admin can set."""

    model_config = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True)
class Settings:
    """The valves as they were when a request began; they never change under it."""

    api_key: EncryptedStr
    base_url: str
    connect_timeout: float
    """Seconds, as the two below."""
    total_timeout: float | None
    silence_timeout: float
    model_ids: tuple[str, ...]
    """The allowed model ids; empty means all."""
    catalog_refresh: float
    """Seconds."""
    max_concurrent_requests: int
    max_queued_requests: int
    log_level: str


def take_snapshot(valves: SystemValves) -> Settings:
    """Read every valve once."""
    api_key = valves.API_KEY or EncryptedStr(os.environ.get("OPENROUTER_API_KEY", ""))
    base_url = valves.BASE_URL or os.environ.get("OPENROUTER_API_BASE_URL", "") or DEFAULT_BASE_URL
    return Settings(
        api_key=api_key,
        base_url=base_url.rstrip("/"),
        connect_timeout=float(valves.HTTP_CONNECT_TIMEOUT_SECONDS),
        total_timeout=float(valves.HTTP_TOTAL_TIMEOUT_SECONDS) or None,
        silence_timeout=float(valves.HTTP_SOCK_READ_SECONDS),
        model_ids=_read_model_ids(valves.MODEL_ID),
        catalog_refresh=float(valves.MODEL_CATALOG_REFRESH_SECONDS),
        max_concurrent_requests=valves.MAX_CONCURRENT_REQUESTS,
        max_queued_requests=valves.MAX_QUEUED_REQUESTS,
        log_level=valves.LOG_LEVEL,
    )


def _read_model_ids(text: str) -> tuple[str, ...]:
    ids = tuple(filter(None, (part.strip() for part in text.replace("\n", ",").split(","))))
    return () if not ids or any(model_id.lower() == "auto" for model_id in ids) else ids


####################################################################################################
# core/context.py
#
# Who asks, for which message, under which settings: carried through the whole turn.
####################################################################################################

@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One call of the pipe. Ids that Open WebUI did not give are empty."""

    request_id: str
    function_id: str
    """The id under which the admin installed the pipe."""
    settings: Settings
    model: str
    """OpenRouter's id of the chosen model."""
    user_id: str = ""
    session_id: str = ""
    chat_id: str = ""
    message_id: str = ""
    task: str = ""
    """The chore Open WebUI runs for itself (`title_generation`, …), or empty for a chat."""


def current_request() -> ContextVar[RequestContext | None]:
    """The request that runs now: one variable for all copies, since they share one logger."""
    return shared_by_process("current_request", _new_variable)


def _new_variable() -> ContextVar[RequestContext | None]:
    return ContextVar("open_webui_openrouter_pipe_request", default=None)


####################################################################################################
# core/logging_system.py
#
# The log: every record names its request, and one worker writes them off the event loop.
####################################################################################################

LOG = logging.getLogger("open_webui_openrouter_pipe")

_QUEUE_LENGTH = 10_000
_IDLE_SECONDS = 5.0


class SessionLogger(logging.Handler):
    """Stamps each record with request, session, user and chat, and hands it to one worker thread.

    The thread starts with the first record and ends by itself when none has come for a while,
    so a replaced copy of the pipe leaves nothing behind.
    """

    def __init__(
        self,
        target: logging.Logger,
        *,
        queue_length: int = _QUEUE_LENGTH,
        idle_seconds: float = _IDLE_SECONDS,
    ) -> None:
        super().__init__()
        self._target = target
        self._idle_seconds = idle_seconds
        self._records: queue.Queue[logging.LogRecord] = queue.Queue(queue_length)
        self._worker: threading.Thread | None = None
        self._worker_lock = threading.Lock()
        self._dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record; when the worker cannot keep up the record is dropped and counted."""
        try:
            _stamp(record)
            # The arguments may change before the worker reads them.
            record.msg, record.args = record.getMessage(), None
            self._records.put_nowait(record)
        except queue.Full:
            self._dropped += 1
        except Exception:  # noqa: BLE001 - a message that cannot be written never costs an answer
            self.handleError(record)
        else:
            self._ensure_worker()

    def flush(self) -> None:
        """Wait until everything queued so far is written."""
        self._records.join()

    def _ensure_worker(self) -> None:
        with self._worker_lock:
            if self._worker is None:
                self._worker = threading.Thread(
                    target=self._write_records, name="openrouter-pipe-log", daemon=True
                )
                self._worker.start()

    def _write_records(self) -> None:
        while True:
            try:
                record = self._records.get(timeout=self._idle_seconds)
            except queue.Empty:
                with self._worker_lock:
                    if self._records.empty():
                        self._worker = None
                        return
                continue
            try:
                self._target.handle(record)
                self._report_dropped()
            except Exception:  # noqa: BLE001 - the worker outlives a broken handler of the host
                self.handleError(record)
            finally:
                self._records.task_done()

    def _report_dropped(self) -> None:
        if dropped := self._dropped:
            self._dropped -= dropped
            self._target.warning("openrouter pipe: %d log records were dropped", dropped)


def _stamp(record: logging.LogRecord) -> None:
    context = current_request().get()
    record.request_id = context.request_id if context else ""
    record.session_id = context.session_id if context else ""
    record.user_id = context.user_id if context else ""
    record.chat_id = context.chat_id if context else ""


def install_session_logger() -> SessionLogger:
    """Put our handler on our logger, in place of the one an earlier copy of the pipe put there."""
    handler = SessionLogger(logging.getLogger())
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    return handler


####################################################################################################
# api/bodies.py
#
# The two request bodies: what Open WebUI sends, and what OpenRouter takes.
####################################################################################################

CompletionsBody = Mapping[str, Any]
"""A chat-completions body from Open WebUI: known keys are read, unknown ones ignored."""


class ResponsesBody(TypedDict, total=False):
    """The body of `POST /responses`: every field the API takes (schema `ResponsesRequest`)."""

    model: str
    models: list[str]
    input: list[dict[str, Any]]
    stream: bool
    max_output_tokens: int
    temperature: float
    top_p: float
    top_k: int
    top_logprobs: int
    frequency_penalty: float
    presence_penalty: float
    reasoning: dict[str, Any]
    text: dict[str, Any]
    include: list[str]
    modalities: list[str]
    image_config: dict[str, Any]
    plugins: list[dict[str, Any]]
    provider: dict[str, Any]
    truncation: str
    service_tier: str
    prompt_cache_key: str
    cache_control: dict[str, Any]


####################################################################################################
# api/errors.py
#
# Every shape of error body OpenRouter sends becomes one `OpenRouterAPIError`.
####################################################################################################

# `error_type` and response-level codes that stand for an HTTP status (schema `ApiErrorType`).
_STATUS_BY_TYPE = {
    "authentication": 401,
    "payment_required": 402,
    "permission_denied": 403,
    "not_found": 404,
    "precondition_failed": 412,
    "payload_too_large": 413,
    "unprocessable": 422,
    "rate_limit_exceeded": 429,
    "server": 500,
    "server_error": 500,
    "unmapped": 500,
    "provider_unavailable": 502,
    "provider_overloaded": 503,
    "timeout": 504,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "context_length_exceeded": 400,
    "max_tokens_exceeded": 400,
    "token_limit_exceeded": 400,
    "string_too_long": 400,
    "invalid_image": 400,
    "image_too_large": 400,
    "image_too_small": 400,
    "unsupported_image_format": 400,
    "image_download_failed": 400,
    "image_not_found": 404,
    "content_policy_violation": 400,
    "refusal": 400,
}
_LONGEST_MESSAGE = 2_000


def read_http_error(response: httpx.Response, content: bytes) -> OpenRouterAPIError:
    """Read an answer with an error status, or one that hides an error under HTTP 200."""
    try:
        body = as_object(decode_json(content))
    except ValueError:
        body = {"error": {"message": _gateway_text(response, content)}}
    return read_error_body(body, status=response.status_code, headers=response.headers)


def read_error_body(
    body: JsonObject, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> OpenRouterAPIError:
    """Read an error object: a whole body, a failed response object or an event of a stream."""
    headers = headers or {}
    error = _find_error(body)
    metadata = as_object(error.get("metadata")) | as_object(body.get("metadata"))
    availability = as_object(error.get("availability"))
    code = text_of(error.get("code")) or text_of(availability.get("code"))
    error_type = _first_text(
        error.get("error_type"), metadata.get("error_type"), body.get("error_type")
    )
    return OpenRouterAPIError(
        ApiFailure(
            message=_shorten(_first_text(error.get("message"), body.get("message"))),
            status=_find_status(status, error, code, error_type),
            code=code,
            error_type=error_type,
            provider=text_of(metadata.get("provider_name")),
            upstream_message=_shorten(_upstream_message(metadata.get("raw"))),
            retry_after=_find_retry_after(headers, availability),
            generation_id=headers.get("x-generation-id", "") or text_of(body.get("id")),
        )
    )


def holds_error(body: JsonObject) -> bool:
    """Whether a JSON object reports a failure, whatever the HTTP status was."""
    return bool(body.get("error")) or body.get("status") == "failed"


def _find_error(body: JsonObject) -> JsonObject:
    nested = body.get("error")
    if isinstance(nested, str):
        return {"message": nested}
    if error := as_object(nested):
        return error
    if error := as_object(as_object(body.get("response")).get("error")):
        return error
    return body if body.get("message") else {}


def _find_status(status: int, error: JsonObject, code: str, error_type: str) -> int | None:
    if status >= 300:
        return status
    for candidate in (error.get("http_status"), code):
        number = text_of(candidate)
        if len(number) == 3 and number.isdecimal() and 400 <= int(number) < 600:
            return int(number)
    return _STATUS_BY_TYPE.get(error_type) or _STATUS_BY_TYPE.get(code)


def _find_retry_after(headers: Mapping[str, str], availability: JsonObject) -> float | None:
    for candidate in (headers.get("retry-after"), availability.get("retry_after")):
        try:
            seconds = float(text_of(candidate))
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None


def _upstream_message(raw: Any) -> str:
    """What the provider said: often JSON inside a string, sometimes a list of validation issues."""
    if isinstance(raw, str):
        try:
            decoded = decode_json(raw)
        except ValueError:
            return raw.strip()
        return _upstream_message(decoded) if isinstance(decoded, dict | list) else raw.strip()
    if isinstance(raw, list):
        entries = objects_in(cast("list[Any]", raw))
        issues = (_issue(entry) or _upstream_message(entry) for entry in entries)
        return "; ".join(filter(None, issues))
    body = as_object(raw)
    nested = body.get("error")
    if isinstance(nested, str):
        return nested
    return _first_text(as_object(nested).get("message"), body.get("message"), body.get("detail"))


def _issue(entry: JsonObject) -> str:
    path = entry.get("path")
    steps = cast("list[Any]", path) if isinstance(path, list) else []
    place = ".".join(text_of(step) for step in steps)
    message = text_of(entry.get("message"))
    return f"{place}: {message}" if place and message else message


def _first_text(*candidates: Any) -> str:
    return next((text for text in map(text_of, candidates) if text), "")


def _gateway_text(response: httpx.Response, content: bytes) -> str:
    """A gateway's HTML page says less than its status line."""
    kind = response.headers.get("content-type", "")
    if "html" in kind or not content:
        return response.reason_phrase or "no reason was given"
    return content.decode("utf-8", "replace").strip()


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + " …"


####################################################################################################
# api/events.py
#
# The Event language: what an answer is made of, whichever endpoint it came from.
####################################################################################################

@dataclass(slots=True, frozen=True)
class Usage:
    """What an answer took and cost. `None` means that OpenRouter did not say, which is not zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cached_tokens: int | None = None
    """Part of `input_tokens`."""
    cache_write_tokens: int | None = None
    """Part of `input_tokens`."""
    reasoning_tokens: int | None = None
    """Part of `output_tokens`."""
    cost: float | None = None
    """USD charged to the OpenRouter account."""
    is_byok: bool | None = None
    cost_details: dict[str, float] = field(default_factory=dict[str, float])
    """USD by part (`upstream_inference_cost`, …), under OpenRouter's names."""


@dataclass(slots=True)
class MessageItem:
    """Text of the answer."""

    id: str
    text: str = ""
    phase: str = ""
    """`commentary` or `final_answer` where the vendor tells them apart."""
    status: str = "completed"


@dataclass(slots=True)
class ReasoningItem:
    """The model's thinking: a summary, the raw text, or neither when it is encrypted."""

    id: str
    summary: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    encrypted_content: str = ""
    signature: str = ""
    format: str = ""
    status: str = "completed"


@dataclass(slots=True)
class OtherItem:
    """An item this version does not show."""

    id: str
    type: str


OutputItem = MessageItem | ReasoningItem | OtherItem


@dataclass(slots=True)
class ResponseStarted:
    """OpenRouter has taken the request."""

    response_id: str
    model: str


@dataclass(slots=True)
class ItemStarted:
    """An item opens at this place of the answer; its text follows."""

    output_index: int
    item: OutputItem


@dataclass(slots=True)
class TextDelta:
    """The next piece of a message."""

    output_index: int
    text: str


@dataclass(slots=True)
class ReasoningDelta:
    """The next piece of reasoning: of part `part_index` of the summary or of the raw text."""

    output_index: int
    part_index: int
    text: str
    is_summary: bool


@dataclass(slots=True)
class ItemFinished:
    """The whole item, as the API closed it: the truth where deltas were missing."""

    output_index: int
    item: OutputItem


@dataclass(slots=True)
class ResponseFinished:
    """The answer is over; `incomplete_reason` says why it was cut (`max_output_tokens`, …)."""

    response_id: str
    model: str
    usage: Usage | None
    incomplete_reason: str = ""


@dataclass(slots=True)
class ResponseFailed:
    """The answer broke off, with what was counted until then."""

    error: PipeError
    usage: Usage | None = None


Event = (
    ResponseStarted
    | ItemStarted
    | TextDelta
    | ReasoningDelta
    | ItemFinished
    | ResponseFinished
    | ResponseFailed
)


####################################################################################################
# api/sse.py
#
# Server-sent events: bytes in any pieces become data payloads.
####################################################################################################

DONE_PAYLOAD = b"[DONE]"


class SseDecoder:
    """Collects bytes and gives out the payload of each finished event.

    Comments, blank lines and fields other than `data` carry nothing for us.
    LF, CRLF and CR end a line.
    """

    __slots__ = ("_after_cr", "_data", "_open_line")

    def __init__(self) -> None:
        self._open_line: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the payloads that this chunk completes."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in chunk:
            self._open_line.append(chunk)
            return []
        lines = chunk.split(b"\n")
        self._open_line.append(lines[0])
        lines[0] = b"".join(self._open_line)
        self._open_line = [lines.pop()]
        return self._read_lines(lines)

    def flush(self) -> list[bytes]:
        """Return what stands at the end of the body without its blank line."""
        lines = [b"".join(self._open_line), b""]
        self._open_line = []
        return self._read_lines(lines)

    def _read_lines(self, lines: list[bytes]) -> list[bytes]:
        payloads: list[bytes] = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and data:
                payloads.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
        return payloads


####################################################################################################
# api/gateway/responses_reader.py
#
# The stream of `POST /responses`, read into Events.
####################################################################################################

def read_finished_answer(body: JsonObject) -> list[Event]:
    """Read a response object that came whole, where a stream was asked for."""
    events: list[Event] = [ResponseStarted(text_of(body.get("id")), text_of(body.get("model")))]
    for index, item in enumerate(objects_in(body.get("output"))):
        events.append(ItemFinished(index, read_item(item)))
    events.append(_read_end(body))
    return events


class ResponsesReader:
    """Turns the bytes of one stream into Events; what it does not know it passes over."""

    __slots__ = ("_decoder", "finished")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read_payloads(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read_payloads(self._decoder.flush())
        if not self.finished:
            self.finished = True
            error = StreamInterruptedError(
                "The answer stopped before its end.",
                "What had arrived is kept. Try again for a whole answer.",
            )
            events.append(ResponseFailed(error))
        return events

    def _read_payloads(self, payloads: list[bytes]) -> list[Event]:
        events: list[Event] = []
        for payload in payloads:
            if self.finished:
                break
            if payload == DONE_PAYLOAD:
                continue
            event = _read_payload(payload)
            if event is None:
                continue
            events.append(event)
            if isinstance(event, ResponseFinished | ResponseFailed):
                self.finished = True
        return events


def _read_payload(payload: bytes) -> Event | None:
    try:
        data = decode_json(payload)
    except ValueError:
        LOG.warning(
            "an event of the stream is not JSON and was passed over (%d bytes)", len(payload)
        )
        return None
    if not isinstance(data, dict):
        return None
    data = cast("JsonObject", data)
    kind = text_of(data.get("type"))
    if read := _EVENT_READERS.get(kind):
        return read(data)
    # An unknown event may report an error of one of its parts; the bare envelope ends the answer.
    return ResponseFailed(read_error_body(data)) if data.get("error") and not kind else None


def _index_of(data: JsonObject, key: str = "output_index") -> int:
    value = data.get(key)
    return value if isinstance(value, int) and value >= 0 else 0


def _read_text_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    return TextDelta(_index_of(data), text) if text and isinstance(text, str) else None


def _read_summary_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    if not text or not isinstance(text, str):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "summary_index"), text, is_summary=True)


def _read_reasoning_delta(data: JsonObject) -> Event | None:
    text = data.get("delta")
    if not text or not isinstance(text, str):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "content_index"), text, is_summary=False)


def _read_started(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return ResponseStarted(text_of(response.get("id")), text_of(response.get("model")))


def _read_item_started(data: JsonObject) -> Event:
    return ItemStarted(_index_of(data), read_item(as_object(data.get("item"))))


def _read_item_finished(data: JsonObject) -> Event:
    return ItemFinished(_index_of(data), read_item(as_object(data.get("item"))))


def _read_completed(data: JsonObject) -> Event:
    return _read_end(as_object(data.get("response")))


def _read_failed(data: JsonObject) -> Event:
    response = as_object(data.get("response")) or data
    return ResponseFailed(read_error_body(response), read_usage(response.get("usage")))


def _read_end(response: JsonObject) -> ResponseFinished:
    details = as_object(response.get("incomplete_details"))
    cut = response.get("status") == "incomplete"
    return ResponseFinished(
        response_id=text_of(response.get("id")),
        model=text_of(response.get("model")),
        usage=read_usage(response.get("usage")),
        incomplete_reason=text_of(details.get("reason")) or ("incomplete" if cut else ""),
    )


_EVENT_READERS: dict[str, Callable[[JsonObject], Event | None]] = {
    "response.output_text.delta": _read_text_delta,
    "response.refusal.delta": _read_text_delta,
    "response.reasoning_summary_text.delta": _read_summary_delta,
    "response.reasoning_text.delta": _read_reasoning_delta,
    "response.created": _read_started,
    "response.output_item.added": _read_item_started,
    "response.output_item.done": _read_item_finished,
    "response.completed": _read_completed,
    "response.incomplete": _read_completed,
    "response.failed": _read_failed,
    "response.error": _read_failed,
    "error": _read_failed,
}


def read_item(item: JsonObject) -> OutputItem:
    """Read one output item of the API."""
    item_id = text_of(item.get("id"))
    match item.get("type"):
        case "message":
            return MessageItem(
                id=item_id,
                text="".join(_texts(item.get("content"))),
                phase=text_of(item.get("phase")),
                status=text_of(item.get("status")) or "completed",
            )
        case "reasoning":
            return ReasoningItem(
                id=item_id,
                summary=_texts(item.get("summary")),
                content=_texts(item.get("content")),
                encrypted_content=text_of(item.get("encrypted_content")),
                signature=text_of(item.get("signature")),
                format=text_of(item.get("format")),
                status=text_of(item.get("status")) or "completed",
            )
        case other:
            return OtherItem(id=item_id, type=text_of(other))


def _texts(parts: Any) -> list[str]:
    return [text_of(part.get("text")) or text_of(part.get("refusal")) for part in objects_in(parts)]


def read_usage(value: Any) -> Usage | None:
    """Read the usage object of a finished response; `None` when there is none."""
    usage = as_object(value)
    if not usage:
        return None
    inputs = as_object(usage.get("input_tokens_details"))
    outputs = as_object(usage.get("output_tokens_details"))
    is_byok = usage.get("is_byok")
    return Usage(
        input_tokens=whole_of(usage.get("input_tokens")),
        output_tokens=whole_of(usage.get("output_tokens")),
        total_tokens=whole_of(usage.get("total_tokens")),
        cached_tokens=whole_of(inputs.get("cached_tokens")),
        cache_write_tokens=whole_of(inputs.get("cache_write_tokens")),
        reasoning_tokens=whole_of(outputs.get("reasoning_tokens")),
        cost=number_of(usage.get("cost")),
        is_byok=is_byok if isinstance(is_byok, bool) else None,
        cost_details=_numbers(usage.get("cost_details")),
    )


def _numbers(value: Any) -> dict[str, float]:
    pairs = as_object(value).items()
    return {key: number for key, part in pairs if (number := number_of(part)) is not None}


####################################################################################################
# api/transport.py
#
# httpx on top of aiohttp: httpx's interface, a third of its CPU per streamed piece.
####################################################################################################

_READ_BUFFER_BYTES = 128 * 1024
_KEEPALIVE_SECONDS = 60.0
_DNS_CACHE_SECONDS = 300


class AiohttpTransport(httpx.AsyncBaseTransport):
    """One connection pool; each request gets a light session of its own over it.

    Build it on a running event loop. Reads `connect`, `read` and `total` seconds
    from the request's `timeout` extension.
    """

    def __init__(self) -> None:
        self._connector = aiohttp.TCPConnector(
            limit=0,  # admission bounds how many requests run
            keepalive_timeout=_KEEPALIVE_SECONDS,
            ttl_dns_cache=_DNS_CACHE_SECONDS,
        )
        self._proxies = getproxies()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return once the headers are here; the body streams."""
        session = aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=_READ_BUFFER_BYTES,
            auto_decompress=False,  # httpx decodes
        )
        try:
            with _as_httpx_errors(request):
                response = await session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    data=await request.aread() or None,
                    headers=request.headers.multi_items(),
                    timeout=_read_timeout(request),
                    allow_redirects=False,
                    proxy=self._find_proxy(request.url),
                )
        finally:
            session.detach()
        return httpx.Response(
            status_code=response.status,
            headers=response.raw_headers,
            stream=_AiohttpStream(response, request),
            request=request,
        )

    async def aclose(self) -> None:
        """Close every pooled connection."""
        await self._connector.close()

    def _find_proxy(self, url: httpx.URL) -> str | None:
        """The proxy that the environment names for this address."""
        if not self._proxies or proxy_bypass(url.host):
            return None
        return self._proxies.get(url.scheme)


class _AiohttpStream(httpx.AsyncByteStream):
    """The body, in the pieces in which it arrives."""

    def __init__(self, response: aiohttp.ClientResponse, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _as_httpx_errors(self._request):
            try:
                while chunk := await content.readany():
                    yield chunk
            except Exception:
                # aiohttp raises before it hands out the bytes that came before the failure.
                if rest := content._read_nowait(-1):  # pyright: ignore[reportPrivateUsage]
                    yield rest
                raise

    async def aclose(self) -> None:
        """Give the connection back, or cut it when the body is not read to its end.

        Nothing here waits: when the caller is cancelled there is no second chance to.
        """
        self._response.release()


def _read_timeout(request: httpx.Request) -> aiohttp.ClientTimeout:
    seconds = cast("dict[str, float | None]", request.extensions.get("timeout", {}))
    return aiohttp.ClientTimeout(
        total=seconds.get("total"), connect=seconds.get("connect"), sock_read=seconds.get("read")
    )


@contextmanager
def _as_httpx_errors(request: httpx.Request) -> Generator[None]:
    """Speak httpx's exceptions, so that nothing above knows which wire there is."""
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("connecting took too long", request=request) from error
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise httpx.ReadTimeout("no data came in time", request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (ValueError, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol("the address cannot be used", request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.RemoteProtocolError("the connection ended early", request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError("the connection broke", request=request) from error


####################################################################################################
# api/http.py
#
# The HTTP client: one pool, the headers of every request, one place that reads httpx's errors.
####################################################################################################

# The app OpenRouter's statistics count this for; both headers are needed for that.
_ATTRIBUTION_HEADERS = {
    "HTTP-Referer": "https://openwebui.com/",
    "X-OpenRouter-Title": "Open WebUI",
}


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the client of one generation of the pipe; whoever makes it closes it."""
    return httpx.AsyncClient(
        transport=transport or AiohttpTransport(),
        headers=_ATTRIBUTION_HEADERS,
        # One client serves everyone: a cookie would tie their requests together.
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        trust_env=False,  # the transport reads the proxy settings itself
    )


def authorize(settings: Settings) -> dict[str, str]:
    """The header that names the account; raises `SettingsError` when there is no usable key."""
    key = settings.api_key.reveal()
    if not key:
        raise SettingsError(
            "No OpenRouter API key is set.",
            "The admin should enter `API_KEY` in the settings of the OpenRouter function "
            "(Admin Panel → Functions → OpenRouter → gear).",
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(
            "The OpenRouter API key holds characters that no key has.",
            "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
        )
    return {"Authorization": f"Bearer {key}"}


def timeouts(settings: Settings) -> dict[str, dict[str, float | None]]:
    """The request extension that bounds connecting, silence and the whole exchange (seconds)."""
    return {
        "timeout": {
            "connect": settings.connect_timeout,
            "read": settings.silence_timeout,
            "write": settings.silence_timeout,
            "total": settings.total_timeout,
        }
    }


@contextmanager
def as_pipe_errors(settings: Settings, *, answering: bool) -> Generator[None]:
    """Turn httpx's exceptions into causes; `answering` says that the answer had begun."""
    try:
        yield
    except httpx.HTTPError as error:
        raise _name_cause(error, settings, answering) from error
    except httpx.InvalidURL as error:
        raise _bad_address(settings) from error


def _name_cause(error: httpx.HTTPError, settings: Settings, answering: bool) -> PipeError:
    match error:
        case httpx.ConnectTimeout():
            return UpstreamTimeoutError(
                f"OpenRouter could not be reached within {settings.connect_timeout:.0f} seconds.",
                "Try again; if it stays so, the admin should check the server's network.",
            )
        case httpx.TimeoutException():
            return UpstreamTimeoutError(
                "The answer took longer than the settings allow, or OpenRouter fell silent.",
                "Try again. The admin can raise `HTTP_SOCK_READ_SECONDS` "
                "or `HTTP_TOTAL_TIMEOUT_SECONDS`.",
            )
        case httpx.UnsupportedProtocol():
            return _bad_address(settings)
        case httpx.ConnectError():
            return ConnectionFailedError(
                f"No connection to {settings.base_url}.",
                "Try again; if it stays so, the admin should check `BASE_URL` and the network.",
            )
        case _ if answering:
            return StreamInterruptedError(
                "The connection to OpenRouter broke off before the answer was complete.",
                "What had arrived is kept. Try again for a whole answer.",
            )
        case _:
            return ConnectionFailedError(
                "OpenRouter hung up before it answered.", "Try again in a moment."
            )


def refuse_web_page(response: httpx.Response, settings: Settings) -> None:
    """Raise `SettingsError` when a page came: the address leads to something that is no API."""
    if response.is_success and "html" in response.headers.get("content-type", ""):
        raise SettingsError(
            f"{settings.base_url} answers with a web page, not as OpenRouter's API does.",
            "The admin should correct `BASE_URL` in the settings of the OpenRouter function.",
        )


def _bad_address(settings: Settings) -> SettingsError:
    return SettingsError(
        f"`BASE_URL` is not an address that can be used: {settings.base_url}",
        "The admin should correct it in the settings of the OpenRouter function.",
    )


####################################################################################################
# api/catalog.py
#
# `GET /models`: the rows of OpenRouter's catalog.
####################################################################################################

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0


async def fetch_models(client: httpx.AsyncClient, settings: Settings) -> list[JsonObject]:
    """Fetch every text model's row (schema `Model`); raises a `PipeError` that says why not."""
    limits = {"connect": settings.connect_timeout, "read": _CATALOG_SECONDS}
    with as_pipe_errors(settings, answering=False):
        response = await client.get(
            f"{settings.base_url}/models",
            headers=authorize(settings),
            extensions={"timeout": {**limits, "total": _CATALOG_SECONDS}},
        )
    refuse_web_page(response, settings)
    try:
        rows = as_object(decode_json(response.content)).get("data")
    except ValueError:
        rows = None
    if not response.is_success or not isinstance(rows, list):
        raise read_http_error(response, response.content)
    return objects_in(rows)


####################################################################################################
# api/gateway/responses.py
#
# `POST /responses`: a request body in, Events out.
####################################################################################################

# How long the rest of a finished body may take (seconds) before its connection is cut, not reused.
_DRAIN_SECONDS = 1.0


async def stream_responses(
    client: httpx.AsyncClient, settings: Settings, body: ResponsesBody
) -> AsyncGenerator[list[Event]]:
    """Send the request and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    response = await _open(client, settings, body)
    try:
        refuse_web_page(response, settings)
        if "json" in response.headers.get("content-type", ""):
            yield await _read_whole_answer(response, settings)
            return
        async with aclosing(_read_stream(response, settings)) as batches:
            async for batch in batches:
                yield batch
    finally:
        await response.aclose()


async def _open(
    client: httpx.AsyncClient, settings: Settings, body: ResponsesBody
) -> httpx.Response:
    with as_pipe_errors(settings, answering=False):
        request = client.build_request(
            "POST",
            f"{settings.base_url}/responses",
            content=encode_json({**body, "stream": True}),
            headers={
                **authorize(settings),
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
            },
            extensions=timeouts(settings),
        )
        response = await client.send(request, stream=True)
        if response.is_success:
            return response
        try:
            content = await response.aread()
        finally:
            await response.aclose()
    raise read_http_error(response, content)


async def _read_whole_answer(response: httpx.Response, settings: Settings) -> list[Event]:
    """A JSON body where a stream was asked for: an error under HTTP 200, or the finished answer."""
    with as_pipe_errors(settings, answering=False):
        content = await response.aread()
    try:
        body = as_object(decode_json(content))
    except ValueError:
        body = {}
    if holds_error(body) or not isinstance(body.get("output"), list):
        raise read_http_error(response, content)
    return read_finished_answer(body)


async def _read_stream(response: httpx.Response, settings: Settings) -> AsyncGenerator[list[Event]]:
    reader = ResponsesReader()
    encoded = "content-encoding" in response.headers
    chunks = response.aiter_bytes() if encoded else response.aiter_raw()
    try:
        with as_pipe_errors(settings, answering=True):
            async for chunk in chunks:
                if batch := reader.feed(chunk):
                    yield batch
                if reader.finished:
                    await _drain(chunks)
                    return
        if batch := reader.end():
            yield batch
    except PipeError as error:
        if not reader.finished:
            yield [ResponseFailed(error)]


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can serve the next request."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
    except TimeoutError:
        LOG.debug("the body went on after its last event; its connection is closed")


####################################################################################################
# host/call.py
#
# One call of the pipe, as Open WebUI makes it: who, which message, and the form of the answer.
####################################################################################################

class AnswerForm(Enum):
    """What the caller can read."""

    CHAT_EVENTS = "chat events"
    """A chat in Open WebUI: Responses events, which it stores and draws."""
    COMPLETION_CHUNKS = "completion chunks"
    """An API client that streams."""
    COMPLETION_DICT = "completion dict"
    """A caller that wants the whole answer at once: an API client, a task, a quiet chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostCall:
    """The values a turn needs, out of the loose dictionaries they come in."""

    body: Mapping[str, Any]
    function_id: str
    host_model_id: str
    """The model's id behind the function's: `author.slug`."""
    user_id: str
    session_id: str
    chat_id: str
    message_id: str
    task: str
    form: AnswerForm

    @property
    def is_live(self) -> bool:
        """Whether a message of a chat waits for the answer."""
        return bool(self.chat_id and self.message_id)


def read_call(
    body: Mapping[str, Any],
    user: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    task: Any,
) -> HostCall:
    """Read what Open WebUI hands over (`functions.py`, `generate_function_chat_completion`)."""
    metadata = metadata or {}
    function_id, _, host_model_id = text_of(body.get("model")).partition(".")
    chat_id, message_id = text_of(metadata.get("chat_id")), text_of(metadata.get("message_id"))
    if not body.get("stream"):
        form = AnswerForm.COMPLETION_DICT
    elif chat_id and message_id:
        form = AnswerForm.CHAT_EVENTS
    else:
        form = AnswerForm.COMPLETION_CHUNKS
    return HostCall(
        body=body,
        function_id=function_id,
        host_model_id=host_model_id,
        user_id=text_of((user or {}).get("id")),
        session_id=text_of(metadata.get("session_id")),
        chat_id=chat_id,
        message_id=message_id,
        task=text_of(task),
        form=form,
    )


####################################################################################################
# host/versions.py
#
# Which Open WebUI this is, and whether the pipe works on it.
####################################################################################################

OLDEST_VERSION = (0, 11)


def require_supported_host() -> None:
    """Raise `HostTooOldError` on an Open WebUI before 0.11; outside of one all is well."""
    version = _host_version()
    if version is not None and version < OLDEST_VERSION:
        raise HostTooOldError(
            f"The OpenRouter function needs Open WebUI 0.11 or newer; this is {_dotted(version)}.",
            "The admin should update Open WebUI.",
        )


def _host_version() -> tuple[int, ...] | None:
    try:
        from open_webui.env import VERSION  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    version = tuple(int(number) for number in re.findall(r"\d+", str(VERSION))[:3])
    # It calls itself 0.0.0 when it cannot find out, as in a checkout.
    return version if any(version) else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


####################################################################################################
# models/family.py
#
# A model as the pipe knows it, and its id both ways without loss.
####################################################################################################

@dataclass(frozen=True, slots=True)
class ModelFamily:
    """One row of the catalog: a base model or one of its own-priced variants."""

    id: str
    """OpenRouter's id: `author/slug`, perhaps with a `:variant`."""
    name: str

    @property
    def is_batch(self) -> bool:
        """Whether it answers batch jobs only, never a chat."""
        return self.id.endswith(":batch")


def read_family(row: Mapping[str, Any]) -> ModelFamily | None:
    """Read a catalog row (schema `Model`); `None` for one without an id."""
    model_id, name = row.get("id"), row.get("name")
    if not isinstance(model_id, str) or not model_id:
        return None
    return ModelFamily(id=model_id, name=name if isinstance(name, str) and name else model_id)


def to_host_id(model_id: str) -> str:
    """Write `author/slug` as `author.slug`, the form Open WebUI's model ids have.

    An id that is not of that form keeps its text behind a leading slash, so that no two ids
    become one and every id comes back as it was.
    """
    author, slash, slug = model_id.partition("/")
    if slash and author and "." not in author:
        return f"{author}.{slug}"
    return f"/{model_id}" if slash or "." in model_id else model_id


def from_host_id(host_id: str) -> str:
    """Read an id that `to_host_id` wrote; OpenRouter's own form is taken as it is."""
    if host_id.startswith("/"):
        return host_id[1:]
    author, dot, slug = host_id.partition(".")
    return f"{author}/{slug}" if dot and "/" not in author else host_id


####################################################################################################
# models/registry.py
#
# The catalog in memory: answers at once, refreshes itself behind, keeps the last good one.
####################################################################################################

FetchRows = Callable[[Settings], Awaitable[list[dict[str, Any]]]]

# How long the first listing may wait for the first catalog (seconds).
FIRST_CATALOG_PATIENCE = 4.0
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 300.0


class OpenRouterModelRegistry:
    """The models of one account at one address.

    `fetch_rows` is handed in; it raises a `PipeError` when there is no catalog to be had.
    """

    def __init__(self, fetch_rows: FetchRows, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch_rows = fetch_rows
        self._clock = clock
        self._families: tuple[ModelFamily, ...] = ()
        self._refresh: asyncio.Task[None] | None = None
        self._due_at = float("-inf")
        self._failures = 0
        self.error: PipeError | None = None
        """Why the last refresh brought nothing; `None` while all is well."""

    async def families(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> tuple[ModelFamily, ...]:
        """The models known now; only the very first call waits, `patience` seconds at most."""
        if self._refresh is None and self._clock() >= self._due_at:
            self._refresh = asyncio.create_task(self._load(settings))
        if not self._families and self._refresh is not None:
            await asyncio.wait({self._refresh}, timeout=patience)
        return self._families

    async def close(self) -> None:
        """Stop a refresh that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    async def _load(self, settings: Settings) -> None:
        try:
            self._take(await self._fetch_rows(settings))
            self._due_at = self._clock() + settings.catalog_refresh
            self.error, self._failures = None, 0
        except PipeError as error:
            self._postpone(error)
        except Exception as error:  # noqa: BLE001 - a background job must not end the registry
            LOG.exception("catalog: the refresh failed")
            self._postpone(InternalError(f"The catalog could not be read: {error}"))
        finally:
            self._refresh = None

    def _take(self, rows: list[dict[str, Any]]) -> None:
        families = tuple(family for row in rows if (family := read_family(row)) is not None)
        if not families:
            raise InternalError("OpenRouter's catalog is empty.", "Try again later.")
        self._families = families

    def _postpone(self, error: PipeError) -> None:
        wait = min(_FIRST_RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        self.error = error
        self._failures += 1
        self._due_at = self._clock() + wait
        LOG.warning("catalog: %s The next try is in %.0f seconds.", error.cause, wait)


####################################################################################################
# models/visibility.py
#
# Which models are offered, and which may be used.
####################################################################################################

def offered_families(
    families: Iterable[ModelFamily], settings: Settings
) -> tuple[ModelFamily, ...]:
    """Every model a chat can use, within the admin's list where there is one."""
    return tuple(
        family for family in families if not family.is_batch and _is_allowed(family.id, settings)
    )


def require_allowed(model_id: str, settings: Settings) -> None:
    """Raise `ModelUnavailableError` when the admin's list does not hold the model."""
    if not _is_allowed(model_id, settings):
        raise ModelUnavailableError(
            f"The model {model_id} is not among those offered here.",
            "Choose another model; the admin keeps the list in `MODEL_ID`.",
        )


def _is_allowed(model_id: str, settings: Settings) -> bool:
    allowed = settings.model_ids
    return not allowed or model_id in allowed or model_id in map(from_host_id, allowed)


####################################################################################################
# models/entries.py
#
# The entries of Open WebUI's model list: the models, or one entry that says why there are none.
####################################################################################################

NOTICE_ID = "notice"
"""The id of the entry that stands in for the models; choosing it shows the same reason."""

Entry = dict[str, str]


async def list_entries(registry: OpenRouterModelRegistry, settings: Settings) -> list[Entry]:
    """The models that are offered, as `pipes()` returns them; never empty."""
    families = await _offered(registry, settings)
    if families:
        return [{"id": to_host_id(family.id), "name": family.name} for family in families]
    return [notice_entry(await explain_absence(registry, settings))]


def notice_entry(error: PipeError) -> Entry:
    """One entry whose name is the reason."""
    return {"id": NOTICE_ID, "name": f"⚠ OpenRouter: {error.cause}"}


async def explain_absence(registry: OpenRouterModelRegistry, settings: Settings) -> PipeError:
    """Why no model is offered."""
    if not settings.api_key:
        return SettingsError(
            "no API key is set.",
            "The admin should enter `API_KEY` in the settings of the OpenRouter function.",
        )
    if registry.error is not None:
        return registry.error
    if settings.model_ids and await registry.families(settings, patience=0):
        return ModelUnavailableError(
            f"no model matches MODEL_ID ({', '.join(settings.model_ids)}).",
            "The admin should correct `MODEL_ID`, or set it to `auto`.",
        )
    return ModelUnavailableError(
        "the list of models is still on its way.", "Reload the page in a moment."
    )


async def _offered(
    registry: OpenRouterModelRegistry, settings: Settings
) -> tuple[ModelFamily, ...]:
    if not settings.api_key:
        return ()
    return offered_families(await registry.families(settings), settings)


####################################################################################################
# requests/allow_list.py
#
# Only what the API knows goes out.
####################################################################################################

ALLOWED_FIELDS = frozenset(ResponsesBody.__annotations__)

# Fields that pass as they came, from a model's custom parameters; all others are built by a stage.
PASSED_FIELDS = (
    "models",
    "modalities",
    "image_config",
    "plugins",
    "provider",
    "truncation",
    "service_tier",
    "prompt_cache_key",
    "cache_control",
)


def passed_fields(body: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of Open WebUI's body that already have the form the API takes."""
    return {name: body[name] for name in PASSED_FIELDS if body.get(name) is not None}


def keep_allowed(fields: Mapping[str, Any]) -> ResponsesBody:
    """Drop what the API does not know, and every null."""
    kept = {
        name: value
        for name, value in fields.items()
        if name in ALLOWED_FIELDS and value is not None
    }
    return cast("ResponsesBody", kept)


####################################################################################################
# requests/history.py
#
# Chat messages become input items.
####################################################################################################

InputItem = dict[str, Any]

_ROLES = frozenset({"system", "developer", "user"})


def build_input(messages: Sequence[Mapping[str, Any]]) -> list[InputItem]:
    """Turn the messages Open WebUI sends into the `input` of a Responses request, in order.

    Messages that say nothing, such as the place of an answer that failed, are left out;
    so are tool calls without their result and results without their call.
    """
    pairs = _find_pairs(messages)
    items: list[InputItem] = []
    for place, message in enumerate(messages):
        role = message.get("role")
        if role in _ROLES:
            items.extend(_spoken_item(str(role), message))
        elif role == "assistant":
            items.extend(_assistant_items(message, pairs.get(place, set())))
        elif place in pairs:
            items.append(_tool_output(message))
    return items


def _find_pairs(messages: Sequence[Mapping[str, Any]]) -> dict[int, set[str]]:
    """The ids of the calls that have their result after them, at the places of both."""
    waiting: dict[str, int] = {}
    pairs: dict[int, set[str]] = {}
    for place, message in enumerate(messages):
        if message.get("role") == "assistant":
            waiting |= dict.fromkeys((call_id for call_id, _ in _calls_in(message)), place)
        elif message.get("role") == "tool":
            call_id = text_of(message.get("tool_call_id"))
            if call_id in waiting:
                pairs.setdefault(waiting.pop(call_id), set()).add(call_id)
                pairs[place] = {call_id}
    return pairs


def _calls_in(message: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls of an answer that can be told apart, each with its function."""
    calls: dict[str, dict[str, Any]] = {}
    for call in objects_in(message.get("tool_calls")):
        call_id, function = text_of(call.get("id")), as_object(call.get("function"))
        if call_id and text_of(function.get("name")):
            calls.setdefault(call_id, function)
    return list(calls.items())


def _spoken_item(role: str, message: Mapping[str, Any]) -> list[InputItem]:
    parts = _input_parts(message.get("content"))
    return [{"type": "message", "role": role, "content": parts}] if parts else []


def _input_parts(content: Any) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}] if content else []
    parts: list[dict[str, Any]] = []
    for part in objects_in(content):
        if part.get("type") == "text" and (text := text_of(part.get("text"))):
            parts.append({"type": "input_text", "text": text})
        elif part.get("type") == "image_url" and (url := _image_url(part)):
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
    return parts


def _image_url(part: Mapping[str, Any]) -> str:
    image = part.get("image_url")
    return text_of(image) or text_of(as_object(image).get("url"))


def _assistant_items(message: Mapping[str, Any], answered: set[str]) -> list[InputItem]:
    items: list[InputItem] = []
    if text := _plain_text(message.get("content")):
        # The short form: it needs no item id, and ids of earlier answers mean nothing upstream.
        items.append({"role": "assistant", "content": text})
    items.extend(
        {
            "type": "function_call",
            "call_id": call_id,
            "name": text_of(function.get("name")),
            "arguments": text_of(function.get("arguments")) or "{}",
        }
        for call_id, function in _calls_in(message)
        if call_id in answered
    )
    return items


def _tool_output(message: Mapping[str, Any]) -> InputItem:
    return {
        "type": "function_call_output",
        "call_id": text_of(message.get("tool_call_id")),
        "output": _plain_text(message.get("content")),
    }


def _plain_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (text_of(part.get("text")) for part in objects_in(content))))


####################################################################################################
# requests/parameters.py
#
# Sampling, length, format and effort: chat-completions names become the Responses API's.
####################################################################################################

_SAME_NAME_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")


def translate_parameters(body: Mapping[str, Any]) -> dict[str, Any]:
    """Read the parameters of a chat-completions body into Responses fields; nulls are left out."""
    fields: dict[str, Any] = {}
    for name in _SAME_NAME_NUMBERS:
        if (number := _number_in(body.get(name))) is not None:
            fields[name] = number
    for name in ("top_k", "top_logprobs"):
        if (number := _number_in(body.get(name))) is not None:
            fields[name] = round(number)
    if (limit := _output_limit(body)) is not None:
        fields["max_output_tokens"] = limit
    if reasoning := _reasoning(body):
        fields["reasoning"] = reasoning
    if text := _text_options(body):
        fields["text"] = text
    return fields


def _output_limit(body: Mapping[str, Any]) -> int | None:
    for name in ("max_output_tokens", "max_completion_tokens", "max_tokens"):
        limit = _number_in(body.get(name))
        if limit is not None and limit >= 1:
            return round(limit)
    return None


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    """The whole `reasoning` object where a model's settings carry one, else just the effort."""
    options = dict(as_object(body.get("reasoning")))
    if effort := text_of(body.get("reasoning_effort")):
        # The API refuses effort and max_tokens together; the chat's own choice wins.
        options.pop("max_tokens", None)
        options["effort"] = effort
    return options


def _text_options(body: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(as_object(body.get("text")))
    if answer_format := _answer_format(body.get("response_format")):
        options["format"] = answer_format
    if verbosity := text_of(body.get("verbosity")):
        options["verbosity"] = verbosity
    return options


def _answer_format(response_format: Any) -> dict[str, Any]:
    """The flat form the Responses API takes of chat's nested `json_schema`."""
    options = as_object(response_format)
    if not options:
        return {}
    kind = options.get("type")
    if kind in ("text", "json_object"):
        return {"type": kind}
    schema = as_object(options.get("json_schema"))
    if kind == "json_schema" and schema.get("schema"):
        flat = {key: schema[key] for key in ("schema", "strict", "description") if key in schema}
        return {"type": kind, "name": schema.get("name") or "answer", **flat}
    LOG.warning("parameters: response_format of type %r cannot be sent and was left out", kind)
    return {}


def _number_in(value: Any) -> float | int | None:
    """A finite number, also where a settings form made text of it."""
    try:
        number = float(value) if isinstance(value, str) else number_of(value)
        return number if number is not None and isfinite(number) else None
    except (ValueError, OverflowError):
        return None


####################################################################################################
# requests/normalise.py
#
# From the body Open WebUI sends to the body OpenRouter takes: the stages, in order.
####################################################################################################

def build_responses_body(body: CompletionsBody, model: str) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` when there is nothing to send."""
    conversation = build_input(body.get("messages") or [])
    if not conversation:
        raise UnsupportedInputError(
            "There is nothing to send: the message is empty.", "Write something and try again."
        )
    return keep_allowed(
        {
            "model": model,
            "input": conversation,
            **passed_fields(body),
            **translate_parameters(body),
        }
    )


####################################################################################################
# streaming/coalescer.py
#
# Fewer, larger pieces: an Open WebUI message costs more than the delta in it.
####################################################################################################

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
WINDOW_SECONDS = 0.03


def merge_deltas(batch: list[Event]) -> list[Event]:
    """Join neighbouring deltas of the same text; what stands between two keeps its place."""
    merged: list[Event] = []
    for place, run in groupby(batch, key=_place_of_delta):
        events = list(run)
        if place is None or len(events) == 1:
            merged.extend(events)
        else:
            merged.append(_join(events))
    return merged


def _place_of_delta(event: Event) -> tuple[int, int, bool] | int | None:
    if isinstance(event, TextDelta):
        return event.output_index
    if isinstance(event, ReasoningDelta):
        return event.output_index, event.part_index, event.is_summary
    return None


def _join(events: list[Event]) -> Event:
    deltas = [event for event in events if isinstance(event, TextDelta | ReasoningDelta)]
    return replace(deltas[0], text="".join(delta.text for delta in deltas))


async def pace(
    batch: list[Event], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Let a window pass after text was shown, so that the next read brings all that came in it.

    The first words are not held back, and while the model is silent there is no timer.
    """
    if any(isinstance(event, TextDelta | ReasoningDelta) for event in batch):
        await sleep(WINDOW_SECONDS)


####################################################################################################
# streaming/collector.py
#
# Events put in order: every item opens once, its deltas add up to its text, and it closes once.
####################################################################################################

class Collector:
    """Repairs one stream, so that the renderers need no doubt.

    Streams leave deltas out, open an item late or never close it; items may overlap.
    State is kept by `output_index`, for ids change between events.
    """

    __slots__ = ("_open", "_seen", "ended")

    def __init__(self) -> None:
        self._open: dict[int, OutputItem] = {}
        self._seen: set[int] = set()
        self.ended = False
        """Whether the answer's end was given out; nothing comes after it."""

    def take(self, batch: list[Event]) -> list[Event]:
        """Return the batch with what it lacked; text is never given out twice."""
        ordered: list[Event] = []
        for event in batch:
            if not self.ended:
                self._take_one(event, ordered)
        return ordered

    def _take_one(self, event: Event, ordered: list[Event]) -> None:
        match event:
            case TextDelta():
                self._take_text(event, ordered)
            case ReasoningDelta():
                self._take_reasoning(event, ordered)
            case ItemStarted():
                self._start(event.output_index, event.item, ordered)
            case ItemFinished():
                self._finish(event, ordered)
            case ResponseFinished():
                self._end("completed", event, ordered)
            case ResponseFailed():
                self._end("incomplete", event, ordered)
            case _:
                ordered.append(event)

    def _start(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        if index in self._seen:
            return
        self._seen.add(index)
        opened = self._open[index] = _without_text(item)
        ordered.append(ItemStarted(index, _without_text(opened)))

    def _take_text(self, event: TextDelta, ordered: list[Event]) -> None:
        self._start(event.output_index, MessageItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.text += event.text
            ordered.append(event)

    def _take_reasoning(self, event: ReasoningDelta, ordered: list[Event]) -> None:
        self._start(event.output_index, ReasoningItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, ReasoningItem):
            _add_to_part(item.summary if event.is_summary else item.content, event)
            ordered.append(event)

    def _finish(self, event: ItemFinished, ordered: list[Event]) -> None:
        index, finished = event.output_index, event.item
        self._start(index, finished, ordered)
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if type(finished) is not type(opened):
            finished = opened  # what was shown as one kind cannot end as another
        if isinstance(finished, MessageItem) and isinstance(opened, MessageItem):
            ordered.extend(_missing_text(index, opened.text, finished.text))
            finished.text = finished.text or opened.text
            finished.phase = finished.phase or opened.phase
        elif isinstance(finished, ReasoningItem) and isinstance(opened, ReasoningItem):
            ordered.extend(_missing_reasoning(index, opened, finished))
            finished.summary = finished.summary if any(finished.summary) else opened.summary
            finished.content = finished.content if any(finished.content) else opened.content
        finished.id = opened.id
        ordered.append(ItemFinished(index, finished))

    def _end(self, status: str, event: Event, ordered: list[Event]) -> None:
        for index, item in sorted(self._open.items(), key=lambda entry: entry[0]):
            if isinstance(item, MessageItem | ReasoningItem):
                item.status = status
            ordered.append(ItemFinished(index, item))
        self._open.clear()
        self.ended = True
        ordered.append(event)


def _without_text(item: OutputItem) -> OutputItem:
    match item:
        case MessageItem():
            return MessageItem(item.id or new_item_id("msg"), phase=item.phase)
        case ReasoningItem():
            return ReasoningItem(item.id or new_item_id("rs"))
        case _:
            return item


def _add_to_part(parts: list[str], event: ReasoningDelta) -> None:
    # An index is the API's word, not a reason to make room for a billion parts.
    position = min(event.part_index, len(parts))
    if position == len(parts):
        parts.append("")
    parts[position] += event.text


def _missing_text(index: int, shown: str, whole: str) -> list[Event]:
    missing = whole.removeprefix(shown) if whole.startswith(shown) else ""
    return [TextDelta(index, missing)] if missing else []


def _missing_reasoning(index: int, opened: ReasoningItem, finished: ReasoningItem) -> list[Event]:
    if opened.summary or opened.content:
        return []
    parts = [(number, text, True) for number, text in enumerate(finished.summary)]
    if not any(finished.summary):
        parts = [(number, text, False) for number, text in enumerate(finished.content)]
    return [ReasoningDelta(index, *part) for part in parts if part[1]]


####################################################################################################
# streaming/renderer.py
#
# What the three renderers have in common: Events in, pieces for one kind of reader out.
####################################################################################################

HostEvent = dict[str, Any]
"""A dictionary that Open WebUI understands in a pipe's stream."""

Piece = TypeVar("Piece")
"""What one kind of reader takes: a dictionary or bytes."""


class Renderer(Protocol[Piece]):
    """Turns the Events of one answer into what its reader takes."""

    def render(self, batch: list[Event]) -> list[Piece]:
        """The pieces that this batch adds."""
        ...


####################################################################################################
# streaming/output_items.py
#
# Items of the answer as Open WebUI stores them in a message's `output` list.
####################################################################################################

def output_text_part(text: str) -> HostEvent:
    """Text in the only kind of part that the next turn's history keeps."""
    return {"type": "output_text", "text": text, "annotations": []}


def message_output(item: MessageItem, status: str, content: list[HostEvent]) -> HostEvent:
    """A message item."""
    message: HostEvent = {
        "type": "message",
        "id": item.id,
        "status": status,
        "role": "assistant",
        "content": content,
    }
    return message | {"phase": item.phase} if item.phase else message


def reasoning_output(item: ReasoningItem) -> HostEvent:
    """A reasoning item."""
    reasoning: HostEvent = {
        "type": "reasoning",
        "id": item.id,
        "status": item.status,
        "summary": [{"type": "summary_text", "text": text} for text in item.summary],
    }
    if item.content:
        reasoning["content"] = [{"type": "reasoning_text", "text": text} for text in item.content]
    return reasoning


####################################################################################################
# streaming/usage.py
#
# What an answer took and cost, under the names its reader knows.
####################################################################################################

# What Open WebUI says when the API gives no reason for the end.
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


def finish_reason(incomplete_reason: str) -> str:
    """Chat completions' word for why an answer ended."""
    return _FINISH_REASONS.get(incomplete_reason, "length" if incomplete_reason else "stop")


def usage_of_response(usage: Usage) -> dict[str, Any]:
    """The usage under the Responses API's names; what was not said is left out."""
    return _name(usage, "input", "output")


def usage_of_completion(usage: Usage) -> dict[str, Any]:
    """The usage under chat completions' names; what was not said is left out."""
    return _name(usage, "prompt", "completion")


def _name(usage: Usage, taken: str, given: str) -> dict[str, Any]:
    return _said(
        {
            f"{taken}_tokens": usage.input_tokens,
            f"{taken}_tokens_details": _said(
                {
                    "cached_tokens": usage.cached_tokens,
                    "cache_write_tokens": usage.cache_write_tokens,
                }
            ),
            f"{given}_tokens": usage.output_tokens,
            f"{given}_tokens_details": _said({"reasoning_tokens": usage.reasoning_tokens}),
            "total_tokens": usage.total_tokens,
            "cost": usage.cost,
            "is_byok": usage.is_byok,
            "cost_details": usage.cost_details,
        }
    )


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and value != {}}


####################################################################################################
# streaming/completion_chunks.py
#
# An API client that streams: `chat.completion.chunk` objects, as server-sent events.
####################################################################################################

_DONE = b"data: [DONE]\n\n"


class CompletionChunks:
    """Renders one answer as bytes, one server-sent event a piece.

    `model` is the id the client asked for: it finds its own model again in every chunk.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._response_id = new_item_id("chatcmpl")
        self._created = int(time.time())
        self._begun = False
        self._part: tuple[int, int] | None = None

    def render(self, batch: list[Event]) -> list[bytes]:
        """The chunks that this batch adds to the stream."""
        chunks: list[bytes] = []
        for event in batch:
            match event:
                case ResponseStarted(response_id):
                    self._response_id = response_id or self._response_id
                case TextDelta(_, text):
                    chunks.append(self._delta({"content": text}))
                case ReasoningDelta():
                    chunks.append(self._delta({"reasoning": self._thought(event)}))
                case ResponseFinished():
                    chunks.extend(self._end(event))
                case ResponseFailed(error, usage):
                    chunks.extend(self._failure(error, usage))
                case _:
                    pass
        return chunks

    def _delta(self, delta: dict[str, Any]) -> bytes:
        if not self._begun:
            self._begun = True
            delta = {"role": "assistant", **delta}
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": None}])

    def _thought(self, event: ReasoningDelta) -> str:
        """The text, a paragraph apart from an earlier part's: clients see one string."""
        part = event.output_index, event.part_index
        gap = "\n\n" if self._part not in (None, part) else ""
        self._part = part
        return gap + event.text

    def _end(self, event: ResponseFinished) -> list[bytes]:
        reason = finish_reason(event.incomplete_reason)
        chunks = [self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}])]
        return [*chunks, *self._usage(event.usage), _DONE]

    def _failure(self, error: PipeError, usage: Usage | None) -> list[bytes]:
        body = {"error": {"message": error.for_person(), "type": type(error).__name__}}
        return [*self._usage(usage), _as_server_sent_event(body), _DONE]

    def _usage(self, usage: Usage | None) -> list[bytes]:
        return [] if usage is None else [self._chunk([], usage=usage_of_completion(usage))]

    def _chunk(self, choices: list[dict[str, Any]], **extra: Any) -> bytes:
        return _as_server_sent_event(
            {
                "id": self._response_id,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self._model,
                "choices": choices,
                **extra,
            }
        )


def _as_server_sent_event(body: dict[str, Any]) -> bytes:
    return b"data: " + encode_json(body) + b"\n\n"


####################################################################################################
# streaming/completion_dict.py
#
# A caller that wants the whole answer at once: one `chat.completion` object.
####################################################################################################

class CompletionDict:
    """Gathers one answer; its only piece is the finished object.

    `model` is the id the caller asked for. In a chat the object also carries the `output` items,
    from which Open WebUI draws the reasoning.
    """

    def __init__(self, model: str, *, with_output: bool) -> None:
        self._model = model
        self._with_output = with_output
        self._response_id = new_item_id("chatcmpl")
        self._items: list[MessageItem | ReasoningItem] = []

    def render(self, batch: list[Event]) -> list[dict[str, Any]]:
        """The finished object, once its end is in the batch."""
        for event in batch:
            match event:
                case ResponseStarted(response_id):
                    self._response_id = response_id or self._response_id
                case ItemFinished(_, MessageItem() as item):
                    self._items.append(item)
                case ItemFinished(_, ReasoningItem() as item) if item.summary or item.content:
                    self._items.append(item)
                case ResponseFinished():
                    return [self._answer(event)]
                case ResponseFailed(error, usage):
                    return [self._failure(error, usage)]
                case _:
                    pass
        return []

    def _failure(self, error: PipeError, usage: Usage | None) -> dict[str, Any]:
        failure = {"error": {"message": error.for_person(), "type": type(error).__name__}}
        # The text that had arrived stays.
        partial = self._completion("error") if self._items else {}
        return partial | failure | _usage(usage)

    def _answer(self, event: ResponseFinished) -> dict[str, Any]:
        return self._completion(finish_reason(event.incomplete_reason)) | _usage(event.usage)

    def _completion(self, reason: str) -> dict[str, Any]:
        completion: dict[str, Any] = {
            "id": self._response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": [{"index": 0, "message": self._message(), "finish_reason": reason}],
        }
        if self._with_output:
            completion["output"] = [_output_of(item) for item in self._items]
        return completion

    def _message(self) -> dict[str, Any]:
        texts = [item.text for item in self._items if isinstance(item, MessageItem)]
        thoughts = [
            "\n\n".join(filter(None, item.summary or item.content))
            for item in self._items
            if isinstance(item, ReasoningItem)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        reasoning = "\n\n".join(filter(None, thoughts))
        return message | {"reasoning": reasoning} if reasoning else message


def _usage(usage: Usage | None) -> dict[str, Any]:
    return {} if usage is None else {"usage": usage_of_completion(usage)}


def _output_of(item: MessageItem | ReasoningItem) -> dict[str, Any]:
    if isinstance(item, MessageItem):
        return message_output(item, item.status, [output_text_part(item.text)])
    return reasoning_output(item)


####################################################################################################
# streaming/response_events.py
#
# A chat in Open WebUI: Responses events, which its reducer stores and its page draws.
####################################################################################################

_CUT_NOTICES = {
    "max_output_tokens": "The answer was cut off at its length limit.",
    "content_filter": "The answer was cut off by a content filter.",
}


class ResponseEvents:
    """Renders one answer as items of the message's `output` list.

    Items are counted anew, for Open WebUI keeps only those it is shown.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._started_at: dict[int, float] = {}
        self._summary_parts: set[tuple[int, int]] = set()

    def render(self, batch: list[Event]) -> list[HostEvent]:
        """The events that this batch adds to the message."""
        shown: list[HostEvent] = []
        for event in batch:
            match event:
                case TextDelta(index, text):
                    shown.append(self._text_delta(index, text))
                case ReasoningDelta():
                    shown.extend(self._reasoning_delta(event))
                case ItemStarted(index, item):
                    shown.extend(self._start(index, item))
                case ItemFinished(index, item):
                    shown.extend(self._finish(index, item))
                case ResponseFinished():
                    shown.extend(_end_events(event))
                case ResponseFailed(error, usage):
                    shown.append(_failure_event(error, usage))
                case _:
                    pass
        return shown

    def _start(self, index: int, item: OutputItem) -> list[HostEvent]:
        self._started_at[index] = self._clock()
        self._ids[index] = item.id
        # A reasoning item opens with its first word: without one its card would be empty.
        return self._open_message(index, item) if isinstance(item, MessageItem) else []

    def _open_message(self, index: int, item: MessageItem) -> list[HostEvent]:
        place = self._take_place(index)
        return [
            _item_added(place, message_output(item, "in_progress", [])),
            {
                "type": "response.content_part.added",
                "output_index": place,
                "content_index": 0,
                "part": output_text_part(""),
            },
        ]

    def _text_delta(self, index: int, text: str) -> HostEvent:
        return {
            "type": "response.output_text.delta",
            "output_index": self._places[index],
            "content_index": 0,
            "delta": text,
        }

    def _reasoning_delta(self, event: ReasoningDelta) -> list[HostEvent]:
        index, part = event.output_index, event.part_index
        shown: list[HostEvent] = []
        if index not in self._places:
            opened = ReasoningItem(self._ids[index], status="in_progress")
            shown.append(_item_added(self._take_place(index), reasoning_output(opened)))
        place = self._places[index]
        if not event.is_summary:
            kind, position = "response.reasoning_text.delta", {"content_index": part}
        else:
            kind, position = "response.reasoning_summary_text.delta", {"summary_index": part}
            if (index, part) not in self._summary_parts:
                self._summary_parts.add((index, part))
                shown.append(_summary_part_added(place, part))
        shown.append({"type": kind, "output_index": place, **position, "delta": event.text})
        return shown

    def _finish(self, index: int, item: OutputItem) -> list[HostEvent]:
        if index not in self._places:
            return []
        place = self._places[index]
        match item:
            case MessageItem():
                content = [output_text_part(item.text)]
                return [_item_done(place, message_output(item, item.status, content))]
            case ReasoningItem():
                seconds = self._clock() - self._started_at[index]
                return [_item_done(place, reasoning_output(item) | {"duration": round(seconds)})]
            case _:
                return []

    def _take_place(self, index: int) -> int:
        return self._places.setdefault(index, len(self._places))


def _item_added(place: int, item: HostEvent) -> HostEvent:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def _item_done(place: int, item: HostEvent) -> HostEvent:
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def _summary_part_added(place: int, part: int) -> HostEvent:
    return {
        "type": "response.reasoning_summary_part.added",
        "output_index": place,
        "summary_index": part,
        "part": {"type": "summary_text", "text": ""},
    }


def _end_events(event: ResponseFinished) -> list[HostEvent]:
    # An `output` of the API's own would replace all that was shown.
    response: HostEvent = {"id": event.response_id, "output": []}
    if event.usage is not None:
        response["usage"] = usage_of_response(event.usage)
    completed: HostEvent = {"type": "response.completed", "response": response}
    if not event.incomplete_reason:
        return [completed]
    notice = _CUT_NOTICES.get(event.incomplete_reason, "The answer is incomplete.")
    status = {"type": "status", "data": {"description": notice, "done": True}}
    return [{"event": status}, completed]


def _failure_event(error: PipeError, usage: Usage | None) -> HostEvent:
    # Not `response.failed`: Open WebUI would overlook the usage in that.
    failure: HostEvent = {"error": {"message": error.for_person()}}
    return failure | {"usage": usage_of_response(usage)} if usage is not None else failure


####################################################################################################
# runtime.py
#
# The services of the process: made when first needed, replaced on reload, gone when idle.
####################################################################################################

@dataclass(slots=True)
class ProcessState:
    """What all copies share. Copies of other ages read it: its names stay as they are."""

    gate: Gate = field(default_factory=Gate)
    generations: int = 0
    current: dict[str, Runtime] = field(default_factory=dict[str, "Runtime"])
    """The newest runtime of each function."""
    closing: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])


def process_state() -> ProcessState:
    """The one state of this process."""
    return shared_by_process("state", ProcessState)


class Runtime:
    """The services of one loaded copy of the pipe.

    Open WebUI replaces a function while its answers still stream. The older copy is then
    retired: it serves what it holds, and with the last answer its connections close.
    """

    def __init__(self) -> None:
        self._process = process_state()
        self._process.generations += 1
        self.generation = self._process.generations
        self._client: httpx.AsyncClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._registry: OpenRouterModelRegistry | None = None
        self._account: tuple[str, str] | None = None
        self._leases = 0
        self._retired = False

    @property
    def gate(self) -> Gate:
        """The slots shared by every copy in the process."""
        return self._process.gate

    @contextmanager
    def lease(self, function_id: str, settings: Settings) -> Generator[None]:
        """Keep the services for one call."""
        self._claim(function_id)
        if settings.log_level != logging.getLevelName(LOG.level):
            LOG.setLevel(settings.log_level)
        self._leases += 1
        try:
            yield
        finally:
            self._leases -= 1
            self._close_when_done()

    def client(self) -> httpx.AsyncClient:
        """The HTTP client of this copy."""
        if self._client is None:
            self._loop = asyncio.get_running_loop()
            self._client = open_client()
        return self._client

    def registry(self, settings: Settings) -> OpenRouterModelRegistry:
        """The catalog of the account and address that the settings name."""
        account = (settings.base_url, settings.api_key.fingerprint())
        if self._registry is None or self._account != account:
            client = self.client()
            self._close_later(registry=self._registry)
            self._account = account
            self._registry = OpenRouterModelRegistry(
                lambda settings: fetch_models(client, settings)
            )
        return self._registry

    def retire(self) -> None:
        """Make way for a newer copy: close as soon as no call is left."""
        self._retired = True
        self._close_when_done()

    async def close(self) -> None:
        """Retire, and wait until the connections are closed."""
        self.retire()
        if self._process.closing:
            await asyncio.wait(self._process.closing)

    def _claim(self, function_id: str) -> None:
        current = self._process.current.get(function_id)
        if current is self:
            return
        if current is not None and current.generation > self.generation:
            self._retired = True
            return
        self._process.current[function_id] = self
        install_session_logger()
        if current is not None:
            current.retire()

    def _close_when_done(self) -> None:
        if self._retired and not self._leases:
            self._close_later(client=self._client, registry=self._registry)
            self._client, self._registry = None, None

    def _close_later(self, **services: Any) -> None:
        """Close in a task of its own: the caller may be cancelled, or not be async at all."""
        open_services = [service for service in services.values() if service is not None]
        if not open_services or self._loop is None or self._loop.is_closed():
            return
        task = self._loop.create_task(_close_all(open_services))
        self._process.closing.add(task)
        task.add_done_callback(self._process.closing.discard)


async def _close_all(services: list[Any]) -> None:
    for service in services:
        match service:
            case httpx.AsyncClient():
                await service.aclose()
            case OpenRouterModelRegistry():
                await service.close()


####################################################################################################
# orchestrator.py
#
# The turn: a slot, a request, its Events, and what the caller sees of them.
####################################################################################################

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


####################################################################################################
# pipe.py
#
# The entrance: what Open WebUI calls.
####################################################################################################

Answer = AsyncGenerator[dict[str, Any]] | StreamingResponse | dict[str, Any]


class Pipe:
    """Every OpenRouter model in Open WebUI's model list."""

    class Valves(SystemValves):
        """What the admin sets for everyone."""

    def __init__(self) -> None:
        self.valves = self.Valves()
        self._runtime = Runtime()

    async def pipes(self) -> list[Entry]:
        """The entries for the model list, from memory; the very first call waits a few seconds."""
        settings = take_snapshot(self.valves)
        with self._runtime.lease(_function_id(), settings):
            try:
                require_supported_host()
            except PipeError as error:
                return [notice_entry(error)]
            return await list_entries(self._runtime.registry(settings), settings)

    async def pipe(
        self,
        body: dict[str, Any],
        __user__: dict[str, Any] | None = None,
        __metadata__: dict[str, Any] | None = None,
        __task__: str | None = None,
    ) -> Answer:
        """Answer one chat, API call or chore, in the form its caller can read."""
        call = read_call(body, __user__, __metadata__, __task__)
        context = self._context(call)
        model = str(body.get("model", ""))
        match call.form:
            case AnswerForm.CHAT_EVENTS:
                return run_turn(context, body, self._runtime, ResponseEvents())
            case AnswerForm.COMPLETION_CHUNKS:
                chunks = run_turn(context, body, self._runtime, CompletionChunks(model))
                return StreamingResponse(chunks, media_type="text/event-stream")
            case AnswerForm.COMPLETION_DICT:
                renderer = CompletionDict(model, with_output=call.is_live and not call.task)
                pieces = [piece async for piece in run_turn(context, body, self._runtime, renderer)]
                return pieces[-1]

    async def close(self) -> None:
        """Close every connection. Open WebUI never asks for it: a newer copy does, on reload."""
        await self._runtime.close()

    def _context(self, call: HostCall) -> RequestContext:
        return RequestContext(
            request_id=new_request_id(),
            function_id=call.function_id,
            settings=take_snapshot(self.valves),
            model=from_host_id(call.host_model_id),
            user_id=call.user_id,
            session_id=call.session_id,
            chat_id=call.chat_id,
            message_id=call.message_id,
            task=call.task,
        )


def _function_id() -> str:
    """The id the admin chose: Open WebUI loads the file as `function_<id>_<32 hex digits>`."""
    match = re.fullmatch(r"function_(.+?)(?:_[0-9a-f]{32})?", __name__)
    return match.group(1) if match else "openrouter"


####################################################################################################
# Which source line stands where, for error messages: (here, there, count) in a file's entry says
# that `count` lines from line `here` of this file are the lines from `there` of that file.
####################################################################################################

BUNDLE_MAP: dict[str, tuple[tuple[int, int, int], ...]] = {
    "core/errors.py": ((140, 21, 106),),
    "core/admission.py": ((254, 12, 50),),
    "core/ids.py": ((312, 8, 8),),
    "core/json_codec.py": ((328, 11, 29),),
    "core/json_values.py": ((365, 8, 31),),
    "core/process.py": ((404, 10, 13),),
    "core/secrets.py": ((425, 18, 76),),
    "core/config.py": ((509, 13, 172),),
    "core/context.py": ((689, 12, 25),),
    "core/logging_system.py": ((722, 11, 92),),
    "api/bodies.py": ((822, 8, 29),),
    "api/errors.py": ((859, 14, 147),),
    "api/events.py": ((1014, 10, 124),),
    "api/sse.py": ((1146, 5, 50),),
    "api/gateway/responses_reader.py": ((1204, 38, 194),),
    "api/transport.py": ((1406, 14, 111),),
    "api/http.py": ((1525, 21, 103),),
    "api/catalog.py": ((1636, 13, 21),),
    "api/gateway/responses.py": ((1665, 22, 91),),
    "host/call.py": ((1764, 13, 59),),
    "host/versions.py": ((1831, 9, 25),),
    "models/family.py": ((1864, 10, 40),),
    "models/registry.py": ((1912, 15, 66),),
    "models/visibility.py": ((1986, 12, 21),),
    "models/entries.py": ((2015, 11, 44),),
    "requests/allow_list.py": ((2067, 10, 29),),
    "requests/history.py": ((2104, 10, 101),),
    "requests/parameters.py": ((2213, 12, 71),),
    "requests/normalise.py": ((2292, 12, 15),),
    "streaming/coalescer.py": ((2315, 12, 38),),
    "streaming/collector.py": ((2361, 20, 120),),
    "streaming/renderer.py": ((2489, 9, 13),),
    "streaming/output_items.py": ((2510, 9, 28),),
    "streaming/usage.py": ((2546, 9, 41),),
    "streaming/completion_chunks.py": ((2595, 22, 75),),
    "streaming/completion_dict.py": ((2678, 24, 72),),
    "streaming/response_events.py": ((2758, 26, 135),),
    "runtime.py": ((2901, 23, 116),),
    "orchestrator.py": ((3025, 25, 58),),
    "pipe.py": ((3091, 25, 67),),
}
