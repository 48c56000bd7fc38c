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

################################
# OpenRouter 0.1.0, in one file.
# bundle.py writes it from the modules in src/open_webui_openrouter_pipe: change it there.
#
# Contents, by line
#
# core/  What every room may use: settings, errors, context, logging, admission.
#    309  ids.py                        Identifiers of our own making.
#    356  redaction.py                  What must not be read by anyone: keys, tokens and whole files inside a text or a body.
#    433  errors.py                     Every cause of failure a person can act on, each with its words.
#
# storage/  What is kept of an answer: after the words, never before them.
#    642  payload_codec.py              Bytes that are kept: made small, and sealed so that only the right key opens them, and only
#    848  archive_file.py               One session archive: a file that is whole or not there, sealed, and for its owner's eyes only.
#    949  unlock.py                     The command line of the pasted file: `python pipe.py unlock` reads session archives.
#
# core/  What every room may use: settings, errors, context, logging, admission.
#   1114  circuit_breaker.py            The breaker: what failed again and again is left alone until its failures are old.
#   1170  json_codec.py                 JSON to and from bytes: orjson, with a way out for text it refuses.
#   1207  json_values.py                Values out of loose JSON: each reader gives the type it names, or nothing, and never raises.
#   1246  hand_over.py                  What the companion filters have left for a request, in a key of `metadata` of their own.
#   1285  media_types.py                What a file is, by the bytes it begins with: its name and the type it came with are claims.
#   1357  money.py                      Amounts of money: in words, and exact.
#   1380  process.py                    What every copy of the pipe in one process shares.
#   1401  addresses.py                  Which addresses of the web may be fetched: the spelling of a URL, and where its name leads.
#   1582  admission.py                  How many answers run at once: a slot, a place in a bounded queue, or a clear refusal.
#   1640  retry.py                      Whether a failed request may be sent again, and when.
#   1681  secrets.py                    Text that is encrypted at rest and never prints itself.
#   1775  session_records.py            What happened in one request, record by record: redacted, and no more than there is room for.
#   1828  source_map.py                 Where a line of the flat file comes from: for our own error log.
#   1860  template_language.py          The language of the error templates: placeholders, lines that vanish, blocks with a condition.
#   1924  valve_types.py                How the form's values are read: clamped, trimmed or replaced, never refused.
#   1997  archive_valves.py             The valves of the session archives, and the value object they become.
#   2070  attachment_valves.py          The valves for what people attach and link to, and the value object they become.
#   2191  catalog_valves.py             The valves that choose which models are offered, and the value object they become.
#   2335  companion_valves.py           The valves for the companion filters, and the value objects they become.
#   2414  metadata_valves.py            The valves for Open WebUI's own settings of each model, and the value object they become.
#   2509  personal_valves.py            What each user can set for themselves.
#   2625  spend_valves.py               What is written down of each request's cost, and how much may be spent.
#   2704  storage_valves.py             The valves that say where what the chat needs again is kept, and the value object they become.
#   2842  template_valves.py            The valves with which an admin words the errors, and the value object they become.
#   2937  tool_valves.py                The valves for tools: who runs them, within which limits, and how far OpenRouter's own may go.
#   3021  config.py                     The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with.
#   3460  context.py                    Who asks, for which message, under which settings: carried through the whole turn.
#   3529  logging_system.py             The log: every record names its request, and one worker writes them off the event loop.
#   3642  error_templates.py            What a person reads when a turn fails: the template for the cause, filled with what is known.
#   3826  timing_logger.py              How long each step of a turn takes: one JSON line a step, in a file, when the admin asks for it.
#
# api/  Talking to OpenRouter.
#   3973  bodies.py                     The two request bodies: what Open WebUI sends, and what OpenRouter takes.
#   4061  error_figures.py              The figures that stand in the prose of an error message: tokens, limits, money.
#   4107  errors.py                     Every shape of error body OpenRouter sends becomes one `OpenRouterAPIError`.
#   4303  events.py                     The Event language: what an answer is made of, whichever endpoint it came from.
#   4627  exchange_log.py               Requests and answers in the log (at level DEBUG) and the archive, fit to be read there.
#   4650  gateway/batch.py              The Events of one network read, with neighbouring deltas joined as they come.
#   4708  gateway/items.py              Output items, citations and usage of the Responses API, read into values.
#   4861  gateway/parsed_files.py       What OpenRouter has read out of documents: it goes back with the next turn, or is paid again.
#   4905  gateway/part_ends.py          Text that came with the end of its part, where neither deltas nor the item's end brought it.
#   4971  gateway/payloads.py           The objects of an event stream, whichever endpoint sends it.
#   5010  gateway/selection.py          Which endpoint answers: by the admin's rules, by what the request needs, by what failed.
#   5074  gateway/sound.py              Sound of an answer, put together from its pieces.
#   5104  gateway/text_run.py           A run of text deltas, read by its bytes: only the words differ from one event to the next.
#   5182  pacing.py                     Pauses between reads, in which the network gathers what would else come piece by piece.
#   5209  sse.py                        Server-sent events: bytes in any pieces become data payloads.
#   5277  gateway/chat_reader.py        The stream of `POST /chat/completions`, read into the same Events.
#   5515  gateway/responses_reader.py   The stream of `POST /responses`, read into Events.
#   5725  transport.py                  httpx on top of aiohttp: httpx's interface, a third of its CPU per streamed piece.
#   5909  http.py                       The HTTP client: one pool, the headers of every request, one place that reads httpx's errors.
#   6093  catalog.py                    What OpenRouter tells outside of answers: its models (`GET /models`), the key (`GET /key`).
#   6239  gateway/stream.py             One request, one stream of Events: what both endpoints have in common.
#   6371  gateway/chat_completions.py   `POST /chat/completions`: for what the Responses API cannot carry; the same Events come out.
#   6395  gateway/images.py             `POST /images`: for models that only draw, and that chats' endpoints do not know.
#   6435  gateway/responses.py          `POST /responses`: a request body in, Events out.
#   6455  gateway/videos.py             `POST /videos`: a job, asked after until its video can be fetched.
#
# host/  Open WebUI: the only folder that imports it.
#   6581  blocking.py                   Python tools written without `async`: run off the event loop, which they would hold up.
#   6646  columns.py                    Side-by-side chats: each column is asked with the parameters of its own model.
#   6746  data_folder.py                The folder in which Open WebUI keeps its data.
#   6761  database.py                   Open WebUI's database: tables of our own beside its, through its own engine and schema.
#   6857  departure.py                  The caller of a whole answer who hangs up: Open WebUI itself does not notice it.
#   6895  events.py                     What the page is told beside the stream of the answer.
#   6922  chats.py                      The chat an answer belongs to: its files, and what its answers have taken.
#   7030  functions.py                  Open WebUI's functions: the companion filters among them, which the pipe installs.
#   7128  kept_ids.py                   Lists of ids that the pipe remembers in Open WebUI's configuration.
#   7161  middleware.py                 The parts of Open WebUI's chat middleware that the pipe uses, each by its name.
#   7176  citing.py                     The numbers by which an answer cites what its tools found, as Open WebUI's page counts them.
#   7209  redis.py                      Open WebUI's Redis, where it has one: alone, behind sentinels, or a cluster.
#   7300  single_worker.py              One worker at a time, where Open WebUI runs several: they have its Redis in common.
#   7338  users.py                      The person who asks, and what they have set for themselves.
#   7441  call.py                       One call of the pipe, as Open WebUI makes it: who, which message, and the form of the answer.
#   7513  files.py                      Files of Open WebUI: what a user has uploaded, or a model has made for them.
#   7622  models.py                     Open WebUI's rows of models: what an admin has made of an entry of the model list.
#   7763  tools.py                      Open WebUI's tools: what stands in `__tools__`, how it is called, what its result means.
#   8015  versions.py                   Which Open WebUI this is, and whether the pipe works on it.
#
# filters/  The companion filters: each file is a stand-alone function of Open WebUI, carried as text.
#   8053  sources.py                    The text of each companion filter, by the name of its file.
#
# models/  The catalog: which models there are and what they can do.
#   8607  catalog_shelf.py              The last good catalog: a restart lists it without network, and workers share one.
#   8755  key_limit.py                  What is left of the API key's limit: asked beside the answers, never before one.
#   8806  pricing.py                    What a model's tokens cost, as its catalog row says.
#   8920  family.py                     A model as the pipe knows it, and its id both ways without loss.
#   9075  icons.py                      The makers' icons: addresses at OpenRouter or, where the admin wants it, copies.
#   9127  variants.py                   Variants and presets: entries of their own that use the model they are made of.
#   9202  known.py                      What is known of the models now: one catalog, never changed, replaced as a whole.
#   9243  companions.py                 The companion filters: where each works, and how each comes into Open WebUI.
#   9362  metadata_sync.py              What a sync would write into Open WebUI's rows of models: decided from values alone.
#   9599  registry.py                   The catalog in memory: answers at once, refreshes itself behind, keeps the last good one.
#   9781  visibility.py                 Which models are offered, and which may be used: the same rules, for the same reasons.
#  10008  entries.py                    The entries of Open WebUI's model list: the models, or one entry that says why there are none.
#  10082  sync_job.py                   Keeps Open WebUI's rows of models in step with the catalog, beside the answers.
#
# storage/  What is kept of an answer: after the words, never before them.
#  10281  artifact_table.py             The table of artifacts: what later turns need, each row bound to its pipe, user and chat.
#  10392  cost_snapshots.py             Costs for a program of the admin's own, which collects them from Open WebUI's Redis.
#  10441  downloads.py                  Files of the web, fetched without a way into the server's own network.
#  10639  encoded_files.py              Files in the form a request carries them; the same picture is not read with every turn.
#  10781  generated.py                  What a model has made becomes a file of the person who asked; a loss is told, not raised.
#  10835  artifact_cache.py             Artifacts in Redis for a while, encrypted as they stand in the table; the others stay out.
#  10914  pictures.py                   Pictures the model draws: files of the message, seen as they come, even half drawn.
#  11059  keeping.py                    The files of an answer: stored as they come, so that no base64 travels any further.
#  11147  session_archive.py            Session archives: what an answer was made of, handed over at its end and written beside the rest.
#  11363  spend_table.py                One row for each request to OpenRouter, however it ended: ids and numbers, no content.
#  11469  spend_ledger.py               The spend ledger: what each request to OpenRouter took, written down after the words.
#  11692  budgets.py                    Budgets: what a person, a group or everybody may spend in a day or a month.
#  11809  spend_report.py               What `/spend` answers: what has been spent, as tables with bars, or all of it as CSV.
#  11929  spending.py                   What the chat has cost so far, told with the end of an answer; and that it was stopped.
#  12014  video_jobs.py                 The video jobs under way, in a small table of Open WebUI's database.
#  12097  video_watch.py                A video job in the hands of one worker: held while it is followed, counted once at its end.
#  12203  write_behind.py               Rows that Redis holds on their way to the table: no answer waits for the database.
#  12384  artifacts.py                  The artifact store: takes what later turns need at once, and writes it beside the answers.
#  12802  kept_thinking.py              Sealed thinking goes into the artifact store; the chat gets a reference in its place.
#
# requests/  From what Open WebUI sends to what OpenRouter takes.
#  12847  allow_list.py                 Only what the API knows goes out.
#  12883  caching.py                    Prompt caches: kept warm by one provider a chat, asked for where a vendor wants that.
#  12935  content_parts.py              The parts of a message (text, pictures, files, sound, video) in the words of either endpoint.
#  13019  fallbacks.py                  Further models, for when the first one fails.
#  13040  identifiers.py                Who and what a request belongs to: told to OpenRouter only where the admin wants it.
#  13094  modalities.py                 Pictures and sound are asked for where the model gives them.
#  13142  old_texts.py                  What stands in the texts of old answers and no model should read: players, others' marks.
#  13215  parameters.py                 Sampling, length and format: chat-completions names become the Responses API's.
#  13282  parsed_files.py               What OpenRouter has read out of documents goes back, so that nobody pays for it twice.
#  13336  plugins.py                    OpenRouter's plugins: what shortens chats that are too long, and what reads PDFs.
#  13364  reasoning.py                  How hard the model thinks, and what is told of it.
#  13459  references.py                 Thinking that the chat only refers to: which, and how it comes back to its place.
#  13497  replay.py                     Reasoning of earlier answers goes back: `reasoning_details` become reasoning items.
#  13629  chat_body.py                  The same request as a chat-completions body, for what the Responses API cannot carry.
#  13783  history.py                    Chat messages become input items.
#  13909  next_round.py                 The request of another round: the one before, and what came of it.
#  14000  recovery.py                   A refused request, changed so that it may pass: each repair once, before the first word.
#  14115  retention.py                  What of earlier turns goes back to the model: its thinking, and the results of its tools.
#  14209  attachments.py                What people attach: found, checked, and put into their messages as the model takes it.
#  14539  routing_table.py              The admin's table of provider preferences: one line for each pattern of model ids.
#  14585  routing.py                    Which providers may serve a request: wishes, the admin's table, the model's parameters.
#  14632  tasks.py                      Open WebUI's own chores: a plain question, a plain and cheap answer.
#  14675  studio.py                     What is asked of a model that only draws or films: a prompt, pictures to go by, wishes.
#  14756  tools.py                      What governs the tools of a request: which must be used, and how far OpenRouter's own may go.
#  14805  web_search.py                 The search that a person has switched on in the chat: as a tool, or for the model.
#  14875  normalise.py                  From the body Open WebUI sends to the body OpenRouter takes: the stages, in order.
#
# streaming/  From Events to what Open WebUI shows.
#  14927  collector.py                  Events put in order: every item opens once, its deltas add up to its text, and it closes once.
#  15201  completion_notes.py           What an API client gets beside the words: the pages cited, and the thinking to send back.
#  15255  open_calls.py                 The calls an API client has to run itself: those that nobody here has answered.
#  15288  renderer.py                   What the three renderers have in common: Events in, pieces for one kind of reader out.
#  15309  citations.py                  The pages an answer leans on, as Open WebUI's sources.
#  15374  layout.py                     How the parts of an answer stood, where Open WebUI's next-turn messages would not tell.
#  15447  output_items.py               Items of the answer as Open WebUI stores them in a message's `output` list.
#  15543  server_tools.py               What OpenRouter did for the answer, as cards a person can open.
#  15597  status.py                     The status line of an answer: few words, all of them true.
#  15652  think_tags.py                 Thinking that a model prints as `<think>` text, told apart from its answer.
#  15794  thinking_status.py            Thinking told in status lines: the model's own sentences, few of them.
#  15855  usage.py                      What an answer took and cost, under the names its reader knows.
#  15955  completion_chunks.py          An API client that streams: `chat.completion.chunk` objects, as server-sent events.
#  16064  completion_dict.py            A caller that wants the whole answer at once: one `chat.completion` object.
#  16185  response_events.py            A chat in Open WebUI: Responses events, which its reducer stores and its page draws.
#  16472  transcript.py                 One answer over all its rounds: numbered through, in order, with what it has cost.
#
# tools/  The calls a model makes of tools: who runs them, and what each brings back.
#  16610  policy.py                     Who runs a round of calls: what Open WebUI must do itself, and what nobody may run unasked.
#  16665  results.py                    What a model is told of its calls: results no longer than the chat has room for, and failures.
#  16789  schema.py                     Strict schemas: what OpenAI's models can be held to, letter by letter.
#  17098  arguments.py                  The arguments of a call: read, repaired where they can only mean one thing, fitted.
#  17219  definitions.py                The `tools` of a request: what the chat offers, in the Responses API's words.
#  17303  executor.py                   One call of a tool, contained: in its turn, once, within its time, and with an answer always.
#  17505  toolbox.py                    The tools of one turn: what the model is offered, who runs its calls, what they bring back.
#
#  17643  runtime.py                    The services of the process: made when first needed, replaced on reload, gone when idle.
#
#  17868  attempts.py                   One request on its way: repaired, redirected or repeated until an answer comes of it.
#
#  17966  resuming.py                   Videos outlive the worker that asked for them: the next one sees them to their end.
#
#  18044  rounds.py                     The rounds of one answer: the model calls tools, reads what they brought back, and goes on.
#
#  18244  orchestrator.py               The turn: a slot, a request, its Events, and what the caller sees of them.
#
#  18458  pipe.py                       The entrance: what Open WebUI calls.
################################

from __future__ import annotations

import argparse
import ast
import asyncio
import base64
import csv
import getpass
import hashlib
import hmac
import importlib
import inspect
import io
import json
import logging
import math
import os
import queue
import random
import re
import secrets
import socket
import struct
import sys
import tempfile
import threading
import time
import traceback
import uuid
import zlib
from base64 import b64decode, b64encode
from collections import Counter, defaultdict, deque, OrderedDict
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Container,
    Coroutine,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    AsyncExitStack,
    contextmanager,
    ExitStack,
    nullcontext,
    suppress,
)
from contextvars import Context, ContextVar, copy_context
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import date, datetime, UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum
from fnmatch import fnmatchcase
from functools import cache, lru_cache, partial, wraps
from hashlib import blake2b, blake2s, sha256
from io import BytesIO
from ipaddress import ip_address, ip_network, IPv4Address, IPv6Address
from itertools import groupby, islice
from math import isfinite
from pathlib import Path
from secrets import token_hex
from types import ModuleType
from typing import (
    Annotated,
    Any,
    cast,
    get_args,
    IO,
    Literal,
    ParamSpec,
    Protocol,
    TypedDict,
    TypeVar,
)
from urllib.parse import quote, urljoin
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt


################################
# core/ids.py
#
# Identifiers of our own making.
################################

SERVER_TOOL_CALL_PREFIX = "openrouter:"
"""Begins the call id of a card that shows what OpenRouter did: it is no call of a tool."""

LAYOUT_DETAIL = "openrouter_pipe.layout"
"""The type of the detail that tells how the parts of an answer stood: it never goes out."""

STORED_DETAIL = "openrouter_pipe.stored"
"""The type of the detail that stands for thinking kept elsewhere: it never goes out."""

PARSED_DETAIL = "openrouter_pipe.parsed"
"""The type of the detail that holds what OpenRouter has read out of documents."""

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_API_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_REFUSED_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def new_request_id() -> str:
    """Sixteen hex digits that name one call of the pipe in the log and in an error."""
    return secrets.token_hex(8)


def new_item_id(prefix: str) -> str:
    """An id for an output item that came without one: `msg_...`, `rs_...`."""
    return f"{prefix}_{secrets.token_hex(12)}"


def new_ulid(now: float) -> str:
    """An id that sorts by its time (seconds since 1970): 48 bits of milliseconds, 80 of chance."""
    number = int(now * 1_000) << 80 | secrets.randbits(80)
    return "".join(_CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def api_tool_name(name: str) -> str:
    """The name itself where the API takes it, else one it takes that stands for no other."""
    if _API_TOOL_NAME.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{_REFUSED_IN_NAMES.sub('_', name)[:55]}_{digest}"


################################
# core/redaction.py
#
# What must not be read by anyone: keys, tokens and whole files inside a text or a body.
################################

REDACTED = "[redacted]"

_KEYS = re.compile(
    r"\bsk-(?:or|ant|proj|svcacct|admin)-[\w-]+|\bsk-[A-Za-z0-9_]{16,}|\bBearer\s+(?=\S*\d)[^\s\"',;]{8,}",
    re.IGNORECASE,
)
_PASSWORD_IN_ADDRESS = re.compile(r"(?<=://)[^\s/?#@]+@")
_DATA_URL = re.compile(r"data:[\w.+-]+/[\w.+-]+(?:;[\w.=+-]+)*,[^\s,\"'()<>\\]*")
# Base64 without an address around it: audio, encrypted reasoning, signatures.
_BLOB = re.compile(r"(?<![\w+/=-])[A-Za-z0-9+/=_-]{1000,}")
_SECRET_FIELDS = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "authorization",
        "cookie",
        "password",
        "secret",
        "x-api-key",
    }
)


def redact_text(text: str) -> str:
    """The text with its keys, tokens, passwords and embedded files blanked out."""
    text = _KEYS.sub(REDACTED, text)
    return _without_files_in(_PASSWORD_IN_ADDRESS.sub(f"{REDACTED}@", text))


def redact_body(value: Any) -> Any:
    """A copy of a JSON value, fit for a log."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {name: _redact_field(str(name), inner) for name, inner in fields.items()}
    if isinstance(value, list | tuple):
        return [redact_body(inner) for inner in cast("list[Any]", value)]
    return value


def without_files(value: Any) -> Any:
    """A copy of a JSON value, fit for a chat: each embedded file is told by its size."""
    if isinstance(value, str):
        return _without_files_in(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[Any, Any]", value)
        return {name: without_files(inner) for name, inner in fields.items()}
    if isinstance(value, list | tuple):
        return [without_files(inner) for inner in cast("list[Any]", value)]
    return value


def _without_files_in(text: str) -> str:
    return _BLOB.sub(_name_blob, _DATA_URL.sub(_name_file, text))


def _redact_field(name: str, value: Any) -> Any:
    return REDACTED if name.lower() in _SECRET_FIELDS and value else redact_body(value)


def _name_file(match: re.Match[str]) -> str:
    kind = match[0].partition(",")[0]
    return f"{kind},[{len(match[0]) - len(kind) - 1} characters]"


def _name_blob(match: re.Match[str]) -> str:
    return f"[{len(match[0])} characters]"


################################
# core/errors.py
#
# Every cause of failure a person can act on, each with its words.
#
# PipeError
# |-- SettingsError            a valve needs the admin's hand
# |   `-- ApiKeyError          the key is missing or cannot be used
# |-- HostTooOldError          this Open WebUI cannot show what the pipe sends
# |-- ModelUnavailableError    the chosen entry is not a model that may be used
# |-- EndpointConflictError    the request needs an endpoint that a rule forbids
# |-- UnsupportedInputError    a message holds something that cannot be sent
# |-- FileNotStoredError       what the model made could not be kept
# |-- SealedPayloadError       what was kept cannot be opened
# |-- BudgetSpentError         what may be spent is spent
# |-- LedgerError              what was spent cannot be told
# |-- AddressRefusedError      an address that must not be fetched
# |-- DownloadFailedError      a file of the web that did not come
# |-- BusyError                every slot and every waiting place is taken
# |-- ConnectionFailedError    OpenRouter could not be reached
# |-- UpstreamTimeoutError     OpenRouter fell silent
# |-- StreamInterruptedError   the answer stopped before its end
# |-- OpenRouterAPIError       OpenRouter or a provider refused or failed
# `-- InternalError            a fault of the pipe itself
################################

class PipeError(Exception):
    """What happened and what to do about it, in words for the person who sees it."""

    def __init__(self, cause: str, next_step: str = "") -> None:
        self.cause = redact_text(cause)
        super().__init__(self.cause)
        self.next_step = next_step
        self.explanation = ""
        """The admin's words for it, once a turn has ended with it."""

    def for_person(self) -> str:
        """The text of the message's error."""
        if self.explanation:
            return self.explanation
        return f"{self.cause}\n\n{self.next_step}" if self.next_step else self.cause


class SettingsError(PipeError):
    """A valve is missing or cannot be used."""


class ApiKeyError(SettingsError):
    """The API key is missing, unreadable, or not one that a header can carry."""


class HostTooOldError(PipeError):
    """Open WebUI is older than the oldest version the pipe works on."""


class ModelUnavailableError(PipeError):
    """The chosen entry is not a model, or one that the settings keep back."""


class EndpointConflictError(PipeError):
    """A rule of the admin forbids the endpoint that the request needs."""

    def __init__(
        self, cause: str, next_step: str = "", *, required: str = "", enforced: str = ""
    ) -> None:
        super().__init__(cause, next_step)
        self.required_endpoint = required
        self.enforced_endpoint = enforced


class UnsupportedInputError(PipeError):
    """A message holds something that no request can carry."""


class FileNotStoredError(PipeError):
    """What the model made could not become a file of Open WebUI."""


class SealedPayloadError(PipeError):
    """What was kept is damaged, belongs elsewhere, or needs another key."""


class BudgetSpentError(PipeError):
    """A budget of the admin's is spent, until its day or month is over."""


class LedgerError(PipeError):
    """The spend ledger is off, or cannot be read."""


class AddressRefusedError(PipeError):
    """An address in a message leads where the server must not go."""


class DownloadFailedError(PipeError):
    """A file of the web did not come, or not in a form that can be used."""


class BusyError(PipeError):
    """Every slot and every waiting place of this process is taken."""


class ConnectionFailedError(PipeError):
    """OpenRouter could not be reached, or hung up before it answered."""

    def __init__(
        self,
        cause: str,
        next_step: str = "",
        *,
        request_was_sent: bool = True,
        name_was_found: bool = True,
    ) -> None:
        super().__init__(cause, next_step)
        self.request_was_sent = request_was_sent
        """Whether the request may have arrived; then it must not be sent again."""
        self.name_was_found = name_was_found
        """Whether the server's name leads anywhere; a wrong one is wrong the next time too."""


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
    may_pass: bool = True
    """Whether OpenRouter leaves it open that the same request succeeds later."""
    generation_id: str = ""
    moderation_reasons: tuple[str, ...] = ()
    flagged_excerpt: str = ""
    """The part of the input that a moderation objects to."""
    rate_limit_scope: str = ""
    """Whose limit it is: `openrouter_free_models_per_min`, `upstream_provider_shared_pool`, ..."""
    requested_tokens: int | None = None
    """What the request would have taken, as far as the message says; so the ones below."""
    affordable_tokens: int | None = None
    context_limit: int | None = None
    """Tokens the model can read."""
    required_cost: float | None = None
    """USD."""
    account_balance: float | None = None
    """USD."""


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
    400: "Choose another model, or check its parameters and the attachments of this chat.",
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
    if failure.context_limit is not None:
        return "Shorten the chat, start a new one, or choose a model that reads longer chats."
    if failure.status == 429 and failure.retry_after is not None:
        return f"Try again in {failure.retry_after:.0f} seconds, or choose another model."
    if failure.status is not None and failure.status in _ADVICE_BY_STATUS:
        return _ADVICE_BY_STATUS[failure.status]
    if failure.status is not None and 300 <= failure.status < 400:
        return "The address has moved; the admin should check `BASE_URL`."
    if failure.status is not None and failure.status < 500:
        return "Change the request or choose another model."
    return "Try again in a moment, or choose another model."


################################
# storage/payload_codec.py
#
# Bytes that are kept: made small, and sealed so that only the right key opens them, and only
# where they belong.
#
# The format stands in docs/storage.md, byte by byte. Sealing and opening may take a while (scrypt, a
# large payload): they belong in a thread.
################################

LARGEST_PAYLOAD = 64 * 1024 * 1024
"""Bytes; what would become larger when it is opened is refused."""

_PAYLOAD_VERSION = 1
_COMPRESSIONS = ("plain", "zlib", "lz4")
_IS_ENCRYPTED = 0x80
_FIRST_BYTES = 2
_DIGEST_AT = slice(2, 18)
_SALT_AT, _KEY_ID_AT, _NONCE_AT = slice(2, 18), slice(18, 26), slice(26, 38)
_TAG_BYTES = 16
_FAST_ZLIB = 3


@dataclass(frozen=True, slots=True)
class PayloadLabel:
    """What a payload says of itself without being opened."""

    version: int
    compression: str
    key_id: str
    """Names the key, in hex; empty where the payload is not encrypted."""

    def __str__(self) -> str:
        cipher = "+aes256gcm" if self.key_id else ""
        return f"v{self.version}+{self.compression}{cipher}"


class PayloadCodec:
    """Seals what is kept with one key, and opens it with that one or an older one.

    `identity` says where a payload belongs (whose, in which chat, under which id): it is not stored
    in it, but without the very same one it does not open. Without a key nothing is encrypted.
    """

    def __init__(
        self,
        key: str = "",
        old_keys: Iterable[str] = (),
        *,
        compress_from: int = 1_024,
        use_lz4: bool = True,
    ) -> None:
        self._key = key
        self._keys = [known for known in (key, *old_keys) if known]
        self._compress_from = compress_from
        self._use_lz4 = use_lz4
        self._salt = os.urandom(16)

    def seal(self, content: bytes, identity: Sequence[str], *, encrypt: bool = True) -> bytes:
        """The payload to keep; with `encrypt` off it is only made small."""
        compression, body = self._compressed(content)
        if not (self._key and encrypt):
            header = bytes((_PAYLOAD_VERSION, compression))
            return header + _payload_digest(header, identity, body) + body
        salt, nonce = self._salt, os.urandom(12)  # another thread may put another salt there
        key, key_id = _derive_key(self._key, salt)
        first = bytes((_PAYLOAD_VERSION, compression | _IS_ENCRYPTED))
        header = first + salt + key_id + nonce
        return header + AESGCM(key).encrypt(nonce, body, header + _identity_bytes(identity))

    def open(
        self, payload: bytes, identity: Sequence[str], largest: int = LARGEST_PAYLOAD
    ) -> bytes:
        """What was sealed; raises `SealedPayloadError` for everything but exactly that."""
        label = read_label(payload)
        if label.key_id:
            body = self._decrypted(payload, identity)
        else:
            body = payload[_DIGEST_AT.stop :]
            digest = _payload_digest(payload[:_FIRST_BYTES], identity, body)
            if not hmac.compare_digest(payload[_DIGEST_AT], digest):
                raise _not_as_sealed()
        return _decompressed(label.compression, body, largest)

    def _compressed(self, content: bytes) -> tuple[int, bytes]:
        """The shorter form and its number: what does not get shorter stays as it is."""
        if len(content) < max(self._compress_from, 1):
            return 0, content
        lz4 = _lz4_block() if self._use_lz4 else None
        body = lz4.compress(content) if lz4 else zlib.compress(content, _FAST_ZLIB)
        return (2 if lz4 else 1, body) if len(body) < len(content) else (0, content)

    def _decrypted(self, payload: bytes, identity: Sequence[str]) -> bytes:
        header, ciphertext = payload[: _NONCE_AT.stop], payload[_NONCE_AT.stop :]
        salt = header[_SALT_AT]
        for known in self._keys:
            key, key_id = _derive_key(known, salt)
            if hmac.compare_digest(header[_KEY_ID_AT], key_id):
                break
        else:
            raise SealedPayloadError("It was sealed with a key that is not known here.")
        try:
            place = header + _identity_bytes(identity)
            body = AESGCM(key).decrypt(header[_NONCE_AT], ciphertext, place)
        except InvalidTag as error:
            raise _not_as_sealed() from error
        if known == self._key:
            # One salt for many payloads: each new one costs its first reader a derivation.
            self._salt = salt
        return body


def is_encrypted(payload: bytes) -> bool:
    """Whether a payload can be read by those alone who have its key."""
    return payload[1:_FIRST_BYTES] >= bytes((_IS_ENCRYPTED,))


def read_label(payload: bytes) -> PayloadLabel:
    """What the payload's head says; raises `SealedPayloadError` where there is no such head."""
    if len(payload) < _DIGEST_AT.stop:
        raise SealedPayloadError("It is cut short.")
    version, flags = payload[0], payload[1]
    if version != _PAYLOAD_VERSION:
        raise SealedPayloadError(f"It has format {version}, which this version cannot read.")
    compression = flags & ~_IS_ENCRYPTED
    if compression >= len(_COMPRESSIONS):
        raise _not_as_sealed()
    if not flags & _IS_ENCRYPTED:
        return PayloadLabel(version, _COMPRESSIONS[compression], "")
    if len(payload) < _NONCE_AT.stop + _TAG_BYTES:
        raise SealedPayloadError("It is cut short.")
    return PayloadLabel(version, _COMPRESSIONS[compression], payload[_KEY_ID_AT].hex())


def _not_as_sealed() -> SealedPayloadError:
    return SealedPayloadError("It is not as it was sealed: damaged, changed, or put elsewhere.")


def _decompressed(compression: str, body: bytes, largest: int) -> bytes:
    """The content; it is never grown beyond the limit to find out that it is too large."""
    match compression:
        case "zlib":
            content = _inflated(body, largest)
        case "lz4":
            content = _unpacked(body, largest)
        case _:
            content = body
    if len(content) > largest:
        raise _payload_too_large(largest)
    return content


def _inflated(body: bytes, largest: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(body, largest + 1)
    except zlib.error as error:
        raise _not_as_sealed() from error
    if not reader.eof and len(content) <= largest:
        raise SealedPayloadError("It is cut short.")
    return content


def _unpacked(body: bytes, largest: int) -> bytes:
    lz4 = _lz4_block()
    if lz4 is None:
        raise SealedPayloadError("It is compressed with lz4, which is not installed here.")
    if int.from_bytes(body[:4], "little") > largest:
        raise _payload_too_large(largest)
    try:
        return lz4.decompress(body)
    except (lz4.LZ4BlockError, ValueError) as error:
        raise _not_as_sealed() from error


def _payload_too_large(largest: int) -> SealedPayloadError:
    return SealedPayloadError(f"It holds more than {largest:,} bytes.")


def _identity_bytes(identity: Sequence[str]) -> bytes:
    """The parts with their lengths, so that no two identities look alike."""
    parts = [part.encode("utf-8", "surrogatepass") for part in identity]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _payload_digest(header: bytes, identity: Sequence[str], body: bytes) -> bytes:
    """Finds damage and mistakes; only a key keeps out someone who means it."""
    return blake2b(header + _identity_bytes(identity) + body, digest_size=16).digest()


@lru_cache(maxsize=128)
def _derive_key(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The key and its id; it takes some 50 ms and 16 MB, which is what protects a weak one."""
    derivation = Scrypt(salt=salt, length=32 + 8, n=2**14, r=8, p=1)
    derived = derivation.derive(passphrase.encode("utf-8", "surrogatepass"))
    return derived[:32], derived[32:]


@cache
def _lz4_block() -> Any:
    try:
        return importlib.import_module("lz4.block")
    except ImportError:
        return None


################################
# storage/archive_file.py
#
# One session archive: a file that is whole or not there, sealed, and for its owner's eyes only.
#
# The format stands in docs/storage.md. All of it may take a while: it belongs in a thread.
################################

ARCHIVE_SUFFIX = ".orlog"
_UNFINISHED_SUFFIX = ".part"
_FIRST_ARCHIVE_BYTES = b"ORLOG\x01\r\n"
_ARCHIVE_IDENTITY = ("session archive",)
_PRIVATE_FOLDER = 0o700


def archive_path(root: Path, folders: Sequence[str], name: Sequence[str]) -> Path:
    """Where an archive stands; ids that could lead elsewhere are written as ones that cannot."""
    safe = [api_tool_name(folder) for folder in folders]
    return root.joinpath(*safe, ".".join(api_tool_name(part) for part in name) + ARCHIVE_SUFFIX)


def write_archive(root: Path, path: Path, lines: Sequence[bytes], codec: PayloadCodec) -> None:
    """Seal the lines into the file; raises `OSError`, and then leaves nothing behind."""
    sealed = _FIRST_ARCHIVE_BYTES + codec.seal(b"\n".join(lines), _ARCHIVE_IDENTITY)
    try:
        _write_whole(root, path, sealed)
    except FileNotFoundError:  # the clean-up of another worker took the empty folder away
        _write_whole(root, path, sealed)


def read_archive(path: Path, codec: PayloadCodec) -> list[dict[str, Any]]:
    """The records, the one about the whole session first.

    Raises `OSError`, and `SealedPayloadError` for everything but exactly what was written.
    """
    sealed = path.read_bytes()
    first = len(_FIRST_ARCHIVE_BYTES)
    if sealed[:first] != _FIRST_ARCHIVE_BYTES:
        raise SealedPayloadError("It is not a session archive, or its beginning is damaged.")
    if not read_label(sealed[first:]).key_id:
        raise SealedPayloadError("It is not encrypted: anybody may have written it.")
    content = codec.open(sealed[first:], _ARCHIVE_IDENTITY)
    return [json.loads(line) for line in content.splitlines()]


def delete_old_archives(root: Path, before: float) -> None:
    """Delete what was written before that time (seconds since 1970), and folders left empty by it.

    Other things may stand under the same root: an empty folder that held no archive is not ours.
    """
    for user in _within(root.resolve()):
        _remove_if_empty(user, [_delete_within(chat, before) for chat in _within(user)])


def _delete_within(chat: Path, before: float) -> bool:
    """Whether something was deleted there."""
    suffixes = (ARCHIVE_SUFFIX, _UNFINISHED_SUFFIX)
    old = [_delete_older(file, before) for file in _within(chat) if file.suffix in suffixes]
    return _remove_if_empty(chat, old)


def _remove_if_empty(folder: Path, deleted: Sequence[bool]) -> bool:
    if any(deleted):
        with suppress(OSError):  # something is in it
            folder.rmdir()
    return any(deleted)


def _write_whole(root: Path, path: Path, content: bytes) -> None:
    for folder in (root, path.parent.parent, path.parent):
        folder.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
    # `mkstemp` makes a new file that nobody else may read.
    handle, unfinished = tempfile.mkstemp(_UNFINISHED_SUFFIX, ".", path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise


def _within(folder: Path) -> list[Path]:
    """What is in a folder; a link leads elsewhere and is left alone."""
    try:
        return [] if folder.is_symlink() else [*folder.iterdir()]
    except OSError:  # no folder, or gone
        return []


def _delete_older(file: Path, before: float) -> bool:
    with suppress(OSError):  # other workers may be at it too
        if file.lstat().st_mtime < before:
            file.unlink()
            return True
    return False


################################
# storage/unlock.py
#
# The command line of the pasted file: `python pipe.py unlock` reads session archives.
#
# It needs Python and `cryptography`, and no Open WebUI.
################################

_PASSPHRASE_VARIABLE = "SESSION_LOG_PASSPHRASE"


def run_command_line(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 1 when something could not be read, 2 when misused."""
    options = _read_arguments(arguments)
    paths = [path for named in options.archives for path in _archives_in(named)]
    passphrase = os.environ.get(_PASSPHRASE_VARIABLE) or _asked_for()
    if not passphrase:
        _complain(f"no passphrase: set {_PASSPHRASE_VARIABLE}, or type it when asked")
        return 2
    codec = PayloadCodec(passphrase, use_lz4=False)
    try:
        return max([_print_archive(path, codec, options) for path in paths], default=1)
    except BrokenPipeError:  # what reads us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _read_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Tools for what the OpenRouter function of Open WebUI keeps."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    unlock = commands.add_parser(
        "unlock",
        help="read session archives",
        description="Print session archives. "
        f"The passphrase comes from {_PASSPHRASE_VARIABLE}, else it is asked for.",
    )
    add = unlock.add_argument
    add("archives", nargs="+", type=Path, metavar="ARCHIVE", help="a file, or a folder of them")
    add("--list", action="store_true", help="one line for each archive, without its records")
    add(
        "--kind",
        action="append",
        help="only records of this kind: request, item, log, timing, ...",
    )
    add("--grep", default="", metavar="TEXT", help="only records that contain this text")
    add(
        "--outcome",
        metavar="HOW",
        help="only archives of answers that ended so: failed, ...",
    )
    add("--json", action="store_true", help="the records as they are, one JSON object a line")
    return parser.parse_args(arguments)


def _archives_in(named: Path) -> Iterator[Path]:
    if named.is_dir():
        yield from sorted(named.rglob(f"*{ARCHIVE_SUFFIX}"), key=lambda each: each.stat().st_mtime)
    else:
        yield named


def _asked_for() -> str:
    try:
        return getpass.getpass("Passphrase of the archives: ")
    except (EOFError, KeyboardInterrupt):
        return ""


def _print_archive(path: Path, codec: PayloadCodec, options: argparse.Namespace) -> int:
    try:
        session, *records = read_archive(path, codec)
    except (OSError, SealedPayloadError) as error:
        reason = error.cause if isinstance(error, SealedPayloadError) else error.strerror
        _complain(f"{path}: {reason}")
        return 1
    if options.outcome and session["outcome"] != options.outcome:
        return 0
    shown = [record for record in records if _is_wanted(record, options)]
    if records and not shown:
        return 0
    if options.json:
        lines = [_as_json(record) for record in [session, *([] if options.list else shown)]]
    else:
        lines = [_headline(session)]
        lines += [] if options.list else ["", *map(_record_line, shown), ""]
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


def _is_wanted(record: dict[str, Any], options: argparse.Namespace) -> bool:
    if options.kind and record["kind"] not in options.kind:
        return False
    return options.grep.lower() in _as_json(record).lower()


def _headline(session: dict[str, Any]) -> str:
    """The archive in one line; its ids are those that were sealed with it, wherever it lies."""
    began = datetime.fromtimestamp(session["time"]).isoformat(" ", "seconds")
    told = ("outcome", "model", "user_id", "chat_id", "message_id", "request_id")
    dropped = f", {session['dropped']} more dropped" if session["dropped"] else ""
    counts = f"{session['seconds']} s, {session['records']} records{dropped}"
    return "  ".join([began, *(_as_json(session[name])[1:-1] for name in told), counts])


def _record_line(record: dict[str, Any]) -> str:
    fields = {name: value for name, value in record.items() if name not in ("time", "kind")}
    # As JSON: a terminal must not obey what a model has written.
    clock = datetime.fromtimestamp(record["time"]).strftime("%H:%M:%S.%f")[:-3]
    return f"{clock}  {record['kind']:<10}  {_as_json(fields)}"


def _as_json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _complain(words: str) -> None:
    sys.stderr.write(f"{words}\n")


################################
# Started as a program, the file is only what stands above: the rest needs Open WebUI's packages.
################################

if __name__ == "__main__":
    raise SystemExit(run_command_line())

import aiohttp
import httpx
import orjson
from aiohttp.abc import AbstractResolver, ResolveResult
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import core_schema, CoreSchema
from redis.exceptions import RedisError, ResponseError
from sqlalchemy import (
    BigInteger,
    case,
    Column,
    Connection,
    delete,
    exists,
    Float,
    func,
    Index,
    insert,
    LargeBinary,
    MetaData,
    select,
    String,
    Table,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse
from yarl import URL


################################
# core/circuit_breaker.py
#
# The breaker: what failed again and again is left alone until its failures are old.
################################

BreakerKey = tuple[str, ...]

# A failure that long ago, in a process that long-lived, decides nothing any more.
_MOST_KEYS = 10_000
_MOST_FAILURES = 50


@dataclass(slots=True)
class FailureLog:
    """When what has failed lately, for every copy of the pipe in one process.

    A copy may be older than the code that reads this, so it holds nothing but plain state.
    """

    times: OrderedDict[BreakerKey, deque[float]] = field(
        default_factory=OrderedDict[BreakerKey, deque[float]]
    )
    """Seconds of one clock, oldest first; what failed last stands last."""


@dataclass(frozen=True, slots=True)
class BreakerLimit:
    """So many failures within so many seconds are too many."""

    failures: int
    window: float


def pause_left(log: FailureLog, key: BreakerKey, limit: BreakerLimit, now: float) -> float:
    """Seconds until it may be tried again; 0 when it may be tried now."""
    failed_at = log.times.get(key, ())
    recent = [time for time in failed_at if now - time < limit.window]
    if len(recent) < limit.failures:
        return 0.0
    return recent[-limit.failures] + limit.window - now


def note_failure(log: FailureLog, key: BreakerKey, now: float) -> None:
    """Remember a failure; the longest forgotten key makes room."""
    log.times.setdefault(key, deque(maxlen=_MOST_FAILURES)).append(now)
    log.times.move_to_end(key)
    while len(log.times) > _MOST_KEYS:
        log.times.popitem(last=False)


def note_success(log: FailureLog, key: BreakerKey) -> None:
    """It works: whatever failed before does not count."""
    log.times.pop(key, None)


################################
# core/json_codec.py
#
# JSON to and from bytes: orjson, with a way out for text it refuses.
################################

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


################################
# core/json_values.py
#
# Values out of loose JSON: each reader gives the type it names, or nothing, and never raises.
################################

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


################################
# core/hand_over.py
#
# What the companion filters have left for a request, in a key of `metadata` of their own.
################################

HAND_OVER_KEY = "openrouter_pipe"
"""In `metadata`: what a filter writes into Open WebUI's own keys is put back before the pipe."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """What people have switched on for a request, in OpenRouter's words."""

    search: JsonObject | None = None
    """The parameters of the tool `openrouter:web_search`; `None` where it is not wanted."""
    provider: JsonObject = field(default_factory=dict[str, Any])
    """The user's own preferences, as `provider` takes them."""
    uploads: tuple[JsonObject, ...] = ()
    """The files (`id`, `name`) that were taken out of Open WebUI's retrieval for the model."""
    kept_uploads: JsonObject = field(default_factory=dict[str, Any])
    """Why others stayed there, by the file's id."""


NOTHING_HANDED_OVER = HandOver()


def read_hand_over(metadata: Mapping[str, Any]) -> HandOver:
    """Read what the filters have left; an admin may have edited them."""
    handed = as_object(metadata.get(HAND_OVER_KEY))
    search, uploads = handed.get("search"), objects_in(handed.get("uploads"))
    return HandOver(
        search=None if search is None else as_object(search),
        provider=as_object(handed.get("provider")),
        uploads=tuple(file for file in uploads if text_of(file.get("id"))),
        kept_uploads=as_object(handed.get("kept_uploads")),
    )


################################
# core/media_types.py
#
# What a file is, by the bytes it begins with: its name and the type it came with are claims.
################################

_HEAD_BYTES = 4096

_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\x00\x00\x01\xba", "video/mpeg"),
    (b"\x00\x00\x01\xb3", "video/mpeg"),
)
# RIFF, FORM and ISO containers name their kind after a length.
_CONTAINERS = {
    (b"RIFF", b"WEBP"): "image/webp",
    (b"RIFF", b"WAVE"): "audio/wav",
    (b"FORM", b"AIFF"): "audio/aiff",
    (b"FORM", b"AIFC"): "audio/aiff",
}
_BRANDS = {b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}
_PICTURE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1"})


def sniff_media_type(content: bytes | bytearray | memoryview) -> str:
    """The media type, for what a model can be given; empty for anything else, programs above all.

    The beginning of the content is enough.
    """
    head = bytes(content[:_HEAD_BYTES])
    for beginning, media_type in _BEGINNINGS:
        if head.startswith(beginning):
            return media_type
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "" if brand in _PICTURE_BRANDS else _BRANDS.get(brand, "video/mp4")
    if found := _CONTAINERS.get((head[:4], head[8:12])):
        return found
    if b"%PDF-" in head[:1024]:
        return "application/pdf"
    return _sniff_frames(head) or ("text/plain" if _is_text(head) else "")


def _sniff_frames(head: bytes) -> str:
    """Sound that begins with a frame: eleven or twelve set bits, then its kind."""
    if len(head) < 4 or head[0] != 0xFF:
        return ""
    if head[1] & 0xF6 == 0xF0:
        return "audio/aac"
    layer, bit_rate, sample_rate = head[1] & 0x06, head[2] >> 4, head[2] & 0x0C
    is_mpeg = head[1] & 0xE0 == 0xE0 and layer and bit_rate < 15 and sample_rate != 0x0C
    return "audio/mpeg" if is_mpeg else ""


def _is_text(head: bytes) -> bool:
    if not head or any(byte < 32 and byte not in b"\t\n\v\f\r\x1b" for byte in head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character may be cut where the beginning ends.
        return len(head) == _HEAD_BYTES and error.start > len(head) - 4
    return True


################################
# core/money.py
#
# Amounts of money: in words, and exact.
################################

PICODOLLARS = 10**12
"""So many make one USD."""


def dollars(amount: float) -> str:
    """The amount in USD, with as many digits as tell something: `$0.0012`."""
    digits = 2 if amount == 0 or amount >= 1 else 4 if amount >= 0.001 else 6
    return f"${amount:.{digits}f}"


def picodollars(amount: float) -> int:
    """The amount in 10^-12 USD, of the decimal number as it was written: these add up exactly."""
    if not isfinite(amount):
        return 0
    return int((Decimal(repr(amount)) * PICODOLLARS).to_integral_value())


################################
# core/process.py
#
# What every copy of the pipe in one process shares.
################################

# Open WebUI loads the file anew on every change; each copy finds the same holder under this name.
_HOLDER = "open_webui_openrouter_pipe_process"

Shared = TypeVar("Shared")


def shared_by_process(name: str, make: Callable[[], Shared]) -> Shared:
    """The one value of this name, made by whichever copy asks first.

    The copy that made it may be older than the one that reads it: names of what it holds stay.
    """
    holder = sys.modules.setdefault(_HOLDER, ModuleType(_HOLDER))
    return cast("Shared", holder.__dict__.setdefault(name, make()))


################################
# core/addresses.py
#
# Which addresses of the web may be fetched: the spelling of a URL, and where its name leads.
#
# The list of what is allowed is short and everything else is refused: a spelling that two readers
# could understand differently, and a network that is not the public internet.
################################

_LONGEST_URL = 4096
_DEFAULT_PORTS = {"https": 443, "http": 80}

# No user name, no backslash, no percent sign can stand in the host: what does not match is refused.
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?((?:/|\?|#).*)?", re.IGNORECASE
)
# The last label begins with a letter: 127.1, 0x7f.0.0.1 and 2130706433 are numbers, not names.
_NAME = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_KEPT_CHARACTERS = "!#$%&'()*+,-./:;=?@[]_~"

# https://www.iana.org/assignments/iana-ipv4-special-registry and ...-ipv6-special-registry. Spelled
# out: what `ipaddress` calls global differs between versions of Python, and lets relays through.
_SPECIAL_V4 = tuple(
    map(
        ip_network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
            *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24"),
            *("192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24"),
            *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"),
        ),
    )
)
# Everything outside of it is local, reserved, or IPv4 in disguise (::ffff:0:0/96, 64:ff9b::/96).
_PUBLIC_V6 = ip_network("2000::/3")
_SPECIAL_V6 = tuple(
    map(
        ip_network,
        # Teredo and other protocols, documentation, 6to4, AS112, documentation.
        ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
)
_ISATAP = b"\x5e\xfe"

# Where clouds tell a machine its secrets. The others are link-local, or in 192.0.0.0/24.
_METADATA = frozenset(map(ip_address, ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")))

# What an admin may open by name: networks of their own, and never a metadata service.
_OWN_NETWORKS = tuple(
    map(
        ip_network,
        (
            *("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
            *("::1/128", "fc00::/7"),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class AddressRules:
    """What may be asked besides `https` on its own port."""

    trusted_origins: frozenset[str] = frozenset()
    """Scheme, host and port of servers that the admin has named, as `read_origins` writes them."""
    ports: frozenset[int] = frozenset({443})


@dataclass(frozen=True, slots=True)
class WebAddress:
    """A URL whose spelling is beyond doubt."""

    scheme: str
    host: str
    """A name, or an IP address in its one normal form, without brackets."""
    port: int
    target: str
    """Path and query, as they stand in a request."""

    @property
    def is_literal(self) -> bool:
        """Whether the host is an IP address itself."""
        return ":" in self.host or self.host.rpartition(".")[2].isdigit()

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """All of it, spelled out."""
        return self.origin + self.target


def read_address(url: str, rules: AddressRules) -> WebAddress:
    """Read a URL; raises `AddressRefusedError` for one that the rules do not allow.

    Where its name leads is another question: `may_connect` answers it.
    """
    address = _spelled(url)
    if address is None:
        raise AddressRefusedError(
            "Its address is not spelled the way it must be: https://, a host, a path."
        )
    if address.origin in rules.trusted_origins:
        return address
    if address.scheme != "https":
        raise AddressRefusedError(f"{address.host} can only be asked over https.")
    if address.port not in rules.ports:
        raise AddressRefusedError(f"Port {address.port} of {address.host} may not be asked.")
    if not address.is_literal and "." not in address.host:
        raise not_public(address)
    return address


def not_public(address: WebAddress) -> AddressRefusedError:
    """The refusal of a host that is not on the public internet; it does not say where it is."""
    return AddressRefusedError(f"{address.host} is not a server on the public internet.")


def read_origins(entries: Iterable[str]) -> frozenset[str]:
    """The origins in a list of them; `https` where no scheme is given, unreadable ones left out."""
    full = (entry if "://" in entry else f"https://{entry}" for entry in entries)
    return frozenset(address.origin for address in map(_spelled, full) if address is not None)


def _spelled(url: str) -> WebAddress | None:
    # What is not ASCII is escaped: fine in a path, while no host can hold a percent sign.
    escaped = quote(url, safe=_KEPT_CHARACTERS, errors="replace")
    found = _URL.fullmatch(escaped) if len(escaped) <= _LONGEST_URL else None
    if found is None:
        return None
    scheme, host, port, rest = found.groups(default="")
    normal_host = _normal_host(host.lower())
    number = int(port) if port else _DEFAULT_PORTS[scheme.lower()]
    if not normal_host or not 0 < number < 65536:
        return None
    target = rest.partition("#")[0]
    if not target.startswith("/"):
        target = f"/{target}"
    return WebAddress(scheme.lower(), normal_host, number, target)


def _normal_host(host: str) -> str:
    if _NAME.fullmatch(host):
        return host if len(host) <= 253 else ""
    try:
        if host.startswith("["):
            return str(IPv6Address(host[1:-1]))
        return str(IPv4Address(host))  # four decimal numbers, no leading zeros
    except ValueError:
        return ""


def may_connect(ip: str, *, is_trusted: bool) -> bool:
    """Whether a connection to this IP address is allowed; `is_trusted` if the admin named the host.

    A name counts as public only if every address it leads to does.
    """
    try:
        address = ip_address(ip)
    except ValueError:
        return False
    if address in _METADATA:
        return False
    if is_trusted and any(address in network for network in _OWN_NETWORKS):
        return True
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return (
        address in _PUBLIC_V6
        and address.scope_id is None
        and address.packed[10:12] != _ISATAP
        and not any(address in network for network in _SPECIAL_V6)
    )


################################
# core/admission.py
#
# How many answers run at once: a slot, a place in a bounded queue, or a clear refusal.
################################

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
    except BaseException:
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


################################
# core/retry.py
#
# Whether a failed request may be sent again, and when.
################################

# Answers that say "not now": nothing was done, nothing is billed.
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504, 524, 529})
_ONCE_STATUSES = frozenset({500})
_MOST_RETRIES = 3
_FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0


def retry_wait(error: PipeError, retries: int) -> float | None:
    """Seconds to wait before the next try, after so many retries; `None` to give up.

    Only for a request that was refused, or never arrived: one that went out and was not answered
    may have been carried out, and is never sent twice.
    """
    if not _may_pass(error, retries):
        return None
    told = error.failure.retry_after if isinstance(error, OpenRouterAPIError) else None
    wait = told if told is not None else _FIRST_WAIT_SECONDS * 2**retries
    return wait if wait <= LONGEST_WAIT_SECONDS else None


def _may_pass(error: PipeError, retries: int) -> bool:
    match error:
        case ConnectionFailedError():
            most = _MOST_RETRIES if error.name_was_found else 1
            return not error.request_was_sent and retries < most
        case OpenRouterAPIError() if error.failure.may_pass:
            status = error.failure.status
            return (status in _PASSING_STATUSES and retries < _MOST_RETRIES) or (
                status in _ONCE_STATUSES and not retries
            )
        case _:
            return False


################################
# core/secrets.py
#
# Text that is encrypted at rest and never prints itself.
################################

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
        cipher = _cipher(_secret())
        if cipher is None:
            return cls(text)
        return cls(_CIPHERTEXT_PREFIX + cipher.encrypt(text.encode("utf-8", "replace")).decode())

    def reveal(self) -> str:
        """The plain text; raises `ApiKeyError` when the key it was sealed with is gone."""
        text = str.__str__(self)
        if not text.startswith(_CIPHERTEXT_PREFIX):
            return text
        try:
            return _decrypt(text.removeprefix(_CIPHERTEXT_PREFIX), _secret())
        except InvalidToken as error:
            raise _unreadable() from error

    def fingerprint(self) -> str:
        """A name for this secret that gives nothing of it away; equal secrets have equal names."""
        try:
            secret = self.reveal()
        except ApiKeyError:
            secret = str.__str__(self)
        return sha256(secret.encode("utf-8", "replace")).hexdigest()

    def __repr__(self) -> str:
        return f"EncryptedStr({_MASK!r})" if len(self) else "EncryptedStr('')"

    def __str__(self) -> str:
        return _MASK if len(self) else ""

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


def _unreadable() -> ApiKeyError:
    return ApiKeyError(
        "The saved OpenRouter API key cannot be decrypted: WEBUI_SECRET_KEY has changed.",
        "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
    )


def _secret() -> str:
    return os.environ.get("WEBUI_SECRET_KEY", "")


@lru_cache(maxsize=16)
def _decrypt(ciphertext: str, secret: str) -> str:
    """The plain text, which every request needs; raises `InvalidToken` when it cannot be had."""
    cipher = _cipher(secret)
    if cipher is None:
        raise InvalidToken
    return cipher.decrypt(ciphertext.encode()).decode()


@lru_cache(maxsize=4)
def _cipher(secret: str) -> Fernet | None:
    if not secret:
        return None
    # Our own context string: the host derives keys from the same secret for its own use.
    derivation = HKDF(SHA256(), length=32, salt=None, info=b"open-webui-openrouter-pipe/valves")
    key = derivation.derive(secret.encode("utf-8", "surrogateescape"))
    return Fernet(base64.urlsafe_b64encode(key))


################################
# core/session_records.py
#
# What happened in one request, record by record: redacted, and no more than there is room for.
################################

_MOST_RECORD_BYTES = 8 * 1024 * 1024
"""Of one request: each round asks with the whole chat again."""
_SHORTEST_SECRET = 6


class SessionRecords:
    """The records of one request, each a line of JSON with its `time` and `kind`."""

    __slots__ = ("_most", "_secret", "dropped", "ended", "lines", "size", "started")

    def __init__(self, most: int, secret: str = "") -> None:
        self._most = most
        self._secret = secret.encode() if len(secret) >= _SHORTEST_SECRET else b""
        """What may stand in no line, though it looks like no key."""
        self.started = time.time()
        """Seconds since 1970, as `ended`; 0 until it is."""
        self.ended = 0.0
        self.lines: list[bytes] = []
        self.size = 0
        """Bytes."""
        self.dropped = 0
        """How many more there would have been."""

    def add(self, kind: str, **fields: Any) -> None:
        """Keep a record; one there is no room for is counted."""
        if self.ended:
            return
        line = b"" if len(self.lines) >= self._most else self._line(kind, fields)
        if not line or self.size + len(line) > _MOST_RECORD_BYTES:
            self.dropped += 1
            return
        self.lines.append(line)
        self.size += len(line)

    def close(self) -> None:
        """Take nothing more."""
        self.ended = time.time()

    def _line(self, kind: str, fields: dict[str, Any]) -> bytes:
        try:
            record = {"time": round(time.time(), 3), "kind": kind, **redact_body(fields)}
            line = encode_json(record)
        except (TypeError, ValueError, RecursionError):  # no JSON; no answer may fail by its log
            return b""
        return line.replace(self._secret, REDACTED.encode()) if self._secret else line


################################
# core/source_map.py
#
# Where a line of the flat file comes from: for our own error log.
################################

LineMap = dict[str, tuple[tuple[int, int, int], ...]]
"""By source file: (line in the flat file, line in the source, how many lines)."""


def trace_of(error: BaseException) -> str:
    """The error's traceback, with the source line behind each line of the flat file."""
    line_map: LineMap = globals().get("BUNDLE_MAP") or {}
    lines: list[str] = []
    for frame in traceback.extract_tb(error.__traceback__):
        place = f"{frame.filename}:{frame.lineno}"
        if frame.filename == "<string>" and frame.lineno is not None:
            place = source_of(frame.lineno, line_map)
        lines.append(f"  {place} in {frame.name}")
    summary = "".join(traceback.format_exception_only(error)).strip()
    return "\n".join([summary, *lines])


def source_of(line: int, line_map: LineMap) -> str:
    """`streaming/collector.py:88 (pipe.py line 9120)`, or the line alone where nobody knows."""
    for path, runs in line_map.items():
        for here, there, count in runs:
            if here <= line < here + count:
                return f"{path}:{there + line - here} (pipe.py line {line})"
    return f"pipe.py line {line}"


################################
# core/template_language.py
#
# The language of the error templates: placeholders, lines that vanish, blocks with a condition.
################################

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TAG = re.compile(r"\{\{(?:#if\s+(?P<name>\w+)|/if)\s*\}\}")
_BLOCK_IN_LINE = re.compile(r"\{\{#if\s+(\w+)\s*\}\}((?:(?!\{\{[#/]).)*)\{\{/if\s*\}\}")
_ANY_TAG = re.compile(r"\{\{\s*(?:[#/]|else\b)")
_BLANK_LINES = re.compile(r"\n{3,}")


class BrokenTemplateError(Exception):
    """A template that cannot be read."""


def render_template(template: str, values: Mapping[str, str]) -> str:
    """Fill in the values; a line with an empty or unknown placeholder is left out.

    `{{#if name}}` and `{{/if}}` stand on lines of their own and may be nested, or together inside
    one line. Raises `BrokenTemplateError` when a block is not closed, or a tag is not known.
    """
    shown: list[str] = []
    blocks: list[bool] = []
    for number, line in enumerate(template.splitlines(), start=1):
        if tag := _TAG.fullmatch(line.strip()):
            _enter_or_leave(tag, blocks, values, number)
        elif (filled := _fill_line(line, values, number)) is not None and all(blocks):
            shown.append(filled.rstrip())
    if blocks:
        raise BrokenTemplateError("a block is opened and not closed")
    return _BLANK_LINES.sub("\n\n", "\n".join(shown)).strip()


def _enter_or_leave(
    tag: re.Match[str], blocks: list[bool], values: Mapping[str, str], number: int
) -> None:
    if tag["name"]:
        blocks.append(bool(values.get(tag["name"])))
    elif blocks:
        blocks.pop()
    else:
        raise BrokenTemplateError(f"line {number} closes a block that none opened")


def _fill_line(line: str, values: Mapping[str, str], number: int) -> str | None:
    """The line with its values, or `None` when it has nothing to say."""
    text, found = _BLOCK_IN_LINE.subn(lambda block: _inside(block, values), line)
    while found:
        text, found = _BLOCK_IN_LINE.subn(lambda block: _inside(block, values), text)
    if _ANY_TAG.search(text):
        raise BrokenTemplateError(f"line {number} holds a tag that is not understood")
    if text != line and not text.strip():
        return None
    if not all(values.get(name) for name in _PLACEHOLDER.findall(text)):
        return None
    return _PLACEHOLDER.sub(lambda place: values[place[1]], text)


def _inside(block: re.Match[str], values: Mapping[str, str]) -> str:
    return block[2] if values.get(block[1]) else ""


################################
# core/valve_types.py
#
# How the form's values are read: clamped, trimmed or replaced, never refused.
#
# A valve that raises takes every model of the pipe off Open WebUI's list.
################################

def whole_number(minimum: int, maximum: int, fallback: int) -> BeforeValidator:
    """Read a number out of what the form sends: clamp it, or fall back."""

    def read(value: Any) -> int:
        try:
            number = int(float(value))
        except (TypeError, ValueError, OverflowError):
            return fallback
        return max(minimum, min(maximum, number))

    return BeforeValidator(read)


def amount(fallback: float) -> BeforeValidator:
    """Read a number that is not negative, or fall back."""

    def read(value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return fallback
        return max(number, 0.0) if isfinite(number) else fallback

    return BeforeValidator(read)


def one_of(*choices: str, fallback: str) -> BeforeValidator:
    """Read a choice, whatever its case; what is none of them counts as the fallback."""
    by_key = {choice.casefold(): choice for choice in choices}
    return BeforeValidator(lambda value: by_key.get(_read_text(value).casefold(), fallback))


def split_list(text: str) -> tuple[str, ...]:
    """The entries of a list written with commas or line breaks."""
    return tuple(filter(None, (part.strip() for part in text.replace("\n", ",").split(","))))


def _read_words(value: Any) -> list[str]:
    """The chosen entries; an older form, or the API, may send them as one text."""
    if isinstance(value, list | tuple):
        entries = cast("Sequence[Any]", value)
        return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]
    return list(split_list(_read_text(value)))


def _read_text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else str(value)


def _read_secret(value: Any) -> str:
    return value if isinstance(value, str) else _read_text(value)


def _read_switch(value: Any) -> bool:
    return _read_text(value).casefold() not in ("", "false", "0", "off", "no")


Text = Annotated[str, BeforeValidator(_read_text)]
Secret = Annotated[EncryptedStr, BeforeValidator(_read_secret)]
Switch = Annotated[bool, BeforeValidator(_read_switch)]
Words = Annotated[list[str], BeforeValidator(_read_words)]


################################
# core/archive_valves.py
#
# The valves of the session archives, and the value object they become.
################################

_NO_ARCHIVE_PASSPHRASE = EncryptedStr("")


class ArchiveValves(BaseModel):
    """Whether, where and how long the log of each answer is kept."""

    SESSION_LOG_STORE_ENABLED: Switch = Field(
        default=False,
        title="Session archives",
        description=(
            "Whether what each answer of a saved chat was made of is kept in an encrypted file; "
            "it holds what people wrote and read."
        ),
    )
    SESSION_LOG_PASSPHRASE: Secret = Field(
        default=_NO_ARCHIVE_PASSPHRASE,
        title="Session archives: passphrase",
        description="Encrypts the archives; without it none are written.",
        json_schema_extra={"input": {"type": "password"}},
    )
    SESSION_LOG_DIR: Text = Field(
        default="session_logs",
        title="Session archives: folder",
        description="A relative path starts where the server was started.",
    )
    SESSION_LOG_MAX_LINES: Annotated[int, whole_number(100, 200_000, 20_000)] = Field(
        default=20_000,
        title="Session archives: records",
        description="How many records of one answer are kept.",
    )
    SESSION_LOG_RETENTION_DAYS: Annotated[int, whole_number(1, 3_650, 90)] = Field(
        default=90,
        title="Session archives: kept (days)",
        description="Older archives are deleted.",
    )
    SESSION_LOG_CLEANUP_INTERVAL_SECONDS: Annotated[int, whole_number(60, 86_400, 3_600)] = Field(
        default=3_600,
        title="Session archives: clean-up (seconds)",
        description="How often the old ones are looked for.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRules:
    """Whether, where and how long session archives are kept."""

    enabled: bool = False
    passphrase: EncryptedStr = _NO_ARCHIVE_PASSPHRASE
    folder: str = "session_logs"
    most_records: int = 20_000
    retention_days: int = 90
    cleanup_interval: float = 3_600.0
    """Seconds."""


def read_archive_rules(valves: ArchiveValves) -> ArchiveRules:
    """The rules of one request."""
    return ArchiveRules(
        enabled=valves.SESSION_LOG_STORE_ENABLED,
        passphrase=valves.SESSION_LOG_PASSPHRASE,
        folder=valves.SESSION_LOG_DIR or "session_logs",
        most_records=valves.SESSION_LOG_MAX_LINES,
        retention_days=valves.SESSION_LOG_RETENTION_DAYS,
        cleanup_interval=float(valves.SESSION_LOG_CLEANUP_INTERVAL_SECONDS),
    )


################################
# core/attachment_valves.py
#
# The valves for what people attach and link to, and the value object they become.
################################

ImageSelection = Literal["user_turn_only", "user_then_assistant"]
PdfEngine = Literal["auto", "native", "cloudflare-ai", "mistral-ocr"]

_MEGABYTE = 1024 * 1024


class AttachmentValves(BaseModel):
    """What of people's files goes to the model."""

    BASE64_MAX_SIZE_MB: Annotated[int, whole_number(1, 500, 50)] = Field(
        default=50,
        title="Largest attachment (MB)",
        description="Pictures, documents and sound above this size are left out.",
    )
    VIDEO_MAX_SIZE_MB: Annotated[int, whole_number(1, 1_000, 100)] = Field(
        default=100,
        title="Largest video (MB)",
        description="Videos above this size are left out.",
    )
    MAX_INPUT_IMAGES_PER_REQUEST: Annotated[int, whole_number(1, 20, 5)] = Field(
        default=5,
        title="Pictures per request",
        description="How many pictures a request may carry; the newest ones count.",
    )
    IMAGE_INPUT_SELECTION: Annotated[
        ImageSelection, one_of(*get_args(ImageSelection), fallback="user_then_assistant")
    ] = Field(
        default="user_then_assistant",
        title="Pictures of earlier answers",
        description=(
            "`user_then_assistant`: a message without a picture of its own goes out with those "
            "of the last answer, so that they can be edited. `user_turn_only`: never."
        ),
    )
    PDF_ENGINE: Annotated[PdfEngine, one_of(*get_args(PdfEngine), fallback="auto")] = Field(
        default="auto",
        title="Reader of PDFs",
        description=(
            "Who reads PDFs: the model (`native`), `cloudflare-ai` (free), `mistral-ocr` (paid "
            "by page); `auto` leaves it to OpenRouter."
        ),
    )
    REMOTE_FILE_MAX_SIZE_MB: Annotated[int, whole_number(1, 500, 50)] = Field(
        default=50,
        title="Largest linked file (MB)",
        description="Files behind a link above this size are not downloaded.",
    )
    REMOTE_DOWNLOAD_TRUSTED_ORIGINS: Text = Field(
        default="",
        title="Own servers for links",
        description=(
            "Servers of your own network, comma-separated, from which linked files may be "
            "fetched: `http://nas.lan:8080`; every other one must be public and speak https."
        ),
    )
    REMOTE_DOWNLOAD_MAX_RETRIES: Annotated[int, whole_number(0, 10, 3)] = Field(
        default=3,
        title="Retries of a download",
        description="How often a download that failed in passing is tried again.",
    )
    REMOTE_DOWNLOAD_INITIAL_RETRY_DELAY_SECONDS: Annotated[int, whole_number(1, 60, 5)] = Field(
        default=5,
        title="First wait between downloads (seconds)",
        description="How long to wait before the first retry; doubles each time.",
    )
    REMOTE_DOWNLOAD_MAX_RETRY_TIME_SECONDS: Annotated[int, whole_number(5, 300, 45)] = Field(
        default=45,
        title="Time for a download (seconds)",
        description="How long one download may take, all its retries included.",
    )


@dataclass(frozen=True, slots=True)
class DownloadRules:
    """From where, how often and how long files of the web are fetched."""

    addresses: AddressRules
    max_bytes: int
    max_retries: int
    first_wait: float
    """Seconds, as the one below."""
    time_limit: float


@dataclass(frozen=True, slots=True)
class AttachmentRules:
    """What of people's files goes to the model."""

    max_bytes: int
    max_video_bytes: int
    max_images: int
    reuses_answers_images: bool
    pdf_engine: str
    """Empty leaves it to OpenRouter."""
    downloads: DownloadRules


def read_attachment_rules(valves: AttachmentValves) -> AttachmentRules:
    """Read the valves about files."""
    return AttachmentRules(
        max_bytes=valves.BASE64_MAX_SIZE_MB * _MEGABYTE,
        max_video_bytes=valves.VIDEO_MAX_SIZE_MB * _MEGABYTE,
        max_images=valves.MAX_INPUT_IMAGES_PER_REQUEST,
        reuses_answers_images=valves.IMAGE_INPUT_SELECTION == "user_then_assistant",
        pdf_engine="" if valves.PDF_ENGINE == "auto" else valves.PDF_ENGINE,
        downloads=DownloadRules(
            AddressRules(read_origins(split_list(valves.REMOTE_DOWNLOAD_TRUSTED_ORIGINS))),
            max_bytes=valves.REMOTE_FILE_MAX_SIZE_MB * _MEGABYTE,
            max_retries=valves.REMOTE_DOWNLOAD_MAX_RETRIES,
            first_wait=float(valves.REMOTE_DOWNLOAD_INITIAL_RETRY_DELAY_SECONDS),
            time_limit=float(valves.REMOTE_DOWNLOAD_MAX_RETRY_TIME_SECONDS),
        ),
    )


################################
# core/catalog_valves.py
#
# The valves that choose which models are offered, and the value object they become.
################################

ModelFilter = Literal["all", "only", "exclude"]
ModelOrder = Literal["catalog", "name", "newest", "price"]


class CatalogValves(BaseModel):
    """Which models are offered."""

    MODEL_ID: Text = Field(
        default="auto",
        title="Models",
        description=(
            "`auto` offers every model; else a comma-separated list of model ids or patterns, "
            "such as `openai/*, anthropic/claude-sonnet-4.5`."
        ),
    )
    MODEL_VENDORS: Words = Field(
        default=[],
        title="Models: vendors",
        description="Only models of these vendors; none chosen means all.",
        json_schema_extra={"input": {"type": "multiselect", "options": "vendor_choices"}},
    )
    FREE_MODEL_FILTER: Annotated[ModelFilter, one_of(*get_args(ModelFilter), fallback="all")] = (
        Field(
            default="all",
            title="Models: free ones",
            description="Offer all models, only those that cost nothing, or none of those.",
        )
    )
    TOOL_CALLING_FILTER: Annotated[ModelFilter, one_of(*get_args(ModelFilter), fallback="all")] = (
        Field(
            default="all",
            title="Models: with tools",
            description="Offer all models, only those that can call tools, or none of those.",
        )
    )
    MAX_PRICE_PER_MILLION_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Models: price ceiling (USD per million tokens)",
        description="Hide models whose tokens can cost more than this; 0 means no ceiling.",
    )
    MODEL_SORT: Annotated[ModelOrder, one_of(*get_args(ModelOrder), fallback="catalog")] = Field(
        default="catalog",
        title="Models: order",
        description="OpenRouter's own order, by name, newest first, or cheapest first.",
    )
    VARIANT_MODELS: Text = Field(
        default="",
        title="Models: variants and presets",
        description=(
            "Further entries, comma-separated: a model or pattern with `:nitro`, `:floor`, "
            "`:exacto`, `:online`, `:free`, `:thinking` or `:extended`, or with `@preset/slug`; "
            "`@preset/slug` alone takes the preset's own model."
        ),
    )
    KEY_MODELS_ONLY: Switch = Field(
        default=False,
        title="Models: restrictions of the key",
        description="Offer only what the key's own privacy and provider settings allow.",
    )
    ZDR_MODELS_ONLY: Switch = Field(
        default=False,
        title="Zero data retention: models",
        description="Offer only models that some provider serves without keeping data.",
    )
    ZDR_ENFORCE: Switch = Field(
        default=False,
        title="Zero data retention: enforced",
        description="Send every request only to providers that keep no data; refuse all others.",
    )
    ALLOW_USER_ZDR_OVERRIDE: Switch = Field(
        default=True,
        title="Zero data retention: users",
        description="Whether users may demand zero data retention for their own chats.",
    )
    MODEL_CATALOG_REFRESH_SECONDS: Annotated[int, whole_number(60, 604_800, 3_600)] = Field(
        default=3_600,
        title="Catalog refresh (seconds)",
        description="How old the list of models may grow before it is fetched again.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogRules:
    """What the admin, and for privacy the user, has settled about models."""

    model_ids: tuple[str, ...] = ()
    """The allowed ids and patterns; empty means all."""
    vendors: tuple[str, ...] = ()
    free: str = "all"
    tools: str = "all"
    max_price: float = 0.0
    """USD per million tokens; zero for no ceiling."""
    order: str = "catalog"
    variants: tuple[str, ...] = ()
    key_models_only: bool = False
    zdr_models_only: bool = False
    zdr_enforced: bool = False
    """For this request: by the admin, or at the wish of the user."""
    zdr_may_matter: bool = False
    """Whether the list of models with zero data retention is worth fetching."""
    refresh: float = 3_600.0
    """Seconds."""

    @property
    def needs_catalog(self) -> bool:
        """Whether a model can only be judged by what the catalog says of it."""
        filters = (self.free, self.tools) != ("all", "all") or bool(self.max_price)
        return filters or self.needs_zdr

    @property
    def needs_zdr(self) -> bool:
        """Whether only models with zero data retention may be used."""
        return self.zdr_models_only or self.zdr_enforced


def read_catalog_rules(valves: CatalogValves, *, wants_zdr: bool) -> CatalogRules:
    """The rules of one request; `wants_zdr` is the user's own wish."""
    return CatalogRules(
        model_ids=_read_model_ids(valves.MODEL_ID),
        vendors=tuple(vendor.lower() for vendor in valves.MODEL_VENDORS),
        free=valves.FREE_MODEL_FILTER,
        tools=valves.TOOL_CALLING_FILTER,
        max_price=valves.MAX_PRICE_PER_MILLION_USD,
        order=valves.MODEL_SORT,
        variants=split_list(valves.VARIANT_MODELS),
        key_models_only=valves.KEY_MODELS_ONLY,
        zdr_models_only=valves.ZDR_MODELS_ONLY,
        zdr_enforced=valves.ZDR_ENFORCE or (wants_zdr and valves.ALLOW_USER_ZDR_OVERRIDE),
        zdr_may_matter=valves.ZDR_MODELS_ONLY or valves.ZDR_ENFORCE or wants_zdr,
        refresh=float(valves.MODEL_CATALOG_REFRESH_SECONDS),
    )


def _read_model_ids(text: str) -> tuple[str, ...]:
    ids = split_list(text)
    return () if not ids or any(model_id.lower() == "auto" for model_id in ids) else ids


################################
# core/companion_valves.py
#
# The valves for the companion filters, and the value objects they become.
################################

def _install(name: str) -> Any:
    return Field(
        default=True,
        title=f"{name}: install",
        description=(
            "Whether this filter is installed and, unless you edit it, kept up to date; "
            "off and on again brings a deleted one back."
        ),
    )


def _offer(name: str) -> Any:
    description = "Whether the models it works with have its switch in the chat."
    return Field(default=True, title=f"{name}: offer", description=description)


def _switch_on(name: str, price: str = "") -> Any:
    description = f"Whether the switch is on when a chat begins{price}."
    return Field(default=False, title=f"{name}: on in new chats", description=description)


class CompanionValves(BaseModel):
    """Which companion filters are installed, and where people find them."""

    AUTO_INSTALL_ORS_FILTER: Switch = _install("OpenRouter Search")
    AUTO_ATTACH_ORS_FILTER: Switch = _offer("OpenRouter Search")
    AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER: Switch = _switch_on(
        "OpenRouter Search", "; searches cost money"
    )
    AUTO_INSTALL_PROVIDER_ROUTING_FILTER: Switch = _install("Provider Routing")
    AUTO_ATTACH_PROVIDER_ROUTING_FILTER: Switch = _offer("Provider Routing")
    AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS: Switch = _switch_on("Provider Routing")
    AUTO_INSTALL_DIRECT_UPLOADS_FILTER: Switch = _install("Direct Uploads")
    AUTO_ATTACH_DIRECT_UPLOADS_FILTER: Switch = _offer("Direct Uploads")
    AUTO_DEFAULT_DIRECT_UPLOADS_FILTER: Switch = _switch_on(
        "Direct Uploads", "; whole files cost more than excerpts"
    )


@dataclass(frozen=True, slots=True)
class CompanionRule:
    """What the admin wants of one companion filter."""

    installs: bool
    attaches: bool
    is_default: bool


CompanionRules = dict[str, CompanionRule]
"""By the name of the filter's file."""


def read_companion_rules(valves: CompanionValves) -> CompanionRules:
    """The rules as the admin has set them."""
    return {
        "search_toggle": CompanionRule(
            valves.AUTO_INSTALL_ORS_FILTER,
            valves.AUTO_ATTACH_ORS_FILTER,
            valves.AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER,
        ),
        "provider_routing": CompanionRule(
            valves.AUTO_INSTALL_PROVIDER_ROUTING_FILTER,
            valves.AUTO_ATTACH_PROVIDER_ROUTING_FILTER,
            valves.AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS,
        ),
        "direct_uploads": CompanionRule(
            valves.AUTO_INSTALL_DIRECT_UPLOADS_FILTER,
            valves.AUTO_ATTACH_DIRECT_UPLOADS_FILTER,
            valves.AUTO_DEFAULT_DIRECT_UPLOADS_FILTER,
        ),
    }


################################
# core/metadata_valves.py
#
# The valves for Open WebUI's own settings of each model, and the value object they become.
################################

MetadataSyncMode = Literal["on", "dry_run", "off"]
NewModelAccess = Literal["private", "public"]


class MetadataValves(BaseModel):
    """What is written into Open WebUI's own settings of each model."""

    MODEL_METADATA_SYNC: Annotated[
        MetadataSyncMode, one_of(*get_args(MetadataSyncMode), fallback="off")
    ] = Field(
        default="on",
        title="Model settings: keep up to date",
        description=(
            "Whether each model gets its settings in Open WebUI from the catalog, "
            "never over an admin's own; `dry_run` only logs what would be written."
        ),
    )
    UPDATE_MODEL_CAPABILITIES: Switch = Field(
        default=True,
        title="Model settings: capabilities",
        description="Tick what a model can do, such as reading pictures.",
    )
    UPDATE_MODEL_IMAGES: Switch = Field(
        default=True,
        title="Model settings: pictures",
        description=(
            "Show the maker's icon with a model; the browser fetches it from openrouter.ai."
        ),
    )
    COPY_MODEL_IMAGES: Switch = Field(
        default=False,
        title="Model settings: copies of pictures",
        description=(
            "Keep the icon itself, not its address, so that no browser asks openrouter.ai; "
            "makers whose icon is a drawing (SVG) then have none."
        ),
    )
    UPDATE_MODEL_DESCRIPTIONS: Switch = Field(
        default=False,
        title="Model settings: descriptions",
        description=(
            "Copy OpenRouter's description; the model list, which every page loads, grows by it."
        ),
    )
    UPDATE_MODEL_TAGS: Switch = Field(
        default=True,
        title="Model settings: tags",
        description="Tag each model with its maker, to filter the model list by.",
    )
    NEW_MODEL_ACCESS: Annotated[
        NewModelAccess, one_of(*get_args(NewModelAccess), fallback="private")
    ] = Field(
        default="private",
        title="Model settings: access to new models",
        description=(
            "Who may use a model that appears for the first time: admins until they share it, "
            "or everyone who can sign in."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRules:
    """What a sync may write into Open WebUI's settings of the models."""

    mode: str = "off"
    capabilities: bool = True
    images: bool = True
    copies_images: bool = False
    icons: Mapping[str, str] = field(default_factory=dict[str, str])
    """What is to stand in a row instead of an icon's address, by that address."""
    descriptions: bool = True
    tags: bool = True
    new_are_public: bool = False


def read_metadata_rules(valves: MetadataValves) -> MetadataRules:
    """The rules as the admin has set them."""
    return MetadataRules(
        mode=valves.MODEL_METADATA_SYNC,
        capabilities=valves.UPDATE_MODEL_CAPABILITIES,
        images=valves.UPDATE_MODEL_IMAGES,
        copies_images=valves.COPY_MODEL_IMAGES,
        descriptions=valves.UPDATE_MODEL_DESCRIPTIONS,
        tags=valves.UPDATE_MODEL_TAGS,
        new_are_public=valves.NEW_MODEL_ACCESS == "public",
    )


################################
# core/personal_valves.py
#
# What each user can set for themselves.
################################

OwnEffort = Literal["inherit", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
OwnSummaryMode = Literal["inherit", "auto", "concise", "detailed", "disabled"]
OwnSwitch = Literal["inherit", "on", "off"]
OwnToolExecutionMode = Literal["inherit", "auto", "Pipeline", "Open-WebUI"]
OwnThinkingOutput = Literal["inherit", "open_webui", "status", "both"]
OwnReasoningRetention = Literal["inherit", "disabled", "next_reply", "conversation"]

OwnAspectRatio = Literal[
    "inherit", "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"
]
OwnImageSize = Literal["inherit", "512", "1K", "2K", "4K"]
OwnImageQuality = Literal["inherit", "low", "medium", "high"]


class PersonalValves(BaseModel):
    """What each user can choose for themselves; `inherit` leaves it to the admin."""

    model_config = ConfigDict(extra="ignore")

    ENABLE_REASONING: Annotated[OwnSwitch, one_of(*get_args(OwnSwitch), fallback="inherit")] = (
        Field(
            default="inherit",
            title="Reasoning",
            description="Whether models may think before they answer you, where they can choose.",
        )
    )
    REASONING_EFFORT: Annotated[OwnEffort, one_of(*get_args(OwnEffort), fallback="inherit")] = (
        Field(
            default="inherit",
            title="Reasoning effort",
            description="How hard models think for you, unless the chat says otherwise.",
        )
    )
    REASONING_SUMMARY_MODE: Annotated[
        OwnSummaryMode, one_of(*get_args(OwnSummaryMode), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Reasoning summary",
        description="How much of hidden thinking is summed up for you.",
    )
    TOOL_EXECUTION_MODE: Annotated[
        OwnToolExecutionMode, one_of(*get_args(OwnToolExecutionMode), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Who runs tools",
        description="Whether the pipe or Open WebUI runs the tools of your chats.",
    )
    THINKING_OUTPUT_MODE: Annotated[
        OwnThinkingOutput, one_of(*get_args(OwnThinkingOutput), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Where thinking is shown",
        description="In its box in the message, as a few status lines above it, or both.",
    )
    ENABLE_ANTHROPIC_INTERLEAVED_THINKING: Annotated[
        OwnSwitch, one_of(*get_args(OwnSwitch), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Interleaved thinking of Claude models",
        description="Whether Claude may also think between its calls of tools.",
    )
    PERSIST_REASONING_TOKENS: Annotated[
        OwnReasoningRetention, one_of(*get_args(OwnReasoningRetention), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Remember reasoning",
        description="Whether a model gets its earlier thinking back: never, once, or always.",
    )
    IMAGE_ASPECT_RATIO: Annotated[
        OwnAspectRatio, one_of(*get_args(OwnAspectRatio), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Shape of pictures",
        description="Width to height of the pictures drawn for you, where the model can choose.",
    )
    IMAGE_SIZE: Annotated[OwnImageSize, one_of(*get_args(OwnImageSize), fallback="inherit")] = (
        Field(
            default="inherit",
            title="Size of pictures",
            description="How large pictures are drawn for you; large ones cost more.",
        )
    )
    IMAGE_QUALITY: Annotated[
        OwnImageQuality, one_of(*get_args(OwnImageQuality), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Quality of pictures",
        description="How carefully pictures are drawn for you; high quality costs more.",
    )
    AUDIO_VOICE: Text = Field(
        default="",
        title="Voice",
        description="The voice of OpenAI's models that speak, such as `coral`; empty for `alloy`.",
    )
    SHOW_FINAL_USAGE_STATUS: Annotated[
        OwnSwitch, one_of(*get_args(OwnSwitch), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Closing status",
        description="Whether time, tokens and cost are told with each answer.",
    )
    REQUEST_ZDR: Switch = Field(
        default=False,
        title="Zero data retention",
        description=(
            "Send your chats only to providers that keep no data; a model without one is refused."
        ),
    )


################################
# core/spend_valves.py
#
# What is written down of each request's cost, and how much may be spent.
################################

# Budgets of a month are read from the ledger: it never forgets sooner.
_LEAST_RETENTION_DAYS = 31


class SpendValves(BaseModel):
    """The spend ledger and the budgets."""

    SPEND_LEDGER: Switch = Field(
        default=True,
        title="Spend ledger",
        description=(
            "Whether tokens and cost of each request are written down, for `/spend`; "
            "where there are budgets they always are."
        ),
    )
    SPEND_RETENTION_DAYS: Annotated[int, whole_number(0, 3_650, 400)] = Field(
        default=400,
        title="Keep spending (days)",
        description="For how long the ledger keeps it, 31 days at least; 0 means for ever.",
    )
    BUDGETS_USD: Text = Field(
        default="",
        title="Budgets (USD a day / a month)",
        description=(
            "One line for each: `each user: 2 / 20`, `all users: 0 / 500`, or the name of a group, "
            "whose members share it; 0 for no limit. Days and months are those of UTC."
        ),
    )
    BUDGET_WARNING_PERCENT: Annotated[int, whole_number(1, 100, 80)] = Field(
        default=80,
        title="Warn of a budget (percent)",
        description="From which part of a budget on its end is announced with each answer.",
    )
    COSTS_REDIS_DUMP: Switch = Field(
        default=False,
        title="Costs to Redis",
        description=(
            "Whether each request's usage, with the user's name and email address, is put into "
            "Open WebUI's Redis for a program of your own to collect."
        ),
    )
    COSTS_REDIS_TTL_SECONDS: Annotated[int, whole_number(60, 3_600, 900)] = Field(
        default=900,
        title="Costs in Redis (seconds)",
        description="How long such a record waits there to be collected.",
    )


@dataclass(frozen=True, slots=True)
class SpendRules:
    """The same, as a request works with it."""

    keeps_ledger: bool
    retention_days: int
    """Zero for ever."""
    budgets: str
    warning_share: float
    redis_ttl: int
    """Seconds; zero where no costs go to Redis."""


def read_spend_rules(valves: SpendValves) -> SpendRules:
    """The rules of one request."""
    days = valves.SPEND_RETENTION_DAYS
    return SpendRules(
        keeps_ledger=valves.SPEND_LEDGER or bool(valves.BUDGETS_USD),
        retention_days=max(days, _LEAST_RETENTION_DAYS) if days else 0,
        budgets=valves.BUDGETS_USD,
        warning_share=valves.BUDGET_WARNING_PERCENT / 100,
        redis_ttl=valves.COSTS_REDIS_TTL_SECONDS if valves.COSTS_REDIS_DUMP else 0,
    )


################################
# core/storage_valves.py
#
# The valves that say where what the chat needs again is kept, and the value object they become.
################################

_NO_PASSPHRASE = EncryptedStr("")

ArtifactPlaceChoice = Literal["chat", "database"]


class StorageValves(BaseModel):
    """Where and how long is kept what later turns of a chat need."""

    ARTIFACT_STORAGE: Annotated[
        ArtifactPlaceChoice, one_of(*get_args(ArtifactPlaceChoice), fallback="chat")
    ] = Field(
        default="chat",
        title="Artifacts: where they are kept",
        description=(
            "`chat`: sealed thinking stands in the chat itself. `database`: in a table of its own, "
            "and the chat only refers to it."
        ),
    )
    ARTIFACT_ENCRYPTION_KEY: Secret = Field(
        default=_NO_PASSPHRASE,
        title="Artifacts: passphrase",
        description="Encrypts what the table keeps; empty means that it is not encrypted.",
        json_schema_extra={"input": {"type": "password"}},
    )
    ARTIFACT_ENCRYPTION_OLD_KEYS: Secret = Field(
        default=_NO_PASSPHRASE,
        title="Artifacts: earlier passphrases",
        description="Comma-separated; what was kept under them can still be read.",
        json_schema_extra={"input": {"type": "password"}},
    )
    ENABLE_LZ4_COMPRESSION: Switch = Field(
        default=True,
        title="Artifacts: lz4",
        description="Whether they are compressed with lz4 where it is installed, else with zlib.",
    )
    MIN_COMPRESS_BYTES: Annotated[int, whole_number(0, 1_000_000, 1_024)] = Field(
        default=1_024,
        title="Artifacts: smallest to compress (bytes)",
        description="What is smaller is kept as it is.",
    )
    DB_BATCH_SIZE: Annotated[int, whole_number(1, 100, 10)] = Field(
        default=10,
        title="Artifacts: rows at once",
        description="How many are written in one transaction, where several wait.",
    )
    ARTIFACT_CLEANUP_DAYS: Annotated[int, whole_number(1, 3_650, 90)] = Field(
        default=90,
        title="Artifacts: kept (days)",
        description="How long they are kept after they were last used.",
    )
    ARTIFACT_CLEANUP_INTERVAL_HOURS: Annotated[float, amount(1.0)] = Field(
        default=1.0,
        title="Artifacts: clean-up (hours)",
        description="How often the old ones, and those of deleted chats, are looked for.",
    )
    ENABLE_REDIS_CACHE: Switch = Field(
        default=True,
        title="Artifacts: cache in Redis",
        description=(
            "Whether encrypted ones are also kept for a while in the Redis that Open WebUI is "
            "configured with."
        ),
    )
    REDIS_CACHE_TTL_SECONDS: Annotated[int, whole_number(60, 3_600, 600)] = Field(
        default=600,
        title="Artifacts: kept in Redis (seconds)",
        description="How long one stays in that cache.",
    )
    REDIS_WRITE_BEHIND: Switch = Field(
        default=False,
        title="Artifacts: written behind",
        description=(
            "Whether an answer's end waits for that Redis alone, which holds the encrypted rows "
            "until they stand in the database. Needs the cache."
        ),
    )
    REDIS_PENDING_WARN_THRESHOLD: Annotated[int, whole_number(1, 10_000, 100)] = Field(
        default=100,
        title="Artifacts: most rows in Redis",
        description=(
            "When so many wait for the database the log says so, and new ones go there directly."
        ),
    )
    REDIS_FLUSH_FAILURE_LIMIT: Annotated[int, whole_number(1, 50, 5)] = Field(
        default=5,
        title="Artifacts: failures of rows from Redis",
        description=("After how many in a row nothing is written behind for five minutes."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactRules:
    """Where and how artifacts are kept."""

    in_database: bool = False
    key: EncryptedStr = _NO_PASSPHRASE
    """Empty for no encryption."""
    old_keys: EncryptedStr = _NO_PASSPHRASE
    """Comma-separated."""
    use_lz4: bool = True
    compress_from: int = 1_024
    """Bytes."""
    batch_size: int = 10
    cleanup_days: int = 90
    cleanup_interval: float = 3_600.0
    """Seconds."""
    cache_seconds: int = 0
    """How long Redis keeps them; 0 for not at all."""
    write_behind: bool = False
    most_pending: int = 100
    """Rows in Redis."""
    most_flush_failures: int = 5


def read_artifact_rules(valves: StorageValves) -> ArtifactRules:
    """The rules of one request."""
    return ArtifactRules(
        in_database=valves.ARTIFACT_STORAGE == "database",
        key=valves.ARTIFACT_ENCRYPTION_KEY,
        old_keys=valves.ARTIFACT_ENCRYPTION_OLD_KEYS,
        use_lz4=valves.ENABLE_LZ4_COMPRESSION,
        compress_from=valves.MIN_COMPRESS_BYTES,
        batch_size=valves.DB_BATCH_SIZE,
        cleanup_days=valves.ARTIFACT_CLEANUP_DAYS,
        cleanup_interval=max(0.5, min(24.0, valves.ARTIFACT_CLEANUP_INTERVAL_HOURS)) * 3_600.0,
        cache_seconds=valves.REDIS_CACHE_TTL_SECONDS if valves.ENABLE_REDIS_CACHE else 0,
        write_behind=valves.ENABLE_REDIS_CACHE and valves.REDIS_WRITE_BEHIND,
        most_pending=valves.REDIS_PENDING_WARN_THRESHOLD,
        most_flush_failures=valves.REDIS_FLUSH_FAILURE_LIMIT,
    )


################################
# core/template_valves.py
#
# The valves with which an admin words the errors, and the value object they become.
################################

def _template(title: str, occasion: str) -> Any:
    """A text of many lines: without an input type the form shows one that grows."""
    description = f"Shown when {occasion}. Empty means the built-in text; see docs/errors.md."
    return Field(default="", title=f"Text: {title}", description=description)


class ErrorTemplateValves(BaseModel):
    """What people read when something fails."""

    SUPPORT_EMAIL: Text = Field(
        default="",
        title="Support address",
        description="An e-mail address named under each error; empty names none.",
    )
    SUPPORT_URL: Text = Field(
        default="",
        title="Support page",
        description="A page named under each error; empty names none.",
    )
    OPENROUTER_ERROR_TEMPLATE: Text = _template(
        "request refused", "OpenRouter or a provider refuses a request and no other text fits"
    )
    AUTHENTICATION_ERROR_TEMPLATE: Text = _template(
        "key refused", "the API key is missing, unreadable or not accepted"
    )
    INSUFFICIENT_CREDITS_TEMPLATE: Text = _template(
        "no credits", "the OpenRouter account cannot pay for the answer"
    )
    RATE_LIMIT_TEMPLATE: Text = _template("too many requests", "a rate limit is reached")
    SERVER_TIMEOUT_TEMPLATE: Text = _template(
        "provider too slow", "OpenRouter or the provider reports a timeout"
    )
    PAYLOAD_TOO_LARGE_TEMPLATE: Text = _template(
        "request too large", "the chat with its attachments is larger than OpenRouter takes"
    )
    NETWORK_TIMEOUT_TEMPLATE: Text = _template(
        "no answer in time", "OpenRouter is silent for longer than the timeouts allow"
    )
    CONNECTION_ERROR_TEMPLATE: Text = _template("no connection", "OpenRouter cannot be reached")
    SERVICE_ERROR_TEMPLATE: Text = _template(
        "service failure", "OpenRouter or the provider has a fault of its own"
    )
    INTERNAL_ERROR_TEMPLATE: Text = _template(
        "internal fault", "something goes wrong inside this function"
    )
    MODEL_RESTRICTED_TEMPLATE: Text = _template(
        "model not offered", "the chosen model is not among those offered"
    )
    ENDPOINT_OVERRIDE_CONFLICT_TEMPLATE: Text = _template(
        "endpoint conflict", "a request needs an endpoint that the settings forbid"
    )
    STREAM_INTERRUPTED_TEMPLATE: Text = _template(
        "answer broken off", "an answer stops before its end"
    )


@dataclass(frozen=True, slots=True)
class ErrorTemplates:
    """One text per kind of failure; in the settings, an empty one means the built-in text."""

    openrouter_error: str
    authentication_error: str
    insufficient_credits: str
    rate_limit: str
    server_timeout: str
    payload_too_large: str
    network_timeout: str
    connection_error: str
    service_error: str
    internal_error: str
    model_restricted: str
    endpoint_override_conflict: str
    stream_interrupted: str
    support_email: str = ""
    support_url: str = ""


def read_error_templates(valves: ErrorTemplateValves) -> ErrorTemplates:
    """The texts as the admin has written them."""
    texts = {
        field.name: str(getattr(valves, f"{field.name.upper()}_TEMPLATE"))
        for field in fields(ErrorTemplates)
        if not field.name.startswith("support_")
    }
    return ErrorTemplates(
        **texts, support_email=valves.SUPPORT_EMAIL, support_url=valves.SUPPORT_URL
    )


################################
# core/tool_valves.py
#
# The valves for tools: who runs them, within which limits, and how far OpenRouter's own may go.
################################

ToolExecutionMode = Literal["auto", "Pipeline", "Open-WebUI"]


class ToolValves(BaseModel):
    """How the calls of tools are run."""

    TOOL_EXECUTION_MODE: Annotated[
        ToolExecutionMode, one_of(*get_args(ToolExecutionMode), fallback="auto")
    ] = Field(
        default="auto",
        title="Who runs tools",
        description=(
            "`auto`: the pipe, in parallel; Open WebUI where a person must approve or answer. "
            "`Pipeline`: the pipe wherever it is able to. `Open-WebUI`: always Open WebUI."
        ),
    )
    ENABLE_STRICT_TOOL_CALLING: Switch = Field(
        default=True,
        title="Strict tool calls",
        description="Whether OpenAI's models are held to the exact schema of each tool.",
    )
    MAX_FUNCTION_CALL_LOOPS: Annotated[int, whole_number(1, 256, 25)] = Field(
        default=25,
        title="Rounds of tools",
        description="How often one answer may call tools before it must do without.",
    )
    MAX_PARALLEL_TOOLS_PER_REQUEST: Annotated[int, whole_number(1, 50, 5)] = Field(
        default=5,
        title="Tools at once, per answer",
        description="How many tools of one answer run at the same time.",
    )
    MAX_PARALLEL_TOOLS_GLOBAL: Annotated[int, whole_number(1, 2_000, 200)] = Field(
        default=200,
        title="Tools at once, in all",
        description="How many tools one server process runs at the same time.",
    )
    TOOL_TIMEOUT_SECONDS: Annotated[int, whole_number(1, 3_600, 60)] = Field(
        default=60,
        title="Timeout of a tool (seconds)",
        description="How long one call of a tool may take.",
    )
    TOOL_BATCH_TIMEOUT_SECONDS: Annotated[int, whole_number(1, 7_200, 120)] = Field(
        default=120,
        title="Timeout of a round (seconds)",
        description="How long all calls that a model makes at once may take, waiting included.",
    )
    BREAKER_MAX_FAILURES: Annotated[int, whole_number(1, 50, 5)] = Field(
        default=5,
        title="Failures before a pause",
        description="After how many failures in a row a tool is left alone for that user.",
    )
    BREAKER_WINDOW_SECONDS: Annotated[int, whole_number(5, 900, 60)] = Field(
        default=60,
        title="Failures are remembered (seconds)",
        description="How long a failure of a tool counts.",
    )
    PERSIST_TOOL_RESULTS: Switch = Field(
        default=True,
        title="Remember tool results",
        description="Whether later turns of a chat show the model what its tools brought back.",
    )


class ServerToolValves(BaseModel):
    """How far the tools that OpenRouter runs itself may go in one answer."""

    SERVER_TOOLS_MAX_CALLS: Annotated[int, whole_number(0, 30, 0)] = Field(
        default=0,
        title="Calls of OpenRouter's tools",
        description="How often one request may use OpenRouter's own tools; 0 leaves it to them.",
    )
    SERVER_TOOLS_MAX_COST_USD: Annotated[float, amount(0.0)] = Field(
        default=0.0,
        title="Cost of OpenRouter's tools (USD)",
        description="What a request may cost before OpenRouter's own tools stop; 0 for no limit.",
    )


################################
# core/config.py
#
# The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with.
################################

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], one_of(*_LOG_LEVELS, fallback="INFO")
]
ReasoningEffort = Literal["auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
SummaryMode = Literal["auto", "concise", "detailed", "disabled"]
EndpointChoice = Literal["responses", "chat_completions"]
CacheTtl = Literal["off", "5m", "1h"]
ThinkingOutput = Literal["open_webui", "status", "both"]
ReasoningRetention = Literal["disabled", "next_reply", "conversation"]


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


class EndpointValves(BaseModel):
    """Which of OpenRouter's two chat endpoints is used."""

    DEFAULT_LLM_ENDPOINT: Annotated[
        EndpointChoice, one_of(*get_args(EndpointChoice), fallback="responses")
    ] = Field(
        default="responses",
        title="Endpoint",
        description="The endpoint for every model that the two lists below do not name.",
    )
    FORCE_RESPONSES_MODELS: Text = Field(
        default="",
        title="Models on /responses",
        description="Comma-separated ids or patterns, such as `openai/*`; this list wins.",
    )
    FORCE_CHAT_COMPLETIONS_MODELS: Text = Field(
        default="",
        title="Models on /chat/completions",
        description="Comma-separated ids or patterns, such as `mistralai/*`.",
    )


class CachingValves(BaseModel):
    """How prompt caches are used."""

    ANTHROPIC_PROMPT_CACHE_TTL: Annotated[CacheTtl, one_of(*get_args(CacheTtl), fallback="5m")] = (
        Field(
            default="5m",
            title="Prompt cache of Claude models",
            description="How long Anthropic keeps a chat's beginning; writing for 1h costs more.",
        )
    )


class IdentifierValves(BaseModel):
    """What OpenRouter learns of who asks, and from where."""

    HTTP_REFERER_OVERRIDE: Text = Field(
        default="",
        title="Address of this app",
        description="The URL under which OpenRouter counts your requests; empty for Open WebUI's.",
    )
    SEND_END_USER_ID: Switch = Field(
        default=False,
        title="Send the user's id",
        description="Whether OpenRouter is told Open WebUI's id of the person who asks.",
    )
    SEND_SESSION_ID: Switch = Field(
        default=False,
        title="Send the session's id",
        description="Whether OpenRouter is told the id of the browser session.",
    )
    SEND_CHAT_ID: Switch = Field(
        default=False,
        title="Send the chat's id",
        description="Whether OpenRouter is told the id of the chat.",
    )
    SEND_MESSAGE_ID: Switch = Field(
        default=False,
        title="Send the message's id",
        description="Whether OpenRouter is told the id of the answer's message.",
    )


class RoutingValves(BaseModel):
    """What is done with a request on its way to a model."""

    PROVIDER_ROUTING: Text = Field(
        default="",
        title="Provider preferences",
        description=(
            "One line for each pattern of model ids: "
            '`deepseek/*: {"order": ["fireworks"], "data_collection": "deny"}`.'
        ),
    )
    AUTO_CONTEXT_TRIMMING: Switch = Field(
        default=False,
        title="Trim long chats",
        description="Whether OpenRouter may leave out the middle of a chat that is too long.",
    )


class ReasoningValves(BaseModel):
    """How hard models think, and what is shown of it."""

    ENABLE_REASONING: Switch = Field(
        default=True,
        title="Reasoning",
        description="Whether models may think before they answer, where that can be chosen.",
    )
    REASONING_EFFORT: Annotated[
        ReasoningEffort, one_of(*get_args(ReasoningEffort), fallback="auto")
    ] = Field(
        default="auto",
        title="Reasoning effort",
        description=(
            "How hard models think when neither the chat nor the user has chosen; "
            "`auto` leaves it to the model."
        ),
    )
    REASONING_SUMMARY_MODE: Annotated[
        SummaryMode, one_of(*get_args(SummaryMode), fallback="auto")
    ] = Field(
        default="auto",
        title="Reasoning summary",
        description="How much of hidden thinking is summed up for the reader.",
    )
    TASK_MODEL_REASONING_EFFORT: Annotated[
        ReasoningEffort, one_of(*get_args(ReasoningEffort), fallback="low")
    ] = Field(
        default="low",
        title="Reasoning effort of chores",
        description="How hard a model thinks about titles, tags and Open WebUI's other chores.",
    )
    THINKING_OUTPUT_MODE: Annotated[
        ThinkingOutput, one_of(*get_args(ThinkingOutput), fallback="open_webui")
    ] = Field(
        default="open_webui",
        title="Where thinking is shown",
        description="In its box in the message, as a few status lines above it, or both.",
    )
    ENABLE_ANTHROPIC_INTERLEAVED_THINKING: Switch = Field(
        default=True,
        title="Interleaved thinking of Claude models",
        description="Whether Claude may also think between its calls of tools.",
    )


class HistoryValves(BaseModel):
    """What of earlier turns goes back to the model."""

    PERSIST_REASONING_TOKENS: Annotated[
        ReasoningRetention, one_of(*get_args(ReasoningRetention), fallback="conversation")
    ] = Field(
        default="conversation",
        title="Remember reasoning",
        description="Whether a model gets its earlier thinking back: never, once, or always.",
    )
    TOOL_OUTPUT_RETENTION_TURNS: Annotated[int, whole_number(0, 1_000, 10)] = Field(
        default=10,
        title="Whole tool results (turns)",
        description="For how many turns long results of tools stay whole; 0 means for ever.",
    )


class DisplayValves(BaseModel):
    """What is shown beside the answer."""

    SHOW_FINAL_USAGE_STATUS: Switch = Field(
        default=True,
        title="Closing status",
        description="Whether time, tokens and cost are told with each answer.",
    )
    LOW_CREDIT_WARNING_USD: Annotated[int, whole_number(0, 1_000_000, 5)] = Field(
        default=5,
        title="Warn of low credit (USD)",
        description=(
            "Admins are told in the closing status when less is left of the API key's limit; "
            "0 means never."
        ),
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
    ENABLE_TIMING_LOG: Switch = Field(
        default=False,
        title="Timing log",
        description="Whether the time each step of an answer takes is written to a file.",
    )
    TIMING_LOG_FILE: Text = Field(
        default="logs/timing.jsonl",
        title="File of the timing log",
        description="One JSON object a line; a relative path starts where the server was started.",
    )


# Pydantic collects fields from the last base to the first: the form shows the connection first.
class SystemValves(
    ErrorTemplateValves,
    ArchiveValves,
    LoggingValves,
    ConcurrencyValves,
    SpendValves,
    DisplayValves,
    ServerToolValves,
    ToolValves,
    AttachmentValves,
    IdentifierValves,
    CachingValves,
    RoutingValves,
    StorageValves,
    HistoryValves,
    ReasoningValves,
    CompanionValves,
    MetadataValves,
    CatalogValves,
    EndpointValves,
    ConnectionValves,
):
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
    catalog: CatalogRules
    attachments: AttachmentRules
    metadata: MetadataRules
    companions: CompanionRules
    default_endpoint: str
    force_responses: tuple[str, ...]
    force_chat_completions: tuple[str, ...]
    anthropic_cache_ttl: str
    """Empty for no caching."""
    http_referer: str
    """Empty for the one of Open WebUI."""
    send_end_user_id: bool
    send_session_id: bool
    send_chat_id: bool
    send_message_id: bool
    provider_routing: str
    auto_context_trimming: bool
    enable_reasoning: bool
    reasoning_effort: str
    """Empty leaves it to the model, as in the two below."""
    reasoning_summary: str
    task_reasoning_effort: str
    tool_execution_mode: str
    enable_strict_tool_calling: bool
    max_function_call_loops: int
    max_parallel_tools_per_request: int
    max_parallel_tools_global: int
    tool_timeout: float
    """Seconds, as the one below."""
    tool_batch_timeout: float
    breaker_max_failures: int
    breaker_window: float
    """Seconds."""
    persist_tool_results: bool
    server_tools_max_calls: int
    """Zero for OpenRouter's own limit."""
    server_tools_max_cost: float
    """USD; zero for no limit."""
    thinking_output: str
    interleaved_thinking: bool
    reasoning_retention: str
    tool_output_retention: int
    """Turns; 0 keeps every result whole."""
    artifacts: ArtifactRules
    archives: ArchiveRules
    show_final_usage: bool
    low_credit: float
    """USD; 0 for no warning."""
    drawing: Mapping[str, str]
    """How the user wants pictures drawn: `aspect_ratio`, `size`, `quality`."""
    voice: str
    """Empty leaves it to the pipe."""
    spend: SpendRules
    max_concurrent_requests: int
    max_queued_requests: int
    log_level: str
    timing_file: str
    """Empty for no timing log."""
    error_templates: ErrorTemplates


def take_snapshot(valves: SystemValves, personal: PersonalValves | None = None) -> Settings:
    """Read every valve once; what the user has chosen stands above what the admin has."""
    api_key = valves.API_KEY or EncryptedStr(os.environ.get("OPENROUTER_API_KEY", ""))
    base_url = valves.BASE_URL or os.environ.get("OPENROUTER_API_BASE_URL", "") or DEFAULT_BASE_URL
    own = personal or PersonalValves()
    effort = _own(own.REASONING_EFFORT, valves.REASONING_EFFORT)
    summary = _own(own.REASONING_SUMMARY_MODE, valves.REASONING_SUMMARY_MODE)
    task_effort = valves.TASK_MODEL_REASONING_EFFORT
    return Settings(
        api_key=api_key,
        base_url=base_url.rstrip("/"),
        connect_timeout=float(valves.HTTP_CONNECT_TIMEOUT_SECONDS),
        total_timeout=float(valves.HTTP_TOTAL_TIMEOUT_SECONDS) or None,
        silence_timeout=float(valves.HTTP_SOCK_READ_SECONDS),
        catalog=read_catalog_rules(valves, wants_zdr=own.REQUEST_ZDR),
        attachments=read_attachment_rules(valves),
        metadata=read_metadata_rules(valves),
        companions=read_companion_rules(valves),
        default_endpoint=valves.DEFAULT_LLM_ENDPOINT,
        force_responses=split_list(valves.FORCE_RESPONSES_MODELS),
        force_chat_completions=split_list(valves.FORCE_CHAT_COMPLETIONS_MODELS),
        anthropic_cache_ttl=valves.ANTHROPIC_PROMPT_CACHE_TTL.replace("off", ""),
        http_referer=valves.HTTP_REFERER_OVERRIDE,
        send_end_user_id=valves.SEND_END_USER_ID,
        send_session_id=valves.SEND_SESSION_ID,
        send_chat_id=valves.SEND_CHAT_ID,
        send_message_id=valves.SEND_MESSAGE_ID,
        provider_routing=valves.PROVIDER_ROUTING,
        auto_context_trimming=valves.AUTO_CONTEXT_TRIMMING,
        enable_reasoning=_own_switch(own.ENABLE_REASONING, valves.ENABLE_REASONING),
        reasoning_effort="" if effort == "auto" else effort,
        reasoning_summary="" if summary == "disabled" else summary,
        task_reasoning_effort="" if task_effort == "auto" else task_effort,
        tool_execution_mode=_own(own.TOOL_EXECUTION_MODE, valves.TOOL_EXECUTION_MODE),
        enable_strict_tool_calling=valves.ENABLE_STRICT_TOOL_CALLING,
        max_function_call_loops=valves.MAX_FUNCTION_CALL_LOOPS,
        max_parallel_tools_per_request=valves.MAX_PARALLEL_TOOLS_PER_REQUEST,
        max_parallel_tools_global=valves.MAX_PARALLEL_TOOLS_GLOBAL,
        tool_timeout=float(valves.TOOL_TIMEOUT_SECONDS),
        tool_batch_timeout=float(valves.TOOL_BATCH_TIMEOUT_SECONDS),
        breaker_max_failures=valves.BREAKER_MAX_FAILURES,
        breaker_window=float(valves.BREAKER_WINDOW_SECONDS),
        persist_tool_results=valves.PERSIST_TOOL_RESULTS,
        server_tools_max_calls=valves.SERVER_TOOLS_MAX_CALLS,
        server_tools_max_cost=valves.SERVER_TOOLS_MAX_COST_USD,
        thinking_output=_own(own.THINKING_OUTPUT_MODE, valves.THINKING_OUTPUT_MODE),
        interleaved_thinking=_own_switch(
            own.ENABLE_ANTHROPIC_INTERLEAVED_THINKING, valves.ENABLE_ANTHROPIC_INTERLEAVED_THINKING
        ),
        reasoning_retention=_own(own.PERSIST_REASONING_TOKENS, valves.PERSIST_REASONING_TOKENS),
        tool_output_retention=valves.TOOL_OUTPUT_RETENTION_TURNS,
        artifacts=read_artifact_rules(valves),
        archives=read_archive_rules(valves),
        show_final_usage=_own_switch(own.SHOW_FINAL_USAGE_STATUS, valves.SHOW_FINAL_USAGE_STATUS),
        low_credit=float(valves.LOW_CREDIT_WARNING_USD),
        drawing=_chosen_drawing(own),
        voice=own.AUDIO_VOICE,
        spend=read_spend_rules(valves),
        max_concurrent_requests=valves.MAX_CONCURRENT_REQUESTS,
        max_queued_requests=valves.MAX_QUEUED_REQUESTS,
        log_level=valves.LOG_LEVEL,
        timing_file=valves.TIMING_LOG_FILE if valves.ENABLE_TIMING_LOG else "",
        error_templates=read_error_templates(valves),
    )


def _own(chosen: str, inherited: str) -> str:
    return inherited if chosen == "inherit" else chosen


def _own_switch(chosen: str, inherited: bool) -> bool:
    return inherited if chosen == "inherit" else chosen == "on"


def _chosen_drawing(own: PersonalValves) -> dict[str, str]:
    chosen = {
        "aspect_ratio": own.IMAGE_ASPECT_RATIO,
        "size": own.IMAGE_SIZE,
        "quality": own.IMAGE_QUALITY,
    }
    return {name: value for name, value in chosen.items() if value != "inherit"}


################################
# core/context.py
#
# Who asks, for which message, under which settings: carried through the whole turn.
################################

EventCall = Callable[[dict[str, Any]], Awaitable[Any]]
"""Sends an event to the page; `__event_call__` also waits for what the page answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHandles:
    """What Open WebUI hands over with a call, for `host/` and `tools/` to use; all may be missing.

    Only those two rooms look inside: everything else works with what they make of it.
    """

    request: Any = None
    """The `Request` of the web server: `app.state`, `state.user`."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    tools: Mapping[str, Any] = field(default_factory=dict[str, Any])
    event_emitter: EventCall | None = None
    event_call: EventCall | None = None


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
    """The chore Open WebUI runs for itself (`title_generation`, ...), or empty for a chat."""
    hand_over: HandOver = NOTHING_HANDED_OVER
    """What the companion filters ask for; nothing in a chore."""
    host: HostHandles = field(default_factory=HostHandles)
    started_at: float = field(default_factory=time.perf_counter)
    records: SessionRecords | None = None
    """Where everything that happens is noted, when the admin wants it archived."""

    @property
    def is_in_message(self) -> bool:
        """Whether the answer stands in a message that a person reads."""
        return bool(self.chat_id and self.message_id) and not self.task


def current_request() -> ContextVar[RequestContext | None]:
    """The request that runs now: one variable for all copies, since they share one logger."""
    return shared_by_process("current_request", _new_variable)


def current_records() -> SessionRecords | None:
    """Where the request that runs now is noted, if it is to be archived."""
    # The context may be one of an older copy, which knew nothing of records.
    return getattr(current_request().get(), "records", None)


def _new_variable() -> ContextVar[RequestContext | None]:
    return ContextVar("open_webui_openrouter_pipe_request", default=None)


################################
# core/logging_system.py
#
# The log: every record names its request, and one worker writes them off the event loop.
################################

LOG = logging.getLogger("open_webui_openrouter_pipe")

_QUEUE_LENGTH = 10_000
_IDLE_SECONDS = 5.0


class SessionLogger(logging.Handler):
    """Stamps each record with request, session, user and chat, and hands it to one worker thread.

    The thread starts with the first record and ends by itself when none has come for a while,
    so a replaced copy of the pipe leaves nothing behind. With `collecting`, a request that is to be
    archived gets its records too.
    """

    def __init__(
        self,
        target: logging.Logger,
        *,
        queue_length: int = _QUEUE_LENGTH,
        idle_seconds: float = _IDLE_SECONDS,
        collecting: bool = False,
    ) -> None:
        super().__init__()
        self._target = target
        self._idle_seconds = idle_seconds
        self._collecting = collecting
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
            if self._collecting:
                _collect(record)
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


def _collect(record: logging.LogRecord) -> None:
    """Note the record with its request, where that is to be archived."""
    if (records := current_records()) is not None:
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        fields = {"trace": trace} if trace else {}
        records.add("log", level=record.levelname, text=record.msg, **fields)


def install_session_logger() -> SessionLogger:
    """Put our handler on our logger, in place of the one an earlier copy of the pipe put there."""
    handler = SessionLogger(logging.getLogger(), collecting=True)
    LOG.handlers[:] = [handler]
    LOG.propagate = False
    return handler


################################
# core/error_templates.py
#
# What a person reads when a turn fails: the template for the cause, filled with what is known.
################################

# A shorter one is no key, and would be found in any sentence.
_SHORTEST_KEY = 6


def _built_in(headline: str = "", *details: str) -> str:
    """Cause, details, next step, where to ask. Open WebUI joins the lines: each is a sentence."""
    opening = [headline] if headline else []
    closing = [
        "",
        "{next_step}",
        "",
        "Questions? Write to {support_email}.",
        "Help: {support_url}",
        "Error ID: {error_id}.",
    ]
    return "\n".join([*opening, "{cause}", *details, *closing])


_PLAIN = _built_in()
_BUILT_IN = ErrorTemplates(
    openrouter_error=_built_in(
        "",
        "Objection: {moderation_reasons}.",
        "It concerns: \u201c{flagged_excerpt}\u201d.",
        "OpenRouter's number for the request: {request_id}.",
    ),
    authentication_error=_built_in(
        "{{#if openrouter_message}}\nOpenRouter does not accept this server's key.\n{{/if}}"
    ),
    insufficient_credits=_built_in(
        "The OpenRouter account cannot pay for this answer.",
        "Needed: ${required_cost}.",
        "Left: ${account_balance}.",
    ),
    rate_limit=_built_in("Too many requests for the moment.", "Limit: {rate_limit_type}."),
    server_timeout=_built_in("The model took too long."),
    payload_too_large=_built_in("This chat is too large to be sent."),
    network_timeout=_built_in("", "The wait was limited to {timeout_seconds} seconds."),
    connection_error=_built_in(),
    service_error=_built_in(
        "The fault is on the other side, not in your message.",
        "OpenRouter's number for the request: {request_id}.",
    ),
    internal_error=_built_in(),
    model_restricted=_built_in(),
    endpoint_override_conflict=_built_in(),
    stream_interrupted=_built_in(),
)

_BY_STATUS = {
    401: "authentication_error",
    402: "insufficient_credits",
    408: "server_timeout",
    413: "payload_too_large",
    429: "rate_limit",
    504: "server_timeout",
    524: "server_timeout",
}
_BY_CAUSE: tuple[tuple[type[PipeError], str], ...] = (
    (ApiKeyError, "authentication_error"),
    (ModelUnavailableError, "model_restricted"),
    (EndpointConflictError, "endpoint_override_conflict"),
    (ConnectionFailedError, "connection_error"),
    (UpstreamTimeoutError, "network_timeout"),
    (StreamInterruptedError, "stream_interrupted"),
    (InternalError, "internal_error"),
)


def explain_failure(error: PipeError, context: RequestContext) -> str:
    """The text of the message's error, in the admin's words where there are any."""
    name, values = _choose_template(error), _known_values(error, context)
    text = _in_own_words(name, context, values) if name else ""
    if not text:
        text = render_template(getattr(_BUILT_IN, name) if name else _PLAIN, values)
    return without_key(text, context.settings)


def without_key(text: str, settings: Settings) -> str:
    """Whatever a server sent back: the key that the request was made with is not in it."""
    text = redact_text(text)
    try:
        key = settings.api_key.reveal()
    except SettingsError:
        return text
    return text.replace(key, REDACTED) if len(key) >= _SHORTEST_KEY else text


def _choose_template(error: PipeError) -> str:
    if isinstance(error, OpenRouterAPIError):
        status = error.failure.status or 0
        return _BY_STATUS.get(status, "service_error" if status >= 500 else "openrouter_error")
    return next((name for cause, name in _BY_CAUSE if isinstance(error, cause)), "")


def _in_own_words(name: str, context: RequestContext, values: dict[str, str]) -> str:
    template: str = getattr(context.settings.error_templates, name)
    try:
        return render_template(template, values)
    except BrokenTemplateError as broken:
        _report_broken(name, template, str(broken))
        return ""


@lru_cache(maxsize=64)
def _report_broken(name: str, template: str, problem: str) -> None:
    """The cache makes it once for each text."""
    LOG.warning(
        "%s_TEMPLATE cannot be read (%s); the built-in text is used instead of these %d characters",
        name.upper(),
        problem,
        len(template),
    )


def _known_values(error: PipeError, context: RequestContext) -> dict[str, str]:
    values = {
        "cause": error.cause,
        "next_step": error.next_step,
        "reason": error.cause,
        "error_id": context.request_id,
        "error_type": type(error).__name__,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "requested_model": context.model,
        "model_identifier": context.model,
        "normalized_model_id": context.model,
        "api_model_id": context.model,
        "session_id": context.session_id,
        "user_id": context.user_id,
        "support_email": context.settings.error_templates.support_email,
        "support_url": context.settings.error_templates.support_url,
    }
    match error:
        case OpenRouterAPIError():
            values |= _values_of_failure(error.failure)
        case EndpointConflictError():
            values["required_endpoint"] = error.required_endpoint
            values["enforced_endpoint"] = error.enforced_endpoint
        case ModelUnavailableError():
            values["restriction_reasons"] = error.cause
            values["model_id_filter"] = ", ".join(context.settings.catalog.model_ids)
        case UpstreamTimeoutError() if context.settings.total_timeout is None:
            values["timeout_seconds"] = _number(context.settings.silence_timeout)
        case _:
            pass
    return values


def _values_of_failure(failure: ApiFailure) -> dict[str, str]:
    values = {
        "openrouter_code": failure.code or _number(failure.status),
        "openrouter_message": failure.message,
        "upstream_message": failure.upstream_message,
        "sanitized_detail": failure.upstream_message or failure.message,
        "reason": failure.upstream_message or failure.message,
        "provider": failure.provider,
        "status_code": _number(failure.status),
        "retry_after_seconds": _number(failure.retry_after),
        "rate_limit_type": failure.rate_limit_scope,
        "moderation_reasons": ", ".join(failure.moderation_reasons),
        "flagged_excerpt": failure.flagged_excerpt,
        "request_id": failure.generation_id,
        "request_id_reference": failure.generation_id,
        "requested_tokens": _number(failure.requested_tokens),
        "affordable_tokens": _number(failure.affordable_tokens),
        "context_limit_tokens": _number(failure.context_limit),
        "include_model_limits": _number(failure.context_limit),
        "required_cost": _number(failure.required_cost),
        "account_balance": _number(failure.account_balance),
    }
    # OpenRouter's own name of the cause says more than ours.
    return values | {"error_type": failure.error_type} if failure.error_type else values


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.12g}"


################################
# core/timing_logger.py
#
# How long each step of a turn takes: one JSON line a step, in a file, when the admin asks for it.
#
# Off, every call costs the reading of one boolean.
################################

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_UNTIMED = nullcontext()


class TimingFile(logging.Handler):
    """Appends one line a record; it runs in the log worker's thread, never on the event loop."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = Path(path)
        self._is_broken = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; a file that cannot be written is reported once."""
        line = {
            "time": record.created,
            "request_id": getattr(record, "request_id", ""),
            "name": record.getMessage(),
            "milliseconds": getattr(record, "milliseconds", None),
        }
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:
                file.write(encode_json(line) + b"\n")
        except OSError as error:
            if not self._is_broken:
                self._is_broken = True
                LOG.warning("timing: the file cannot be written: %s", error)


class TimingLog:
    """The switch of the timing log, and its way to the file."""

    def __init__(self) -> None:
        self.enabled = False
        self._path = ""
        self._lines: SessionLogger | None = None

    def follow(self, path: str, *, archiving: bool = False) -> None:
        """Write to this file from now on, if any, and into the archives of requests, if wanted."""
        self.enabled = bool(path) or archiving
        if path == self._path:
            return
        self._path = path
        self._lines = _open_lines(path) if path else None

    def write(self, name: str, started: float) -> None:
        """Note that the step which began at `started` (`time.perf_counter`) is over."""
        milliseconds = round((time.perf_counter() - started) * 1_000, 3)
        if (records := current_records()) is not None:
            records.add("timing", name=name, milliseconds=milliseconds)
        if self._lines is not None:
            entry = {"msg": name, "levelno": logging.INFO, "milliseconds": milliseconds}
            self._lines.emit(logging.makeLogRecord(entry))

    def flush(self) -> None:
        """Wait until everything noted so far is written."""
        if self._lines is not None:
            self._lines.flush()


TIMING = TimingLog()


def timing_mark(name: str) -> None:
    """Note a moment: milliseconds since the request began."""
    if TIMING.enabled and (context := current_request().get()) is not None:
        TIMING.write(name, context.started_at)


def timing_scope(name: str) -> AbstractContextManager[None]:
    """Note how long the `with` block takes, however it ends."""
    return TimingScope(name) if TIMING.enabled else _UNTIMED


class TimingScope(AbstractContextManager[None]):
    """One running block."""

    __slots__ = ("_name", "_started")

    def __init__(self, name: str) -> None:
        self._name = name
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        TIMING.write(self._name, self._started)


def timed(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Note how long each call takes; of a generator, from its first step to its end."""
    name = function.__qualname__
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def awaited(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            with timing_scope(name):
                return await function(*args, **kwargs)

        return cast("Callable[Parameters, Result]", awaited)

    @wraps(function)
    def called(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        if not TIMING.enabled:
            return function(*args, **kwargs)
        if inspect.isasyncgenfunction(function):
            items = cast("AsyncGenerator[Any]", function(*args, **kwargs))
            return cast("Result", _timed_items(name, items))
        if inspect.isgeneratorfunction(function):
            steps = cast("Generator[Any, Any, Any]", function(*args, **kwargs))
            return cast("Result", _timed_steps(name, steps))
        with TimingScope(name):
            return function(*args, **kwargs)

    return called


async def _timed_items(name: str, items: AsyncGenerator[Any]) -> AsyncGenerator[Any]:
    with timing_scope(name):
        async with aclosing(items):
            async for item in items:
                yield item


def _timed_steps(name: str, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    with timing_scope(name):
        return (yield from steps)


def _open_lines(path: str) -> SessionLogger:
    file = logging.Logger("openrouter-pipe-timing")
    file.addHandler(TimingFile(path))
    return SessionLogger(file)


################################
# api/bodies.py
#
# The two request bodies: what Open WebUI sends, and what OpenRouter takes.
################################

CompletionsBody = Mapping[str, Any]
"""A chat-completions body from Open WebUI: known keys are read, unknown ones ignored."""


class ResponsesBody(TypedDict, total=False):
    """The body of `POST /responses`: every field the pipe sends (schema `ResponsesRequest`)."""

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
    session_id: str
    user: str
    metadata: dict[str, str]
    trace: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    stop_server_tools_when: list[dict[str, Any]]


class ChatBody(TypedDict, total=False):
    """The body of `POST /chat/completions`: every field we send (schema `ChatRequest`)."""

    model: str
    models: list[str]
    messages: list[dict[str, Any]]
    stream: bool
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    top_a: float
    min_p: float
    top_logprobs: int
    logprobs: bool
    logit_bias: dict[str, float]
    frequency_penalty: float
    presence_penalty: float
    repetition_penalty: float
    seed: int
    stop: str | list[str]
    reasoning: dict[str, Any]
    response_format: dict[str, Any]
    verbosity: str
    prediction: dict[str, Any]
    modalities: list[str]
    audio: dict[str, Any]
    image_config: dict[str, Any]
    plugins: list[dict[str, Any]]
    provider: dict[str, Any]
    service_tier: str
    prompt_cache_key: str
    cache_control: dict[str, Any]
    session_id: str
    user: str
    metadata: dict[str, str]
    trace: dict[str, Any]
    tools: list[dict[str, Any]]
    tool_choice: str | dict[str, Any]
    parallel_tool_calls: bool
    stop_server_tools_when: list[dict[str, Any]]


################################
# api/error_figures.py
#
# The figures that stand in the prose of an error message: tokens, limits, money.
################################

_TOKENS = r"(\d{1,3}(?:,\d{3})+|\d{1,12})"
_DOLLARS = r"\$\s?(\d{1,9}(?:\.\d{1,9})?)"
_CONTEXT_LIMIT = re.compile(rf"maximum context length (?:is|of) {_TOKENS}\b", re.IGNORECASE)
_REQUESTED = re.compile(rf"requested (?:about |up to )?{_TOKENS}\b(?! ?\.\d)", re.IGNORECASE)
_AFFORDABLE = re.compile(rf"can only afford {_TOKENS}\b", re.IGNORECASE)
_COST = re.compile(rf"\b(?:requires?|costs?|needs?)\b[^$.]{{0,60}}{_DOLLARS}", re.IGNORECASE)
_BALANCE = re.compile(rf"\b(?:balance|credits? left)\b[^$.]{{0,60}}{_DOLLARS}", re.IGNORECASE)


class Figures(TypedDict):
    """`None` for each figure that the message does not give."""

    requested_tokens: int | None
    affordable_tokens: int | None
    context_limit: int | None
    required_cost: float | None
    account_balance: float | None


def figures_in(message: str) -> Figures:
    """What the message says in numbers."""
    return {
        "requested_tokens": _token_count(_REQUESTED, message),
        "affordable_tokens": _token_count(_AFFORDABLE, message),
        "context_limit": _token_count(_CONTEXT_LIMIT, message),
        "required_cost": _amount(_COST, message),
        "account_balance": _amount(_BALANCE, message),
    }


def _token_count(pattern: re.Pattern[str], message: str) -> int | None:
    found = pattern.search(message)
    return int(found[1].replace(",", "")) if found else None


def _amount(pattern: re.Pattern[str], message: str) -> float | None:
    found = pattern.search(message)
    return float(found[1]) if found else None


################################
# api/errors.py
#
# Every shape of error body OpenRouter sends becomes one `OpenRouterAPIError`.
################################

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
    # Of a failed response, where `error_type` is missing (schema `ResponsesErrorField`).
    "bio_policy": 403,
    "data_residency_mismatch": 403,
    "vector_store_timeout": 504,
    "invalid_image_format": 400,
    "invalid_base64_image": 400,
    "invalid_image_url": 400,
    "image_parse_error": 400,
    "image_content_policy_violation": 400,
    "invalid_image_mode": 400,
    "image_file_too_large": 400,
    "unsupported_image_media_type": 400,
    "empty_image_file": 400,
    "failed_to_download_image": 400,
    "image_file_not_found": 404,
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
    message = _fit_to_show(_first_text(error.get("message"), body.get("message")))
    return OpenRouterAPIError(
        ApiFailure(
            message=message,
            status=_find_status(status, error, code, error_type),
            code=code,
            error_type=error_type,
            provider=text_of(metadata.get("provider_name")),
            upstream_message=_fit_to_show(_upstream_message(metadata.get("raw"))),
            retry_after=_find_retry_after(headers, availability),
            may_pass=availability.get("retryable") is not False,
            generation_id=headers.get("x-generation-id", "") or text_of(body.get("id")),
            moderation_reasons=_texts_in(metadata.get("reasons") or metadata.get("patterns")),
            flagged_excerpt=_fit_to_show(text_of(metadata.get("flagged_input"))),
            rate_limit_scope=text_of(metadata.get("limit_source")),
            **figures_in(message),
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
        seconds = _seconds_until(text_of(candidate))
        if seconds is not None and 0 <= seconds < float("inf"):
            return seconds
    return None


def _seconds_until(text: str) -> float | None:
    """A wait given in seconds, or as the date at which it is over (RFC 9110, `Retry-After`)."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


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


def _texts_in(value: Any) -> tuple[str, ...]:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return tuple(filter(None, map(_fit_to_show, map(text_of, entries))))


def _fit_to_show(text: str) -> str:
    text = redact_text(text)
    return (
        text
        if len(text) <= _LONGEST_MESSAGE
        else text[:_LONGEST_MESSAGE] + " \N{HORIZONTAL ELLIPSIS}"
    )


################################
# api/events.py
#
# The Event language: what an answer is made of, whichever endpoint it came from.
################################

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
    """USD by part (`upstream_inference_cost`, ...), under OpenRouter's names."""
    last_input_tokens: int | None = None
    """Of the last round alone, where the answer took several; so the one below."""
    last_output_tokens: int | None = None

    @property
    def charged(self) -> float | None:
        """USD spent: with a key of one's own at the provider, `cost` is only OpenRouter's fee."""
        if self.cost is None:
            return None
        return self.cost + self._upstream

    @property
    def picodollars(self) -> int | None:
        """The same in 10^-12 USD, to the last digit."""
        return None if self.cost is None else picodollars(self.cost) + picodollars(self._upstream)

    @property
    def _upstream(self) -> float:
        return self.cost_details.get("upstream_inference_cost", 0.0) if self.is_byok else 0.0


@dataclass(slots=True, frozen=True)
class Citation:
    """A page that the answer leans on."""

    url: str
    title: str = ""
    excerpt: str = ""
    """What the search engine quoted of the page, where it did."""


@dataclass(slots=True)
class MessageItem:
    """Text of the answer."""

    id: str
    text: str = ""
    is_refusal: bool = False
    """Whether the text is the model's refusal to answer."""
    citations: list[Citation] = field(default_factory=list[Citation])
    phase: str = ""
    """`commentary` or `final_answer` where the vendor tells them apart."""
    status: str = "completed"


@dataclass(slots=True)
class ReasoningItem:
    """The model's thinking: a summary, the raw text, or neither when it is encrypted."""

    id: str
    summary: list[str] = field(default_factory=list[str])
    content: list[str] = field(default_factory=list[str])
    details: list[JsonObject] = field(default_factory=list[JsonObject])
    """What must go back with the next request, as chat completions' `reasoning_details`."""
    status: str = "completed"

    @property
    def is_visible(self) -> bool:
        """Whether there is anything of it to read."""
        return any(self.summary) or any(self.content)


@dataclass(slots=True)
class FunctionCallItem:
    """A call of one of our tools."""

    id: str
    call_id: str
    name: str
    arguments: str = ""
    """JSON text, perhaps cut short."""
    status: str = "completed"


@dataclass(slots=True)
class ImageItem:
    """A picture the model drew."""

    id: str
    data_url: str = ""
    """`data:image/...;base64,...`, or an https address; empty while it is being drawn."""
    status: str = "completed"


@dataclass(slots=True)
class MediaItem:
    """Something to play."""

    id: str
    kind: Literal["audio", "video"]
    content: bytearray = field(default_factory=bytearray)
    """Whole at the item's end; sound without a container is 16-bit samples, 24,000 a second."""
    transcript: str = ""
    """What is said in it; the answer's text says the same."""
    status: str = "completed"


@dataclass(slots=True)
class ServerToolItem:
    """Something OpenRouter or the provider did for the answer: a search, a fetch, a calculation."""

    id: str
    type: str
    details: JsonObject = field(default_factory=JsonObject)
    """The item's own fields (`action`, `url`, `title`, ...)."""
    status: str = "completed"


@dataclass(slots=True)
class ToolOutputItem:
    """What a call of one of our tools brought back."""

    id: str
    call_id: str
    text: str
    images: list[str] = field(default_factory=list[str])
    """Pictures for the model: data URLs or https addresses."""
    files: list[JsonObject] = field(default_factory=list[JsonObject])
    """Files for the person, as Open WebUI's messages hold them."""
    embeds: list[str] = field(default_factory=list[str])
    """Pages shown inside the tool's card: HTML, or an address."""
    status: str = "completed"


@dataclass(slots=True)
class OtherItem:
    """An item this version does not know."""

    id: str
    type: str


OutputItem = (
    MessageItem
    | ReasoningItem
    | FunctionCallItem
    | ToolOutputItem
    | ImageItem
    | MediaItem
    | ServerToolItem
    | OtherItem
)


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
class ArgumentsDelta:
    """The next piece of a function call's arguments."""

    output_index: int
    text: str


Delta = TextDelta | ReasoningDelta | ArgumentsDelta
"""The next piece of something that comes in pieces."""


@dataclass(slots=True)
class CitationFound:
    """A page that a message leans on."""

    output_index: int
    citation: Citation


@dataclass(slots=True)
class PictureSketched:
    """How far a picture has come that is still being drawn."""

    output_index: int
    data_url: str


@dataclass(slots=True)
class SourcesFound:
    """What a tool leaned on, each as the `data` of Open WebUI's `source` event."""

    sources: list[JsonObject]


@dataclass(slots=True)
class ItemFinished:
    """The whole item, as the API closed it: the truth where deltas were missing."""

    output_index: int
    item: OutputItem


@dataclass(slots=True)
class RetryScheduled:
    """Nothing has come yet; the request goes out again after a pause."""

    error: PipeError
    wait: float
    """Seconds."""


@dataclass(slots=True)
class Working:
    """What is being done, where the answer's first piece takes its time."""

    text: str


@dataclass(slots=True)
class Notice:
    """Something about the answer that the person should know, and that is no part of it."""

    text: str
    in_closing_line: bool = False
    """Whether it is said once the answer is there, and not before."""


@dataclass(slots=True)
class SpendingKnown:
    """What the closing line can tell beside the answer's own usage."""

    chat_cost: float | None = None
    """USD that the chat's answers have cost, this one included; `None` where it is the first."""
    is_whole: bool = True
    """Whether the cost of each answer is known; else they have cost at least so much."""
    credit_left: float | None = None
    """USD left of the key's limit, for an admin who should know."""


@dataclass(slots=True)
class ResponseFinished:
    """The answer is over; `incomplete_reason` says why it was cut (`max_output_tokens`, ...)."""

    response_id: str
    model: str
    usage: Usage | None
    incomplete_reason: str = ""
    provider: str = ""
    """Who ran the model, where the endpoint tells."""


@dataclass(slots=True)
class ResponseFailed:
    """The answer broke off, with what was counted until then."""

    error: PipeError
    usage: Usage | None = None


PlacedEvent = (
    ItemStarted
    | TextDelta
    | ReasoningDelta
    | ArgumentsDelta
    | CitationFound
    | PictureSketched
    | ItemFinished
)
Event = (
    ResponseStarted
    | PlacedEvent
    | SourcesFound
    | RetryScheduled
    | Working
    | Notice
    | SpendingKnown
    | ResponseFinished
    | ResponseFailed
)


################################
# api/exchange_log.py
#
# Requests and answers in the log (at level DEBUG) and the archive, fit to be read there.
################################

def log_request(path: str, body: Mapping[str, Any]) -> None:
    """Note the body as it goes out."""
    if (records := current_records()) is not None:
        records.add("request", path=path, body=body)
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("POST %s %s", path, encode_json(redact_body(body)).decode())


def log_answer(path: str, response: httpx.Response) -> None:
    """Note the status, and the id by which OpenRouter knows the answer."""
    generation = response.headers.get("x-generation-id", "unknown")
    if (records := current_records()) is not None:
        records.add("answer", path=path, status=response.status_code, generation=generation)
    if LOG.isEnabledFor(logging.DEBUG):
        LOG.debug("%s answered %d, generation %s", path, response.status_code, generation)


################################
# api/gateway/batch.py
#
# The Events of one network read, with neighbouring deltas joined as they come.
#
# A piece that is sent costs the server far more than one that is read, and what is joined at once
# leaves nothing behind for the garbage collector, whose rounds grow with the whole server's memory.
################################

class EventBatch:
    """Takes Events in their order; deltas of the same text that follow each other become one."""

    __slots__ = ("_events", "_last", "_pieces")

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events: list[Event] = []
        self._last: Event | None = None
        self._pieces: list[str] = []
        """What is still to be joined to the last Event."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take the next Event; it is the batch's from now on."""
        last = self._last
        if isinstance(event, Delta) and type(event) is type(last) and _is_same_text(event, last):
            self._pieces.append(event.text)
            return
        self._join()
        self._last = event
        self._events.append(event)

    def close(self) -> list[Event]:
        """The Events of the batch."""
        self._join()
        return self._events

    def _join(self) -> None:
        if self._pieces and isinstance(last := self._last, Delta):
            last.text += "".join(self._pieces)
            self._pieces.clear()


def _is_same_text(one: Event, other: Event | None) -> bool:
    """Whether the two, which are of one kind, add to the same text."""
    match one, other:
        case ReasoningDelta(), ReasoningDelta():
            return (one.output_index, one.part_index, one.is_summary) == (
                other.output_index,
                other.part_index,
                other.is_summary,
            )
        case (TextDelta(), TextDelta()) | (ArgumentsDelta(), ArgumentsDelta()):
            return one.output_index == other.output_index
        case _:
            return False


################################
# api/gateway/items.py
#
# Output items, citations and usage of the Responses API, read into values.
################################

_IMAGE_TYPES = frozenset({"image_generation_call", "openrouter:image_generation"})
_HOSTED_TOOL_TYPES = frozenset(
    {"web_search_call", "file_search_call", "code_interpreter_call", "computer_call"}
)


def read_item(item: JsonObject) -> OutputItem:
    """Read one output item; a kind this version does not know keeps its name only."""
    kind = text_of(item.get("type"))
    item_id = text_of(item.get("id"))
    status = text_of(item.get("status")) or "completed"
    if kind == "message":
        return _read_message(item, item_id, status)
    if kind == "reasoning":
        return _read_reasoning(item, item_id, status)
    if kind == "function_call":
        return FunctionCallItem(
            id=item_id,
            call_id=text_of(item.get("call_id")),
            name=text_of(item.get("name")),
            arguments=text_of(item.get("arguments")),
            status=status,
        )
    if kind in _IMAGE_TYPES:
        return ImageItem(id=item_id, data_url=_image_url_of(item), status=status)
    if kind in _HOSTED_TOOL_TYPES or kind.startswith("openrouter:"):
        details = {key: value for key, value in item.items() if key not in ("id", "type", "status")}
        return ServerToolItem(id=item_id, type=kind, details=details, status=status)
    return OtherItem(id=item_id, type=kind)


def _read_message(item: JsonObject, item_id: str, status: str) -> MessageItem:
    parts = objects_in(item.get("content"))
    annotations = [note for part in parts for note in objects_in(part.get("annotations"))]
    return MessageItem(
        id=item_id,
        text="".join(_words(part, "text") or _words(part, "refusal") for part in parts),
        is_refusal=any(part.get("type") == "refusal" for part in parts),
        citations=[found for note in annotations if (found := read_citation(note)) is not None],
        phase=text_of(item.get("phase")),
        status=status,
    )


def _read_reasoning(item: JsonObject, item_id: str, status: str) -> ReasoningItem:
    return ReasoningItem(
        id=item_id,
        summary=[_words(part, "text") for part in objects_in(item.get("summary"))],
        content=[_words(part, "text") for part in objects_in(item.get("content"))],
        details=_replay_details(item),
        status=status,
    )


def _words(part: JsonObject, name: str) -> str:
    """The text of a part: what the deltas said must not give way to a number."""
    text = part.get(name)
    return text if isinstance(text, str) else ""


def _replay_details(item: JsonObject) -> list[JsonObject]:
    """What the API needs back: the encrypted blob, or the raw text with its signature.

    Text that is neither encrypted nor signed may be left out of the next request.
    """
    tag = {key: item[key] for key in ("id", "format") if item.get(key)}
    encrypted, signature = text_of(item.get("encrypted_content")), text_of(item.get("signature"))
    details: list[JsonObject] = []
    if signature:
        text = "".join(text_of(part.get("text")) for part in objects_in(item.get("content")))
        details.append({"type": "reasoning.text", "text": text, "signature": signature, **tag})
    if encrypted:
        details.append({"type": "reasoning.encrypted", "data": encrypted, **tag})
    if details:
        summary = [text_of(part.get("text")) for part in objects_in(item.get("summary"))]
        details[:0] = [{"type": "reasoning.summary", "summary": text, **tag} for text in summary]
    return details


def _image_url_of(item: JsonObject) -> str:
    """The picture as a data URL: OpenRouter sends one, other servers bare base64."""
    data = text_of(item.get("result")) or text_of(item.get("imageB64"))
    if not data:
        return text_of(item.get("imageUrl"))
    return picture_address(data)


def picture_address(data: str) -> str:
    """A picture that came as base64 as a data URL; an address stays as it is."""
    return data if data.startswith(("data:", "https:")) else f"data:image/png;base64,{data}"


def read_citation(annotation: JsonObject) -> Citation | None:
    """Read a `url_citation`, flat (Responses) or nested (chat completions)."""
    if annotation.get("type") != "url_citation":
        return None
    fields = as_object(annotation.get("url_citation")) or annotation
    url = text_of(fields.get("url"))
    if not url:
        return None
    return Citation(url, text_of(fields.get("title")), text_of(fields.get("content")))


def trimming_notices(answer: JsonObject) -> list[Event]:
    """What the person should know when OpenRouter has shortened the chat."""
    stages = objects_in(as_object(answer.get("openrouter_metadata")).get("pipeline"))
    if not any(stage.get("type") == "context_compression" for stage in stages):
        return []
    return [
        Notice(
            "\N{WARNING SIGN} The chat was too long: its middle was left out", in_closing_line=True
        )
    ]


def read_usage(value: Any) -> Usage | None:
    """Read the usage of an answer, of either endpoint; `None` when there is none."""
    usage = as_object(value)
    if not usage:
        return None
    inputs = as_object(usage.get("input_tokens_details") or usage.get("prompt_tokens_details"))
    outputs = as_object(
        usage.get("output_tokens_details") or usage.get("completion_tokens_details")
    )
    is_byok = usage.get("is_byok")
    return Usage(
        input_tokens=_first_whole(usage.get("input_tokens"), usage.get("prompt_tokens")),
        output_tokens=_first_whole(usage.get("output_tokens"), usage.get("completion_tokens")),
        total_tokens=whole_of(usage.get("total_tokens")),
        cached_tokens=whole_of(inputs.get("cached_tokens")),
        cache_write_tokens=whole_of(inputs.get("cache_write_tokens")),
        reasoning_tokens=whole_of(outputs.get("reasoning_tokens")),
        cost=number_of(usage.get("cost")),
        is_byok=is_byok if isinstance(is_byok, bool) else None,
        cost_details=_numbers_in(usage.get("cost_details")),
    )


def _first_whole(*candidates: Any) -> int | None:
    return next((number for number in map(whole_of, candidates) if number is not None), None)


def _numbers_in(value: Any) -> dict[str, float]:
    pairs = as_object(value).items()
    return {key: number for key, part in pairs if (number := number_of(part)) is not None}


################################
# api/gateway/parsed_files.py
#
# What OpenRouter has read out of documents: it goes back with the next turn, or is paid again.
################################

# It is kept in the row of the chat, which every reader of the chat loads.
_MOST_KEPT_BYTES = 512 * 1024


class ParsedFiles:
    """The `file` annotations of one answer; those that the request brought are not kept again."""

    __slots__ = ("_known", "_room", "waiting")

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._known = set(known)
        self.waiting: list[JsonObject] = []
        self._room = _MOST_KEPT_BYTES

    def add(self, annotation: JsonObject) -> None:
        """Take one; what is too large is left out, and paid for again if it is asked about."""
        mark = hash_of_file(annotation)
        if not mark or mark in self._known:
            return
        self._known.add(mark)
        size = len(encode_json(annotation))
        if size > self._room:
            LOG.warning("files: what was read out of one is too large to be kept: %d bytes", size)
            return
        self._room -= size
        self.waiting.append(annotation)

    def take_details(self) -> list[JsonObject]:
        """What has come since the last time, as a detail of the answer's reasoning."""
        files, self.waiting = self.waiting, []
        return [{"type": PARSED_DETAIL, "files": files}] if files else []


def hash_of_file(annotation: JsonObject) -> str:
    """By what OpenRouter knows the document again."""
    return text_of(as_object(annotation.get("file")).get("hash"))


################################
# api/gateway/part_ends.py
#
# Text that came with the end of its part, where neither deltas nor the item's end brought it.
################################

# Of each event that ends a part: which part of which kind of item, and the field with its words.
_ENDS = {
    "response.output_text.done": ("message", "content_index", "text"),
    "response.refusal.done": ("refusal", "content_index", "refusal"),
    "response.reasoning_text.done": ("content", "content_index", "text"),
    "response.reasoning_summary_text.done": ("summary", "summary_index", "text"),
    "response.function_call_arguments.done": ("arguments", "", "arguments"),
}
# The events that hold the part itself repeat what these say; its type tells the kind.
_PART_ENDS = {
    "response.content_part.done": "content_index",
    "response.reasoning_summary_part.done": "summary_index",
}
_KINDS_OF_PART = {
    "output_text": ("message", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("content", "text"),
    "summary_text": ("summary", "text"),
}


class PartEnds:
    """Remembers what the parts of an answer ended with, by the place of their item."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts: dict[int, dict[tuple[str, int], str]] = {}

    def take(self, data: JsonObject) -> None:
        """Note the event, if it is one that ends a part."""
        kind = text_of(data.get("type"))
        if kind in _PART_ENDS:
            part = as_object(data.get("part"))
            name, words = _KINDS_OF_PART.get(text_of(part.get("type")), ("", ""))
            position, text = data.get(_PART_ENDS[kind]), part.get(words)
        else:
            name, index, words = _ENDS.get(kind, ("", "", ""))
            position, text = data.get(index), data.get(words)
        place = whole_of(data.get("output_index", 0))
        if name and place is not None and place >= 0 and isinstance(text, str) and text:
            self._texts.setdefault(place, {})[name, whole_of(position) or 0] = text

    def items(self) -> list[ItemFinished]:
        """The items that the parts belong to, as far as they are known."""
        return [ItemFinished(place, _item_with(parts)) for place, parts in self._texts.items()]


def _item_with(parts: dict[tuple[str, int], str]) -> OutputItem:
    texts: dict[str, list[str]] = {name: [] for name, _ in parts}
    for (name, _), text in sorted(parts.items(), key=lambda entry: entry[0][1]):
        texts[name].append(text)
    if "arguments" in texts:
        return FunctionCallItem("", "", "", texts["arguments"][0])
    if "content" in texts or "summary" in texts:
        return ReasoningItem("", texts.get("summary", []), texts.get("content", []))
    words = "".join(text for _, text in sorted(parts.items(), key=lambda entry: entry[0][1]))
    return MessageItem("", words, is_refusal="refusal" in texts)


################################
# api/gateway/payloads.py
#
# The objects of an event stream, whichever endpoint sends it.
################################

class StreamReader(Protocol):
    """Turns the bytes of one stream into Events; what it does not know it passes over."""

    finished: bool
    """Whether the Event that ends an answer was given out."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        ...

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        ...


def read_payload(payload: bytes) -> JsonObject | None:
    """The object of one event; `None` for one that is no JSON, which is noted in the log."""
    try:
        return as_object(decode_json(payload))
    except ValueError:
        size = len(payload)
        LOG.warning("stream: an event is not JSON and was passed over (%d bytes)", size)
        return None


def answer_cut_short() -> StreamInterruptedError:
    """What a stream is told to be that ends without the event that ends an answer."""
    return StreamInterruptedError(
        "The answer stopped before its end.",
        "What had arrived is kept. Try again for a whole answer.",
    )


################################
# api/gateway/selection.py
#
# Which endpoint answers: by the admin's rules, by what the request needs, by what failed.
################################

class EndpointName(Enum):
    """The two endpoints of chats, and those of models that only draw or film."""

    RESPONSES = "responses"
    CHAT_COMPLETIONS = "chat_completions"
    IMAGES = "images"
    VIDEOS = "videos"


_NO_RESPONSES = re.compile(
    r"wrong_endpoint|responses (api|endpoint).*(not|un)\s?(supported|available)"
    r"|not (supported|available).*(responses|this endpoint)|invalid responses api request",
    re.IGNORECASE,
)


@timed
def select_endpoint(model: str, settings: Settings, chat_needs: Sequence[str]) -> EndpointName:
    """Choose; raises `EndpointConflictError` when a rule forbids what the request needs.

    `chat_needs` names what only `/chat/completions` can carry.
    """
    forced_responses = _matches(model, settings.force_responses)
    if chat_needs:
        if forced_responses:
            raise EndpointConflictError(
                f"{model} is bound to the Responses API, "
                f"which cannot carry: {', '.join(chat_needs)}.",
                "Remove these parameters, or ask the admin to change FORCE_RESPONSES_MODELS.",
                required=EndpointName.CHAT_COMPLETIONS.value,
                enforced=EndpointName.RESPONSES.value,
            )
        return EndpointName.CHAT_COMPLETIONS
    if forced_responses:
        return EndpointName.RESPONSES
    if _matches(model, settings.force_chat_completions):
        return EndpointName.CHAT_COMPLETIONS
    return EndpointName(settings.default_endpoint)


def may_fall_back(model: str, settings: Settings, error: PipeError) -> bool:
    """Whether the refusal says that this model or server has no Responses API."""
    if _matches(model, settings.force_responses) or not isinstance(error, OpenRouterAPIError):
        return False
    failure = error.failure
    if failure.status in (405, 501):
        return True
    complaint = " ".join((failure.code, failure.message, failure.upstream_message))
    return failure.status in (400, 404, 422) and bool(_NO_RESPONSES.search(complaint))


def _matches(model: str, patterns: Sequence[str]) -> bool:
    return any(
        fnmatchcase(model, pattern) or fnmatchcase(model.replace("/", ".", 1), pattern)
        for pattern in patterns
    )


################################
# api/gateway/sound.py
#
# Sound of an answer, put together from its pieces.
################################

class SoundPieces:
    """Adds pieces of base64 to an item; each is decoded as it comes, wherever it was cut."""

    __slots__ = ("_rest", "is_silent", "item")

    def __init__(self) -> None:
        self.item = MediaItem("", "audio")
        self.is_silent = True
        """Whether nothing has come of it but its transcript."""
        self._rest = ""

    def add(self, data: str, transcript: str) -> None:
        """Take the next piece."""
        self.item.transcript += transcript
        self.is_silent = self.is_silent and not data
        waiting = self._rest + data
        whole = len(waiting) // 4 * 4
        self._rest = waiting[whole:]
        try:
            self.item.content += base64.b64decode(waiting[:whole])
        except ValueError:
            LOG.warning("sound: a piece is no base64 and was passed over")


################################
# api/gateway/text_run.py
#
# A run of text deltas, read by its bytes: only the words differ from one event to the next.
################################

_KEY = b'"delta":"'
# A line each: the words as JSON writes them, and all that may follow, which means nothing to us.
_WORDS = re.compile(
    rb'^([^"\\\n]*(?:\\.[^"\\\n]*)*)"(?:,"logprobs":\[\])?(?:,"sequence_number":\d+)?\}$',
    re.MULTILINE,
)
_HALF_EMOJI = re.compile(rb"\\u[dD]")


class TextRun:
    """Takes the events that begin with the same bytes as the delta before them.

    To decode each of hundreds of events for its one word is what reading a stream costs most.
    Whatever has another form is left to the caller, who decodes it.
    """

    __slots__ = ("_beginning", "_words")

    def __init__(self) -> None:
        self._beginning = b""
        self._words: list[bytes] = []

    def follow(self, payload: bytes) -> None:
        """Take what begins as this delta does, which the caller has decoded."""
        before, key, _ = payload.partition(_KEY)
        self._beginning = before + key if key else b""

    def take(self, payloads: list[bytes], start: int) -> int:
        """How many events from `start` on are of the run; their words are kept."""
        beginning = self._beginning
        if not beginning or not payloads[start].startswith(beginning):
            return 0
        end = start + 1
        while end < len(payloads) and payloads[end].startswith(beginning):
            end += 1
        return self._take_words(payloads[start:end]) or self._take_words(
            payloads[start : start + 1]
        )

    def _take_words(self, events: list[bytes]) -> int:
        """Read all in one go, which is possible only where all of them have the usual form."""
        known = len(self._beginning)
        lines = b"\n".join([event[known:] for event in events])
        words: list[bytes] = _WORDS.findall(lines)
        if not len(words) == len(events) == lines.count(b"\n") + 1:
            return 0
        self._words += words
        return len(words)

    def take_text(self) -> str:
        """The text of the run so far; words that cannot be read are noted and left out."""
        if not self._words:
            return ""
        words, self._words = self._words, []
        joined = b"".join(words)
        try:
            # Halves of an emoji stay apart: whether two meet depends on how the network cut.
            if not _HALF_EMOJI.search(joined):
                return str(decode_json(b'"' + joined + b'"'))
        except ValueError:
            pass
        return "".join(map(_decode_words, words))


def _decode_words(words: bytes) -> str:
    try:
        return str(decode_json(b'"' + words + b'"'))
    except ValueError:
        LOG.warning("stream: a delta is not JSON and was passed over (%d bytes)", len(words))
        return ""


################################
# api/pacing.py
#
# Pauses between reads, in which the network gathers what would else come piece by piece.
################################

# A reader cannot tell 30 ms from none, and the server sends a tenth of the messages (seconds).
SHORTEST_WINDOW = 0.03
# Still smooth to read; longer ones would save little.
LONGEST_WINDOW = 0.3
# What is sent costs the server far more than what is read: so many pieces it sends in all.
PIECES_PER_SECOND = 125


def window_for(streams: int) -> float:
    """Seconds for which text is gathered, while so many answers are written at once."""
    return min(max(SHORTEST_WINDOW, streams / PIECES_PER_SECOND), LONGEST_WINDOW)


def shows_text(batch: list[Event]) -> bool:
    """Whether a reader has seen text of this batch: only then is there time to gather more.

    The first words are not held back, and while the model is silent there is no timer.
    """
    return any(isinstance(event, TextDelta | ReasoningDelta) for event in batch)


################################
# api/sse.py
#
# Server-sent events: bytes in any pieces become data payloads.
################################

DONE_PAYLOAD = b"[DONE]"
_DATA = b"data: "
_NEXT_DATA = b"\n\ndata: "


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
        lines, _, rest = b"".join([*self._open_line, chunk]).rpartition(b"\n")
        self._open_line = [rest]
        return self._read_lines(lines)

    def flush(self) -> list[bytes]:
        """Return what stands at the end of the body without its blank line."""
        lines = b"".join(self._open_line) + b"\n"
        self._open_line = []
        return self._read_lines(lines)

    def _read_lines(self, lines: bytes) -> list[bytes]:
        """Read whole lines, the last without its line end."""
        data = self._data
        if not data and _is_line_each(lines):
            return lines[len(_DATA) : -1].split(_NEXT_DATA)
        payloads: list[bytes] = []
        for line in lines.split(b"\n"):
            if line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(_DATA) else line[5:])
            elif not line and data:
                payloads.append(data[0] if len(data) == 1 else b"\n".join(data))
                data.clear()
        return payloads


def _is_line_each(lines: bytes) -> bool:
    """Whether each event is one line of data and has ended, as nearly always; then one cut does."""
    if not lines.startswith(_DATA) or not lines.endswith(b"\n"):
        return False
    return lines.count(b"\n") == 2 * lines.count(_NEXT_DATA) + 1


################################
# api/gateway/chat_reader.py
#
# The stream of `POST /chat/completions`, read into the same Events.
################################

_UNEXPLAINED: JsonObject = {"error": {"message": "The answer broke off without a reason."}}
_CUT_REASONS = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_finished_completion(body: JsonObject) -> list[Event]:
    """Read a completion object that came whole, where a stream was asked for."""
    reader = ChatReader()
    events = reader.read_chunk(body)
    return events if reader.finished else [*events, *reader.finish(done=True)]


class ChatReader:
    """Reads one stream of chat completions.

    Chunks have no items: the first piece of each kind opens one, reasoning that follows other
    output opens another. Usage comes after `finish_reason`, so only the body's end is the end.
    `known_files` are the hashes of documents of which the request says what is in them.
    """

    def __init__(self, known_files: Iterable[str] = ()) -> None:
        self._decoder = SseDecoder()
        self._started = False
        self._items: list[OutputItem] = []
        self._message: int | None = None
        self._reasoning: int | None = None
        self._calls: dict[int, int] = {}
        self._sound = SoundPieces()
        self._parsed = ParsedFiles(known_files)
        self._finish_reason = ""
        self._usage: Usage | None = None
        self._response_id = ""
        self._model = ""
        self._provider = ""
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read(self._decoder.flush())
        if not self.finished:
            events.extend(self.finish())
        return events

    def _read(self, payloads: list[bytes]) -> list[Event]:
        batch = EventBatch()
        for payload in payloads:
            if self.finished:
                break
            for event in self._read_one(payload):
                batch.add(event)
        return batch.close()

    def _read_one(self, payload: bytes) -> list[Event]:
        if payload == DONE_PAYLOAD:
            return self.finish(done=True)
        data = read_payload(payload)
        return [] if data is None else self.read_chunk(data)

    def read_chunk(self, data: JsonObject) -> list[Event]:
        """The Events of one object of the stream."""
        events: list[Event] = []
        if not self._started and data.get("id"):
            self._started = True
            self._response_id, self._model = text_of(data["id"]), text_of(data.get("model"))
            events.append(ResponseStarted(self._response_id, self._model))
        self._provider = text_of(data.get("provider")) or self._provider
        self._usage = read_usage(data.get("usage")) or self._usage
        events.extend(trimming_notices(data))
        choice = next(iter(objects_in(data.get("choices"))), JsonObject())
        self._read_delta(as_object(choice.get("delta") or choice.get("message")), events)
        self._finish_reason = text_of(choice.get("finish_reason")) or self._finish_reason
        failure = next((body for body in (data, choice) if body.get("error")), None)
        if failure is not None or self._finish_reason == "error":
            failure = failure or _UNEXPLAINED
            self.finished = True
            events.append(ResponseFailed(read_error_body(failure), self._usage))
        return events

    def _read_delta(self, delta: JsonObject, events: list[Event]) -> None:
        self._read_reasoning(delta, events)
        sound = as_object(delta.get("audio"))
        transcript = text_of(sound.get("transcript"))
        self._read_text(text_of(delta.get("content")) + transcript, events)
        self._read_sound(text_of(sound.get("data")), transcript, events)
        if refusal := text_of(delta.get("refusal")):
            self._read_text(refusal, events, is_refusal=True)
        for annotation in objects_in(delta.get("annotations")):
            if annotation.get("type") == "file":
                self._parsed.add(annotation)
            elif (citation := read_citation(annotation)) is not None:
                events.append(CitationFound(self._message_index(events), citation))
        for call in objects_in(delta.get("tool_calls")):
            self._read_call(call, events)
        for image in objects_in(delta.get("images")):
            self._read_image(image, events)

    def _read_reasoning(self, delta: JsonObject, events: list[Event]) -> None:
        details = objects_in(delta.get("reasoning_details"))
        # `reasoning` repeats the text of the details; some vendors send only one of the two.
        text = text_of(delta.get("reasoning")) or text_of(delta.get("reasoning_content"))
        text = text or "".join(_text_of_detail(detail) for detail in details)
        if not text and not any(map(_says_something, details)):
            return
        if self._reasoning is None:
            self._reasoning = self._open(ReasoningItem(""), events)
        item = self._items[self._reasoning]
        if isinstance(item, ReasoningItem):
            for detail in details:
                merge_detail(item.details, detail)
        if text:
            is_summary = any(detail.get("type") == "reasoning.summary" for detail in details)
            events.append(ReasoningDelta(self._reasoning, 0, text, is_summary))

    def _read_text(self, text: str, events: list[Event], *, is_refusal: bool = False) -> None:
        if not text:
            return
        index = self._message_index(events)
        item = self._items[index]
        if isinstance(item, MessageItem):
            item.is_refusal = item.is_refusal or is_refusal
        events.append(TextDelta(index, text))

    def _message_index(self, events: list[Event]) -> int:
        if self._message is None:
            self._close_reasoning(events)
            self._message = self._open(MessageItem(""), events)
        return self._message

    def _read_call(self, call: JsonObject, events: list[Event]) -> None:
        function = as_object(call.get("function"))
        position = whole_of(call.get("index")) or 0
        call_id, name = text_of(call.get("id")), text_of(function.get("name"))
        if self._is_new_call(position, call_id, name):
            self._close_reasoning(events)
            self._calls[position] = self._open(FunctionCallItem("", call_id, name), events)
        index = self._calls[position]
        if isinstance(item := self._items[index], FunctionCallItem):
            item.call_id, item.name = item.call_id or call_id, item.name or name
        if arguments := text_of(function.get("arguments")):
            events.append(ArgumentsDelta(index, arguments))

    def _is_new_call(self, position: int, call_id: str, name: str) -> bool:
        """Whether no call has this place, or another one: some vendors count every call as 0."""
        known = self._items[self._calls[position]] if position in self._calls else None
        if not isinstance(known, FunctionCallItem):
            return True
        if not known.call_id:  # it may come late; another name is another call
            return bool(call_id and name and known.name)
        return call_id not in ("", known.call_id)

    def _read_sound(self, data: str, transcript: str, events: list[Event]) -> None:
        if data and self._sound.is_silent:
            self._close_reasoning(events)
            self._open(self._sound.item, events)
        self._sound.add(data, transcript)

    def _read_image(self, image: JsonObject, events: list[Event]) -> None:
        url = text_of(as_object(image.get("image_url")).get("url"))
        if url:
            self._close_reasoning(events)
            item = ImageItem("", url)
            events.append(ItemFinished(self._open(item, events), item))

    def _open(self, item: OutputItem, events: list[Event]) -> int:
        self._items.append(item)
        events.append(ItemStarted(len(self._items) - 1, item))
        return len(self._items) - 1

    def _close_reasoning(self, events: list[Event]) -> None:
        details = self._parsed.take_details()
        if details and self._reasoning is None:
            self._reasoning = self._open(ReasoningItem(""), events)
        if self._reasoning is None:
            return
        item = self._items[self._reasoning]
        if isinstance(item, ReasoningItem):
            # Open WebUI keeps for the next turn what stands beside the thinking, nothing else.
            item.details.extend(details)
        events.append(ItemFinished(self._reasoning, item))
        self._reasoning = None

    def finish(self, *, done: bool = False) -> list[Event]:
        """The Events of the end: `[DONE]` says that it is one, or a finish reason has to."""
        self.finished = True
        if not self._finish_reason and not (done and self._items):
            return [ResponseFailed(answer_cut_short(), self._usage)]
        reason = _CUT_REASONS.get(self._finish_reason, "")
        if reason:
            self._mark_cut()
        closing: list[Event] = []
        if self._parsed.waiting:
            self._close_reasoning(closing)
        closing += [ItemFinished(index, item) for index, item in enumerate(self._items)]
        end = ResponseFinished(self._response_id, self._model, self._usage, reason, self._provider)
        return [*closing, end]

    def _mark_cut(self) -> None:
        """Half a call must not be run; which one was cut, the API does not say."""
        for item in self._items:
            if isinstance(item, FunctionCallItem | MessageItem):
                item.status = "incomplete"


def merge_detail(details: list[JsonObject], piece: JsonObject) -> None:
    """Add a piece of reasoning detail to those of the same type, index and id."""
    known = next((detail for detail in details if _is_same(detail, piece)), None)
    if known is None:
        details.append({key: value for key, value in piece.items() if value is not None})
        return
    for key, value in piece.items():
        if key in ("text", "summary", "data"):
            known[key] = text_of(known.get(key)) + text_of(value)
        elif value:
            known[key] = value


def _is_same(detail: JsonObject, piece: JsonObject) -> bool:
    same_place = all(detail.get(key) == piece.get(key) for key in ("type", "index"))
    return same_place and (not piece.get("id") or detail.get("id") == piece.get("id"))


def _says_something(detail: JsonObject) -> bool:
    return any(detail.get(key) for key in ("text", "summary", "data", "signature"))


def _text_of_detail(detail: JsonObject) -> str:
    return text_of(detail.get("text")) or text_of(detail.get("summary"))


################################
# api/gateway/responses_reader.py
#
# The stream of `POST /responses`, read into Events.
################################

def read_finished_answer(body: JsonObject) -> list[Event]:
    """Read a response object that came whole, where a stream was asked for."""
    return [
        ResponseStarted(text_of(body.get("id")), text_of(body.get("model"))),
        *_finished_items(body),
        *trimming_notices(body),
        _read_end(body),
    ]


def _finished_items(response: JsonObject) -> list[ItemFinished]:
    """The items of a finished response, by which whatever the stream left out is known."""
    output = objects_in(response.get("output"))
    return [ItemFinished(index, read_item(item)) for index, item in enumerate(output)]


class ResponsesReader:
    """Reads one stream of the Responses API."""

    __slots__ = ("_closed", "_decoder", "_delta", "_last_place", "_part_ends", "_run", "finished")

    def __init__(self) -> None:
        self._decoder = SseDecoder()
        self._last_place = -1
        """The last place at which something came."""
        self._closed: set[int] = set()
        """The places of the items that have ended."""
        self._part_ends = PartEnds()
        self._run = TextRun()
        self._delta: Delta | None = None
        """The delta that the run goes on from."""
        self.finished = False

    def feed(self, chunk: bytes) -> list[Event]:
        """Read one piece of the body."""
        return self._read(self._decoder.feed(chunk))

    def end(self) -> list[Event]:
        """Read what is left when the body ends, and say so if the answer's end is missing."""
        events = self._read(self._decoder.flush())
        if not self.finished:
            self.finished = True
            events += [*self._part_ends.items(), ResponseFailed(answer_cut_short())]
        return events

    def _read(self, payloads: list[bytes]) -> list[Event]:
        batch, run = EventBatch(), self._run
        place = 0
        while place < len(payloads) and not self.finished:
            if taken := run.take(payloads, place):
                place += taken
                continue
            self._end_run(batch)
            if payloads[place] != DONE_PAYLOAD:
                self._read_one(payloads[place], batch)
            place += 1
        self._end_run(batch)
        return batch.close()

    def _end_run(self, batch: EventBatch) -> None:
        if self._delta is not None and (text := self._run.take_text()):
            batch.add(replace(self._delta, text=text))

    def _read_one(self, payload: bytes, batch: EventBatch) -> None:
        data = read_payload(payload)
        event = _read_event(data) if data is not None else None
        if data is None or event is None:
            self._part_ends.take(data or {})
            return
        if isinstance(event, Delta):
            self._delta = event
            self._run.follow(payload)
        if isinstance(event, PlacedEvent):
            self._last_place = max(self._last_place, event.output_index)
            if isinstance(event, ItemFinished):
                self._closed.add(event.output_index)
        elif isinstance(event, ResponseFinished | ResponseFailed):
            self.finished = True
            response = as_object(data.get("response"))
            for late in (*self._left_out(response), *trimming_notices(response)):
                batch.add(late)
        batch.add(event)

    def _left_out(self, response: JsonObject) -> list[ItemFinished]:
        """The items that came at the end only, or whose own end did not come."""
        items = _finished_items(response)
        if self._last_place >= len(items):
            items = []  # the stream counted otherwise: which of them are new cannot be told
        items += self._part_ends.items()
        return [item for item in items if item.output_index not in self._closed]


def _read_event(data: JsonObject) -> Event | None:
    kind = text_of(data.get("type"))
    if read := _EVENT_READERS.get(kind):
        return read(data)
    # An unknown event may report an error of one of its parts; the bare envelope ends the answer.
    return ResponseFailed(read_error_body(data)) if data.get("error") and not kind else None


def _index_of(data: JsonObject, key: str = "output_index") -> int:
    return max(whole_of(data.get(key)) or 0, 0)


def _delta_of(data: JsonObject) -> str:
    delta = data.get("delta")
    return delta if isinstance(delta, str) else ""


def _read_text_delta(data: JsonObject) -> Event | None:
    text = _delta_of(data)
    return TextDelta(_index_of(data), text) if text else None


def _read_summary_delta(data: JsonObject) -> Event | None:
    if not (text := _delta_of(data)):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "summary_index"), text, is_summary=True)


def _read_reasoning_delta(data: JsonObject) -> Event | None:
    if not (text := _delta_of(data)):
        return None
    return ReasoningDelta(_index_of(data), _index_of(data, "content_index"), text, is_summary=False)


def _read_arguments_delta(data: JsonObject) -> Event | None:
    text = _delta_of(data)
    return ArgumentsDelta(_index_of(data), text) if text else None


def _read_annotation(data: JsonObject) -> Event | None:
    citation = read_citation(as_object(data.get("annotation")))
    return CitationFound(_index_of(data), citation) if citation is not None else None


def _read_sketch(data: JsonObject) -> Event | None:
    picture = text_of(data.get("partial_image_b64"))
    return PictureSketched(_index_of(data), picture_address(picture)) if picture else None


def _read_started(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return ResponseStarted(text_of(response.get("id")), text_of(response.get("model")))


def _read_item_started(data: JsonObject) -> Event | None:
    item = _item_of(data)
    return ItemStarted(_index_of(data), item) if item is not None else None


def _read_item_finished(data: JsonObject) -> Event | None:
    item = _item_of(data)
    return ItemFinished(_index_of(data), item) if item is not None else None


def _item_of(data: JsonObject) -> OutputItem | None:
    """The item, where it has a place: text may look for one, an item must not."""
    if whole_of(data.get("output_index", 0)) is None:
        return None
    item = as_object(data.get("item"))
    return read_item(item) if item else None


def _read_completed(data: JsonObject) -> Event:
    response = as_object(data.get("response"))
    return _read_failed(data) if holds_error(response) else _read_end(response)


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
    "response.function_call_arguments.delta": _read_arguments_delta,
    "response.output_text.annotation.added": _read_annotation,
    "response.image_generation_call.partial_image": _read_sketch,
    "response.created": _read_started,
    "response.output_item.added": _read_item_started,
    "response.output_item.done": _read_item_finished,
    "response.completed": _read_completed,
    "response.incomplete": _read_completed,
    "response.failed": _read_failed,
    "response.error": _read_failed,
    "error": _read_failed,
}


################################
# api/transport.py
#
# httpx on top of aiohttp: httpx's interface, a third of its CPU per streamed piece.
################################

_READ_BUFFER_BYTES = 128 * 1024
_PIECE_SENT_BYTES = 256 * 1024
_KEEPALIVE_SECONDS = 60.0
_DNS_CACHE_SECONDS = 300


class UnknownHostError(httpx.ConnectError):
    """The server's name has no address."""


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
        self._open: set[_AiohttpStream] = set()
        self._proxies = {
            scheme: address for scheme, address in getproxies().items() if scheme != "no"
        }

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
                    data=_in_pieces(await request.aread()),
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
            stream=_AiohttpStream(response, request, self._open),
            request=request,
            extensions={"gather": lambda: self._gather(response)},
        )

    async def _gather(self, response: aiohttp.ClientResponse) -> None:
        """Leave the connection unread for a moment: the system keeps what comes, at no cost."""
        with _hold_reading(response):
            await asyncio.sleep(window_for(len(self._open)))

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

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        request: httpx.Request,
        open_streams: set[_AiohttpStream],
    ) -> None:
        self._response = response
        self._request = request
        self._open = open_streams
        open_streams.add(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _as_httpx_errors(self._request):
            try:
                while not content.at_eof():
                    first, _ = await content.readchunk()
                    if piece := first + _take_buffered(content):
                        yield piece
            except Exception:
                # aiohttp raises before it hands out the bytes that came before the failure.
                if rest := _take_buffered(content):
                    yield rest
                raise

    async def aclose(self) -> None:
        """Give the connection back, or cut it when the body is not read to its end.

        Nothing here waits: when the caller is cancelled there is no second chance to.
        """
        self._open.discard(self)
        self._response.release()


def _take_buffered(content: aiohttp.StreamReader) -> bytes:
    """All that has come, at once: aiohttp wakes its parser after each HTTP chunk it hands out."""
    buffer: deque[bytes] | None = getattr(content, "_buffer", None)
    splits: deque[int] | None = getattr(content, "_http_chunk_splits", None)
    if buffer and splits and not getattr(content, "_buffer_offset", 1):
        joined = b"".join(buffer)
        buffer.clear()
        buffer.append(joined)
        splits.clear()
    return content._read_nowait(-1)  # pyright: ignore[reportPrivateUsage]


@contextmanager
def _hold_reading(response: aiohttp.ClientResponse) -> Generator[None]:
    """Leave the connection unread; one that is read to its end may serve another request by now."""
    connection = response.connection
    transport = connection.transport if connection is not None else None
    if transport is None or not transport.is_reading():
        yield
        return
    transport.pause_reading()
    try:
        yield
    finally:
        transport.resume_reading()


def _in_pieces(body: bytes) -> bytes | AsyncIterator[bytes] | None:
    """A large body piece by piece: whole, asyncio would copy what the socket does not take."""
    if len(body) <= _PIECE_SENT_BYTES:
        return body or None

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), _PIECE_SENT_BYTES):
            yield body[start : start + _PIECE_SENT_BYTES]

    return pieces()


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
    except aiohttp.ClientConnectorDNSError as error:
        raise UnknownHostError(str(error), request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error), request=request) from error
    except (ValueError, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol("the address cannot be used", request=request) from error
    except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError) as error:
        raise httpx.RemoteProtocolError("the connection ended early", request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError("the connection broke", request=request) from error


################################
# api/http.py
#
# The HTTP client: one pool, the headers of every request, one place that reads httpx's errors.
################################

COMPRESSION_PLUGIN = "context-compression"
"""Leaves out the middle of a chat that is too long for its model."""

# The app OpenRouter's statistics count this for; both headers are needed for that.
_ATTRIBUTION_HEADERS = {
    "HTTP-Referer": "https://openwebui.com/",
    "X-OpenRouter-Title": "Open WebUI",
    "X-OpenRouter-Categories": "general-chat",
}


class ApiClient(httpx.AsyncClient):
    """httpx's client, with the shortest way to the wire.

    One client serves everyone: no cookie may tie their requests together. An API does not
    redirect. And a line in the server's log for each request is what Open WebUI's own connection
    does not write either; all three would cost more than building the request.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(
            transport=transport,
            headers=_ATTRIBUTION_HEADERS,
            trust_env=False,  # the transport reads the proxy settings itself
        )
        self._wire = transport

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: Any
    ) -> httpx.Response:
        """Send the request; with `stream` its caller reads the body, and closes the response."""
        response = await self._wire.handle_async_request(request)
        response.request = request
        if not stream:
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response


def open_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """Make the client of one generation of the pipe; whoever makes it closes it."""
    return ApiClient(transport or AiohttpTransport())


def authorize(settings: Settings) -> dict[str, str]:
    """The header that names the account; raises `ApiKeyError` when there is no usable key."""
    key = settings.api_key.reveal()
    if not key:
        raise missing_key()
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ApiKeyError(
            "The OpenRouter API key holds characters that no key has.",
            "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
        )
    return {"Authorization": f"Bearer {key}"}


def vendor_headers(settings: Settings, body: Mapping[str, Any]) -> dict[str, str]:
    """What the vendor of the model wants said in a header."""
    of_anthropic = text_of(body.get("model")).lstrip("~").startswith("anthropic/")
    thinks = as_object(body.get("reasoning")).get("effort") != "none"
    if of_anthropic and thinks and settings.interleaved_thinking:
        return {"x-anthropic-beta": "interleaved-thinking-2025-05-14"}
    return {}


def metadata_headers(body: Mapping[str, Any]) -> dict[str, str]:
    """Ask to be told when OpenRouter shortens the chat."""
    trims = any(each.get("id") == COMPRESSION_PLUGIN for each in objects_in(body.get("plugins")))
    return {"X-OpenRouter-Metadata": "enabled"} if trims else {}


def own_referer(settings: Settings) -> dict[str, str]:
    """The admin's own address of this app, where it can stand in a header."""
    address = settings.http_referer
    is_web = address.lower().startswith(("http://", "https://"))
    fits = address.isascii() and address.isprintable() and " " not in address
    return {"HTTP-Referer": address} if is_web and fits else {}


def missing_key() -> ApiKeyError:
    """What a request, or the list of models, says as long as no key is set."""
    return ApiKeyError(
        "No OpenRouter API key is set.",
        "The admin should enter `API_KEY` in the settings of the OpenRouter function "
        "(Admin Panel > Functions > OpenRouter > gear).",
    )


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
            return ConnectionFailedError(
                f"OpenRouter could not be reached within {settings.connect_timeout:.0f} seconds.",
                "Try again; if it stays so, the admin should check the server's network.",
                request_was_sent=False,
            )
        case httpx.TimeoutException():
            return UpstreamTimeoutError(
                "The answer took longer than the settings allow, or OpenRouter fell silent.",
                "Try again. The admin can raise `HTTP_SOCK_READ_SECONDS` "
                "or `HTTP_TOTAL_TIMEOUT_SECONDS`.",
            )
        case httpx.UnsupportedProtocol():
            return _bad_address(settings)
        case UnknownHostError():
            return ConnectionFailedError(
                f"The server of {_shown(settings.base_url)} cannot be found.",
                "The admin should check `BASE_URL` for a typing error, and the network's DNS.",
                request_was_sent=False,
                name_was_found=False,
            )
        case httpx.ConnectError():
            return ConnectionFailedError(
                f"No connection to {_shown(settings.base_url)}.",
                "Try again; if it stays so, the admin should check `BASE_URL` and the network.",
                request_was_sent=False,
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
            f"{_shown(settings.base_url)} answers with a web page, not as OpenRouter's API does.",
            "The admin should correct `BASE_URL` in the settings of the OpenRouter function.",
        )


def _bad_address(settings: Settings) -> SettingsError:
    return SettingsError(
        f"`BASE_URL` is not an address that can be used: {_shown(settings.base_url)}",
        "The admin should correct it in the settings of the OpenRouter function; "
        "a user name or password in the address is not supported.",
    )


def _shown(base_url: str) -> str:
    """The address without what may be secret in it: credentials and a query."""
    head, _, rest = base_url.partition("?")[0].rpartition("@")
    scheme = head.partition("://")[0] + "://" if "://" in head else ""
    return scheme + rest


################################
# api/catalog.py
#
# What OpenRouter tells outside of answers: its models (`GET /models`), the key (`GET /key`).
################################

Data = TypeVar("Data", list[Any], JsonObject)

# A catalog is one body of about a megabyte: it comes soon or not at all (seconds).
_CATALOG_SECONDS = 30.0
# Without it only models that write are listed.
_OUTPUTS = "text,image"
# Endpoints that serve models of their own, and what those give.
_STUDIOS = {"images": "image", "videos": "video"}
_NOT_MODIFIED = 304
_FEW_MODELS = 25


@dataclass(frozen=True, slots=True)
class CatalogCopy:
    """A catalog as it came: the row of every model that writes, draws or films (schema `Model`)."""

    rows: list[JsonObject]
    etag: str = ""
    """What the server calls this state of its catalog, where it does."""
    zdr_ids: frozenset[str] | None = None
    age: float = 0.0
    """Seconds since it came."""


async def fetch_models(
    client: httpx.AsyncClient, settings: Settings, kept: CatalogCopy | None = None
) -> CatalogCopy:
    """Fetch the catalog, unless the copy at hand is still the newest.

    Raises a `PipeError` that says why there is none.
    """
    of_key = settings.catalog.key_models_only
    path = "/models/user" if of_key else f"/models?output_modalities={_OUTPUTS}"
    known = {"If-None-Match": kept.etag} if kept and kept.etag else {}
    response = await _ask(client, settings, path, known)
    if kept and response.status_code == _NOT_MODIFIED:
        return kept
    rows = objects_in(_data_in(response, settings, list))
    if not of_key:
        ids = {row.get("id") for row in rows}
        lists = await asyncio.gather(*(_fetch_studio(client, settings, name) for name in _STUDIOS))
        rows += [row for listed in lists for row in listed if row.get("id") not in ids]
    return CatalogCopy(rows, response.headers.get("etag", ""))


async def _fetch_studio(
    client: httpx.AsyncClient, settings: Settings, studio: str
) -> list[JsonObject]:
    """The models of an endpoint of its own, marked with its name (`studio`)."""
    try:
        response = await _ask(client, settings, f"/{studio}/models", {})
        rows = objects_in(_data_in(response, settings, list))
    except PipeError as error:  # the others can be used all the same
        LOG.info("catalog: no list of /%s: %s", studio, error.cause)
        return []
    kinds = {"input_modalities": ["text", "image"], "output_modalities": [_STUDIOS[studio]]}
    marks = {"studio": studio, "architecture": kinds}
    frames = "supported_frame_images"
    return [{**row, **marks, "supported_parameters": row.get(frames)} for row in rows]


async def fetch_zdr_ids(client: httpx.AsyncClient, settings: Settings) -> frozenset[str]:
    """Fetch the ids of the models that some provider serves without keeping data."""
    response = await _ask(client, settings, "/endpoints/zdr", {})
    endpoints = objects_in(_data_in(response, settings, list))
    return frozenset(filter(None, (text_of(row.get("model_id")) for row in endpoints)))


async def fetch_provider_slugs(
    client: httpx.AsyncClient, settings: Settings, model_ids: Collection[str] = ()
) -> list[str]:
    """Fetch the names under which a request may ask for a provider, or for none.

    Those of a few models' endpoints (`fireworks/fast`); many would be a request each.
    """
    names: set[str] = set()
    try:
        for model_id in model_ids if len(model_ids) <= _FEW_MODELS else ():
            path = f"/models/{model_id}/endpoints"
            model = _data_in(await _ask(client, settings, path, {}), settings, dict)
            for tag in (text_of(row.get("tag")) for row in objects_in(model.get("endpoints"))):
                names |= {tag, tag.partition("/")[0]}
    except PipeError:
        names.clear()
    if not names:
        rows = objects_in(_data_in(await _ask(client, settings, "/providers", {}), settings, list))
        names = {text_of(row.get("slug")) for row in rows}
    return sorted(names - {""})


async def fetch_credit_left(client: httpx.AsyncClient, settings: Settings) -> float | None:
    """Fetch what is left of the key's limit, in USD; `None` for a key without one."""
    key = _data_in(await _ask(client, settings, "/key", {}), settings, dict)
    return number_of(key.get("limit_remaining"))


async def fetch_usage(client: httpx.AsyncClient, settings: Settings, generation_id: str) -> Usage:
    """Fetch what a request took, some seconds after its end; raises a `PipeError` till then."""
    path = f"/generation?id={quote(generation_id)}"
    found = _data_in(await _ask(client, settings, path, {}), settings, dict)
    upstream = number_of(found.get("upstream_inference_cost")) or 0.0
    return Usage(
        input_tokens=whole_of(found.get("native_tokens_prompt")),
        cached_tokens=whole_of(found.get("native_tokens_cached")),
        output_tokens=whole_of(found.get("native_tokens_completion")),
        reasoning_tokens=whole_of(found.get("native_tokens_reasoning")),
        cost=number_of(found.get("total_cost")),
        is_byok=found.get("is_byok") is True,
        cost_details={"upstream_inference_cost": upstream},
    )


async def _ask(
    client: httpx.AsyncClient, settings: Settings, path: str, headers: Mapping[str, str]
) -> httpx.Response:
    limits = {"connect": settings.connect_timeout, "read": _CATALOG_SECONDS}
    with as_pipe_errors(settings, answering=False):
        return await client.get(
            settings.base_url + path,
            headers={**authorize(settings), **own_referer(settings), **headers},
            extensions={"timeout": {**limits, "total": _CATALOG_SECONDS}},
        )


def _data_in(response: httpx.Response, settings: Settings, kind: type[Data]) -> Data:
    """The `data` of an answer, where it is of the right kind."""
    refuse_web_page(response, settings)
    try:
        data = as_object(decode_json(response.content)).get("data")
    except ValueError as error:
        if response.is_success:
            raise StreamInterruptedError(
                "OpenRouter's answer came only in part.", "Try again in a moment."
            ) from error
        data = None
    if not response.is_success or not isinstance(data, kind):
        raise read_http_error(response, response.content)
    return data


################################
# api/gateway/stream.py
#
# One request, one stream of Events: what both endpoints have in common.
################################

# How long the rest of a finished body may take (seconds) before its connection is cut, not reused.
_DRAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one endpoint is asked and read."""

    path: str
    new_reader: Callable[[], StreamReader]
    answer_field: str
    """The field that a whole answer has and an error has not."""
    read_whole: Callable[[JsonObject], list[Event]]


async def stream_endpoint(
    client: httpx.AsyncClient, settings: Settings, endpoint: Endpoint, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Send the request and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    response = await _open(client, settings, endpoint.path, body)
    try:
        refuse_web_page(response, settings)
        if "json" in response.headers.get("content-type", ""):
            yield await _read_whole_answer(response, settings, endpoint)
            return
        async with aclosing(_read_stream(response, settings, endpoint.new_reader())) as batches:
            async for batch in batches:
                yield batch
    finally:
        await response.aclose()


async def _open(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any]
) -> httpx.Response:
    with as_pipe_errors(settings, answering=False):
        request = client.build_request(
            "POST",
            f"{settings.base_url}{path}",
            content=encode_json({**body, "stream": True}),
            headers={
                **authorize(settings),
                **own_referer(settings),
                **vendor_headers(settings, body),
                **metadata_headers(body),
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "Accept-Encoding": "identity",
            },
            extensions=timeouts(settings),
        )
        log_request(path, body)
        response = await client.send(request, stream=True)
        log_answer(path, response)
        if response.is_success:
            return response
        try:
            content = await response.aread()
        finally:
            await response.aclose()
    raise read_http_error(response, content)


async def _read_whole_answer(
    response: httpx.Response, settings: Settings, endpoint: Endpoint
) -> list[Event]:
    """A JSON body where a stream was asked for: an error under HTTP 200, or the finished answer."""
    with as_pipe_errors(settings, answering=False):
        content = await response.aread()
    try:
        body = as_object(decode_json(content))
    except ValueError:
        body = {}
    if holds_error(body) or not isinstance(body.get(endpoint.answer_field), list):
        raise read_http_error(response, content)
    return endpoint.read_whole(body)


async def _read_stream(
    response: httpx.Response, settings: Settings, reader: StreamReader
) -> AsyncGenerator[list[Event]]:
    encoded = "content-encoding" in response.headers
    chunks = cast(
        "AsyncGenerator[bytes]", response.aiter_bytes() if encoded else response.aiter_raw()
    )
    gather: Callable[[], Awaitable[None]] | None = response.extensions.get("gather")
    try:
        with as_pipe_errors(settings, answering=True):
            async with aclosing(chunks):
                async for chunk in chunks:
                    if batch := reader.feed(chunk):
                        yield batch
                    if reader.finished:
                        await _drain(chunks)
                        return
                    if gather is not None and shows_text(batch):
                        await gather()
        if batch := reader.end():
            yield batch
    except PipeError as error:
        if not reader.finished:
            yield _broken_off(reader, error)


def _broken_off(reader: StreamReader, error: PipeError) -> list[Event]:
    """What had arrived and was not given out yet, and why no more comes, unless that was all."""
    events = reader.end()
    if isinstance(end := events[-1], ResponseFailed):
        end.error = error
    return events


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    """Read to the end of the body, so that the connection can serve the next request."""
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            async for _ in chunks:
                pass
    except TimeoutError:
        LOG.debug("the body went on after its last event; its connection is closed")


################################
# api/gateway/chat_completions.py
#
# `POST /chat/completions`: for what the Responses API cannot carry; the same Events come out.
################################

_CHAT_COMPLETIONS = Endpoint("/chat/completions", ChatReader, "choices", read_finished_completion)


def stream_chat_completions(
    client: httpx.AsyncClient, settings: Settings, body: ChatBody
) -> AsyncGenerator[list[Event]]:
    """Ask `/chat/completions` and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    messages = objects_in(body.get("messages"))
    notes = [note for each in messages for note in objects_in(each.get("annotations"))]
    reader = partial(ChatReader, frozenset(map(hash_of_file, notes)))
    endpoint = replace(_CHAT_COMPLETIONS, new_reader=reader)
    return stream_endpoint(client, settings, endpoint, body)


################################
# api/gateway/images.py
#
# `POST /images`: for models that only draw, and that chats' endpoints do not know.
################################

async def stream_images(
    client: httpx.AsyncClient, settings: Settings, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Have pictures drawn, seen half drawn where the provider streams them."""
    yield [Working("The picture is being drawn.")]
    async with aclosing(stream_endpoint(client, settings, _IMAGES, body)) as batches:
        async for batch in batches:
            yield batch


def read_finished_images(body: JsonObject) -> list[Event]:
    """Read the pictures that came whole."""
    reader = ImagesReader()
    events = [event for data in objects_in(body.get("data")) for event in reader.read_chunk(data)]
    reader.read_chunk({"usage": body.get("usage")})
    return [*events, *reader.finish(done=True)]


class ImagesReader(ChatReader):
    """Reads one stream of pictures; usage, errors and its end are those of chat completions."""

    def read_chunk(self, data: JsonObject) -> list[Event]:
        """The Events of one object of the stream."""
        picture = text_of(data.get("b64_json"))
        if picture and data.get("type") == "image_generation.partial_image":
            return [PictureSketched(0, picture_address(picture))]
        image = {"image_url": {"url": picture_address(picture)}}
        choice = {"delta": {"images": [image] if picture else []}}
        return super().read_chunk({**data, "choices": [choice]})


_IMAGES = Endpoint("/images", ImagesReader, "data", read_finished_images)


################################
# api/gateway/responses.py
#
# `POST /responses`: a request body in, Events out.
################################

_RESPONSES = Endpoint("/responses", ResponsesReader, "output", read_finished_answer)


def stream_responses(
    client: httpx.AsyncClient, settings: Settings, body: ResponsesBody
) -> AsyncGenerator[list[Event]]:
    """Ask `/responses` and yield the Events of each network read.

    The last batch ends with `ResponseFinished` or `ResponseFailed`. Raises a `PipeError` only
    before the first batch.
    """
    return stream_endpoint(client, settings, _RESPONSES, body)


################################
# api/gateway/videos.py
#
# `POST /videos`: a job, asked after until its video can be fetched.
################################

LARGEST_VIDEO_BYTES = 256 * 1024 * 1024
_FIRST_POLL_SECONDS = 3.0
_LONGEST_POLL_SECONDS = 20.0
_POLL_GROWTH = 1.3
_PATIENCE_SECONDS = 3_600.0
# How often in a row nobody may know how the job goes.
_MOST_DEAF_POLLS = 6
_JSON = {"Content-Type": "application/json"}
_STATES = {
    "pending": "The video waits for its turn.",
    "in_progress": "The video is being made.",
    "completed": "The video is being fetched.",
}


async def stream_video(
    client: httpx.AsyncClient, settings: Settings, body: Mapping[str, Any]
) -> AsyncGenerator[list[Event]]:
    """Have a video made; the first Event names the job. Raises a `PipeError` before it only."""
    job = await _ask_job(client, settings, "/videos", body)
    job_id, model = text_of(job.get("id")), text_of(body.get("model"))
    # From its item on nothing is asked for twice: the job costs.
    yield [ResponseStarted(job_id, model), ItemStarted(0, MediaItem("", "video"))]
    yield [Working(_STATES["pending"])]
    await asyncio.sleep(_FIRST_POLL_SECONDS)
    async with aclosing(follow_video(client, settings, job_id, model)) as batches:
        async for batch in batches:
            yield batch


async def follow_video(
    client: httpx.AsyncClient, settings: Settings, job_id: str, model: str
) -> AsyncGenerator[list[Event]]:
    """Ask how the job goes until its end; then the video, and what it cost."""
    usual, waited, failures, usage = _FIRST_POLL_SECONDS, 0.0, 0, None
    while waited < _PATIENCE_SECONDS:
        pause = usual = min(usual * _POLL_GROWTH, _LONGEST_POLL_SECONDS)
        try:
            job = await _ask_job(client, settings, f"/videos/{job_id}")
            status, usage = text_of(job.get("status")), read_usage(job.get("usage"))
            if status not in _STATES:
                yield [ResponseFailed(_no_video(job, status), usage)]
                return
            yield [Working(_STATES[status])]
            if status == "completed":
                video = MediaItem("", "video", await _fetch_video(client, settings, job_id))
                yield [ItemFinished(0, video), ResponseFinished(job_id, model, usage)]
                return
            failures = 0
        except PipeError as error:
            failures += 1
            if failures >= _MOST_DEAF_POLLS or not _may_still_come(error):
                yield [ResponseFailed(error, usage)]
                return
            LOG.info("videos: %s", error.cause)
            if isinstance(error, OpenRouterAPIError):
                pause = max(pause, min(error.failure.retry_after or 0.0, _PATIENCE_SECONDS))
        await asyncio.sleep(pause)
        waited += pause
    yield [ResponseFailed(UpstreamTimeoutError("The video took longer than an hour."))]


def _no_video(job: JsonObject, status: str) -> PipeError:
    words = text_of(job.get("error")) or f"The video job was {status}."
    return OpenRouterAPIError(ApiFailure(message=words, may_pass=False))


def _may_still_come(error: PipeError) -> bool:
    """Whether the same question may be answered later: a lost connection, an overloaded server."""
    if isinstance(error, OpenRouterAPIError):
        status = error.failure.status or 500
        return status >= 500 or status in (408, 429)
    return not isinstance(error, FileNotStoredError)


async def _ask_job(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any] | None = None
) -> JsonObject:
    """The job, as the API describes it."""
    with as_pipe_errors(settings, answering=False):
        response = await client.send(_request_for(client, settings, path, body))
    refuse_web_page(response, settings)
    try:
        job = as_object(decode_json(response.content))
    except ValueError:
        job = {}
    if not response.is_success or not job.get("id"):
        raise read_http_error(response, response.content)
    return job


def _request_for(
    client: httpx.AsyncClient, settings: Settings, path: str, body: Mapping[str, Any] | None = None
) -> httpx.Request:
    return client.build_request(
        "GET" if body is None else "POST",
        settings.base_url + path,
        content=None if body is None else encode_json(body),
        headers={**authorize(settings), **own_referer(settings), **_JSON},
        extensions=timeouts(settings),
    )


async def _fetch_video(client: httpx.AsyncClient, settings: Settings, job_id: str) -> bytearray:
    with as_pipe_errors(settings, answering=False):
        request = _request_for(client, settings, f"/videos/{job_id}/content?index=0")
        response = await client.send(request, stream=True)
        try:
            if not response.is_success:
                raise read_http_error(response, await response.aread())
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > LARGEST_VIDEO_BYTES:
                    raise FileNotStoredError("The video is too large to be stored.")
            return content
        finally:
            await response.aclose()


################################
# host/blocking.py
#
# Python tools written without `async`: run off the event loop, which they would hold up.
################################

_THREAD_NAME = "openrouter-tool"
_MOST_THREADS = 500
"""In one process; a tool that never ends keeps its own."""


def is_blocking(function: Any) -> bool:
    """Whether Open WebUI's coroutine only wraps a plain function (`utils/tools.py`)."""
    wrapped = getattr(function, "__function__", None)
    return wrapped is not None and not inspect.iscoroutinefunction(wrapped)


async def call_off_loop(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Run the wrapped function in a thread of its own, so that a stuck one takes none away.

    Cancelled, this waits no longer; the thread cannot be ended and runs out by itself. Raises
    `RuntimeError` where too many have not.
    """
    if sum(thread.name == _THREAD_NAME for thread in threading.enumerate()) >= _MOST_THREADS:
        raise RuntimeError(
            f"{_MOST_THREADS} Python tools run or hang already. "
            "If they hang, the admin should restart the server."
        )
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[Any] = loop.create_future()
    context = copy_context()

    def deliver(result: Any, error: BaseException | None) -> None:
        if outcome.done():
            return
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)

    def work() -> None:
        result, error = None, None
        try:
            result = context.run(_run_through, function, arguments)
        except BaseException as raised:  # noqa: BLE001 - a tool is contained
            error = raised if isinstance(raised, Exception) else RuntimeError(repr(raised))
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=work, name=_THREAD_NAME, daemon=True).start()
    result = await outcome
    return await result if inspect.isawaitable(result) else result


def _run_through(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Step the wrapper to its end at once: it awaits nothing."""
    coroutine = function(**arguments)
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    coroutine.close()
    raise RuntimeError("It waits for something that only the server's event loop can give it.")


################################
# host/columns.py
#
# Side-by-side chats: each column is asked with the parameters of its own model.
#
# Open WebUI builds one request, with the parameters of the first column's model, and sends it to
# every model (`main.py`, `chat_completion`). What another column's admin settings say is filled in
# only where the first column's left a gap.
################################

# Settings of Open WebUI itself, which it takes out before a body goes anywhere.
_HOST_PARAMETERS = frozenset(
    {
        "custom_params",
        "stream_response",
        "stream_delta_chunk_size",
        "function_calling",
        "reasoning_tags",
        "compact_token_threshold",
        "system",
        "note_id",
        "tool_approval_mode",
        "model_controls",
    }
)
_NEVER_PARAMETERS = frozenset({"model", "messages", "stream", "tools", "metadata"})


async def with_own_parameters(body: Mapping[str, Any], handles: HostHandles) -> Mapping[str, Any]:
    """The body without what it inherited from another column, and with what its own model has.

    What the chat itself has set stays. Nearly every call is no such column and costs nothing.
    """
    metadata = handles.metadata
    first = text_of(as_object(metadata.get("model")).get("id"))
    own = text_of(metadata.get("model_id"))
    if not first or not own or first == own:
        return body
    try:
        inherited, replacing = await _parameters_of(first, own)
    except Exception:  # noqa: BLE001 - whatever the host's tables do, the column gets its answer
        LOG.exception("columns: the parameters of %s could not be read", own)
        return body
    return replace_inherited(body, inherited, replacing)


def replace_inherited(
    body: Mapping[str, Any], inherited: Mapping[str, Any], own: Mapping[str, Any]
) -> JsonObject:
    """Put a model's own parameters in the place of those that came with another one's request."""
    replaced = dict(body)
    for name, value in inherited.items():
        if name in _NEVER_PARAMETERS or name not in body or body[name] != value:
            continue
        if name in own:
            replaced[name] = own[name]
        else:
            del replaced[name]
    return replaced


async def _parameters_of(first: str, own: str) -> tuple[JsonObject, JsonObject]:
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]

    # The list of models in `app.state` does not tell their parameters, only the table does.
    common, *models = await asyncio.gather(
        Config.get("models.default_params"),
        Models.get_model_by_id(first),
        Models.get_model_by_id(own),
    )
    defaults = flat_parameters(common)
    inherited, replacing = (
        {**defaults, **flat_parameters(model.params.model_dump() if model else None)}
        for model in models
    )
    return inherited, replacing


def flat_parameters(parameters: Any) -> JsonObject:
    """Parameters as they stand in a body: custom ones among the others, JSON texts read."""
    stored = as_object(parameters)
    flat = {
        name: value
        for name, value in stored.items()
        if name not in _HOST_PARAMETERS and value is not None
    }
    for name, value in as_object(stored.get("custom_params")).items():
        flat[name] = value
        if isinstance(value, str):
            with suppress(ValueError):
                flat[name] = decode_json(value)
    return flat


def is_switched_on(value: Any) -> bool:
    """Whether a parameter says yes, also where a settings form made text of it."""
    return str(value).strip().casefold() in ("true", "1", "on", "yes")


################################
# host/data_folder.py
#
# The folder in which Open WebUI keeps its data.
################################

def own_file(name: str, function_id: str) -> Path | None:
    """Where one installed copy may keep a file; `None` outside of Open WebUI."""
    try:
        from open_webui.env import DATA_DIR  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return Path(DATA_DIR) / "openrouter" / f"{re.sub(r'[^0-9A-Za-z_]', '_', function_id)}-{name}"


################################
# host/database.py
#
# Open WebUI's database: tables of our own beside its, through its own engine and schema.
################################

LONGEST_TEXT = 255
"""Characters in a column of text."""

Stepped = TypeVar("Stepped")

FindEngine = Callable[[], "AsyncEngine | None"]


def find_engine() -> AsyncEngine | None:
    """Open WebUI's engine, which puts our tables into its schema; `None` outside of it."""
    try:
        from open_webui.env import DATABASE_SCHEMA  # pyright: ignore[reportMissingImports]
        from open_webui.internal.db import async_engine  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    if not DATABASE_SCHEMA:
        return async_engine
    return async_engine.execution_options(schema_translate_map={None: DATABASE_SCHEMA})


def storable_text(text: str) -> str:
    """A text that every database takes: a row that one refuses keeps out all that come after it."""
    return text.replace("\0", "")[:LONGEST_TEXT].encode("utf-8", "replace").decode()


async def whole_step(step: Coroutine[Any, Any, Stepped]) -> Stepped:
    """What the step gives; cancelled in the middle it would leave a connection behind."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


class OwnTable:
    """One table of ours, made when it is first used; after a failure it is looked for again."""

    def __init__(self, table: Table, find: FindEngine = find_engine) -> None:
        self._table = table
        self._find = find
        self._is_there = False

    @property
    def has_database(self) -> bool:
        """Whether there is a database at all: there is none outside of Open WebUI."""
        return self._find() is not None

    async def exists(self) -> bool:
        """Whether some worker has made it; nothing is made. Raises as `begin` does."""
        engine = self._find()
        if engine is not None and not self._is_there:
            async with engine.connect() as connection:
                self._is_there = await connection.run_sync(self._is_in)
        return self._is_there

    def _is_in(self, connection: Connection) -> bool:
        schema = connection.schema_for_object(self._table)
        return connection.dialect.has_table(connection, self._table.name, schema)

    @asynccontextmanager
    async def begin(self) -> AsyncGenerator[AsyncConnection]:
        """One transaction: kept at the end of the block, undone where that raises.

        Raises `SQLAlchemyError` where the database does not do its work.
        """
        engine = self._find()
        if engine is None:
            raise LookupError("There is no database outside of Open WebUI.")
        if not self._is_there:
            await self._make(engine)
        try:
            async with engine.begin() as connection:
                yield connection
        except DBAPIError:
            self._is_there = False
            raise

    async def _make(self, engine: AsyncEngine) -> None:
        for is_last in (False, False, True):  # another worker may make it at the same moment
            try:
                async with engine.begin() as connection:
                    await connection.run_sync(self._table.create, checkfirst=True)
                break
            except DBAPIError:
                if is_last:
                    raise
        self._is_there = True


################################
# host/departure.py
#
# The caller of a whole answer who hangs up: Open WebUI itself does not notice it.
################################

Awaited = TypeVar("Awaited")

_LOOK_SECONDS = 1.0


async def unless_hung_up(
    handles: HostHandles, work: Coroutine[Any, Any, Awaited]
) -> Awaited | None:
    """What the work gives; it is stopped, and `None` comes, when the caller has hung up.

    A request whose answer is out already, as that of a chat in the background, looks just like
    one that was hung up: it is not watched.
    """
    if await _has_hung_up(handles):
        return await work
    task = asyncio.create_task(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=_LOOK_SECONDS)
            if not task.done() and await _has_hung_up(handles):
                return None
        return task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _has_hung_up(handles: HostHandles) -> bool:
    is_disconnected = getattr(handles.request, "is_disconnected", None)
    return is_disconnected is not None and await is_disconnected()


################################
# host/events.py
#
# What the page is told beside the stream of the answer.
################################

async def send_event(handles: HostHandles, kind: str, data: JsonObject) -> None:
    """Send one event to the message's page; where there is none, nothing happens."""
    if handles.event_emitter is not None:
        await handles.event_emitter({"type": kind, "data": data})


def emitter_for(metadata: Mapping[str, str]) -> EventCall:
    """An emitter to the pages of a message's author, where no call has brought one."""

    async def emit(event: dict[str, Any]) -> None:
        from open_webui.socket.main import (  # pyright: ignore[reportMissingImports]
            get_event_emitter,
        )

        emitter = await get_event_emitter(dict(metadata))
        if emitter is not None:
            await emitter(event)

    return emit


################################
# host/chats.py
#
# The chat an answer belongs to: its files, and what its answers have taken.
################################

# Temporary chats (the second prefix is the older one) and channels (`utils/chat_id.py`).
_WITHOUT_ROW = ("temporary:", "local:", "channel:")


def is_saved_chat(chat_id: str) -> bool:
    """Whether the chat has a row in the database."""
    return bool(chat_id) and not chat_id.startswith(_WITHOUT_ROW)


async def link_file(context: RequestContext, file_id: str) -> None:
    """Let everyone who may read the chat read the file: people it is shared with, above all."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    await Chats.insert_chat_files(context.chat_id, context.message_id, [file_id], context.user_id)


async def add_message_files(
    context: RequestContext, files: Sequence[JsonObject]
) -> list[JsonObject]:
    """Save the files with the message; gives all it has now, empty where there is no message."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    return objects_in(
        await Chats.add_message_files_by_id_and_message_id(
            context.chat_id, context.message_id, list(files)
        )
    )


async def read_message_files(context: RequestContext) -> list[tuple[str, list[JsonObject]]]:
    """Role and files of each message up to the one that is answered, oldest first.

    Only these columns are read. What the page sends along is the newest message itself.
    """
    metadata = context.host.metadata
    newest = as_object(metadata.get("user_message"))
    chain = [("user", objects_in(newest.get("files")))]
    if not newest.get("parentId") or not is_saved_chat(context.chat_id):
        return chain
    try:
        from open_webui.internal.db import (  # pyright: ignore[reportMissingImports]
            get_async_db_context,
        )
        from open_webui.models.chat_messages import (  # pyright: ignore[reportMissingImports]
            ChatMessage,
        )

        columns = (ChatMessage.id, ChatMessage.parent_id, ChatMessage.role, ChatMessage.files)
    except (ImportError, AttributeError):
        return chain
    async with get_async_db_context() as session:
        chosen: Any = select(*columns).where(ChatMessage.chat_id == context.chat_id)
        rows = {row[0]: row[1:] for row in (await session.execute(chosen)).all()}
    parent: Any = newest.get("parentId")
    while row := rows.pop(f"{context.chat_id}-{parent}", None):
        parent, role, files = row
        chain.append((role, objects_in(files)))
    return chain[::-1]


async def has_message(context: RequestContext) -> bool:
    """Whether the message is still there; it may have been deleted meanwhile."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    find = Chats.get_message_by_id_and_message_id
    return bool(await find(context.chat_id, context.message_id))


async def finish_message(context: RequestContext, ended: JsonObject, failure: str) -> None:
    """End a message whose stream is long gone, in the database and in the pages that show it."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    error = {"error": {"content": failure}} if failure else {}
    save = Chats.upsert_message_to_chat_by_id_and_message_id
    await save(context.chat_id, context.message_id, {**ended, **error})
    await send_event(context.host, "chat:completion", ended)
    if error:
        await send_event(context.host, "chat:message:error", error)


async def read_saved_usage(context: RequestContext) -> list[JsonObject]:
    """The usage saved with each answer of the chat; an empty object where there is none.

    Only that column is read: the answers themselves may be megabytes.
    """
    from open_webui.internal.db import (  # pyright: ignore[reportMissingImports]
        get_async_db_context,
    )
    from open_webui.models.chat_messages import (  # pyright: ignore[reportMissingImports]
        ChatMessage,
    )

    answers: Any = select(ChatMessage.id, ChatMessage.usage).where(
        ChatMessage.chat_id == context.chat_id, ChatMessage.role == "assistant"
    )
    async with get_async_db_context() as session:
        rows = (await session.execute(answers)).all()
    # The row of the answer that is being given has usage only where it continues an older one.
    own = f"{context.chat_id}-{context.message_id}"
    return [as_object(usage) for row_id, usage in rows if usage or row_id != own]


################################
# host/functions.py
#
# Open WebUI's functions: the companion filters among them, which the pipe installs.
#
# What was written is remembered, as a digest, in the function's `meta`. A text that differs from
# it is the admin's. Neither the page of functions nor its editor takes foreign keys out of `meta`.
################################

_WRITTEN = "openrouter_pipe"
# Of the database and of the host: another worker was faster, an admin has just deleted it.
_WRITE_REFUSALS = (SQLAlchemyError, HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class StoredFilter:
    """One row of the table of functions."""

    id: str
    text: str
    meta: JsonObject

    @property
    def is_ours(self) -> bool:
        """Whether the pipe has installed it, whatever became of its text."""
        return _WRITTEN in self.meta

    @property
    def is_unedited(self) -> bool:
        """Whether it still is what the pipe has written."""
        return self.meta.get(_WRITTEN) == _digest_of(self.text)


async def read_filters(ids: Iterable[str]) -> dict[str, StoredFilter] | None:
    """Read the functions of these ids that there are; `None` outside of a host."""
    try:
        from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    rows = await Functions.get_functions_by_ids(list(ids))
    return {row.id: StoredFilter(row.id, row.content, row.meta.model_dump()) for row in rows}


async def insert_filter(filter_id: str, text: str) -> bool:
    """Install a filter and switch it on; whether it is there now."""
    from open_webui.models.functions import (  # pyright: ignore[reportMissingImports]
        FunctionForm,
        Functions,
    )
    from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]

    owner = await Users.get_super_admin_user()
    if owner is None:
        return False
    meta = _meta_of(text)
    manifest = meta["manifest"]
    form = FunctionForm(
        id=filter_id,
        name=text_of(manifest.get("title")) or filter_id,
        content=text,
        # Open WebUI sets this when a filter is saved on its page; so do all of ours in `__init__`.
        meta={**meta, "description": text_of(manifest.get("description")), "toggle": True},
    )
    try:
        if await Functions.insert_new_function(owner.id, "filter", form) is None:
            return False
        await Functions.update_function_by_id(filter_id, {"is_active": True})
    except _WRITE_REFUSALS as error:
        LOG.debug("functions: %s was not installed: %s", filter_id, error)
        return False
    LOG.info("functions: the filter %s was installed", filter_id)
    return True


async def update_filter(stored: StoredFilter, text: str) -> None:
    """Write a newer text; name, description and switches stay as they are."""
    from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]

    try:
        await Functions.update_function_by_id(
            stored.id, {"content": text, "meta": {**stored.meta, **_meta_of(text)}}
        )
    except _WRITE_REFUSALS as error:
        LOG.debug("functions: %s was not updated: %s", stored.id, error)


def _meta_of(text: str) -> dict[str, Any]:
    from open_webui.utils.plugin import (  # pyright: ignore[reportMissingImports]
        extract_frontmatter,
    )

    return {"manifest": extract_frontmatter(text), _WRITTEN: _digest_of(text)}


def _digest_of(text: str) -> str:
    return blake2s(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


################################
# host/kept_ids.py
#
# Lists of ids that the pipe remembers in Open WebUI's configuration.
#
# There they outlive a restart, are the same for every worker, and travel with an export of it.
################################

_KEPT_UNDER = "openrouter_pipe.{}"


async def read_kept_ids(name: str) -> frozenset[str]:
    """Read the ids that `keep_ids` has kept under a name."""
    from open_webui.internal.db import get_async_db  # pyright: ignore[reportMissingImports]
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]

    # `Config.get` and `upsert` keep nothing where ENABLE_PERSISTENT_CONFIG is off.
    async with get_async_db() as database:
        kept = await database.get(Config, _KEPT_UNDER.format(name))
    return frozenset(kept.value) if kept is not None else frozenset()


async def keep_ids(name: str, ids: Iterable[str]) -> None:
    """Keep these ids under a name, in place of those kept before."""
    from open_webui.internal.db import get_async_db  # pyright: ignore[reportMissingImports]
    from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]

    row = Config(key=_KEPT_UNDER.format(name), value=sorted(ids), updated_at=int(time.time()))
    async with get_async_db() as database:
        await database.merge(row)
        await database.commit()


################################
# host/middleware.py
#
# The parts of Open WebUI's chat middleware that the pipe uses, each by its name.
################################

def middleware_part(name: str) -> Any:
    """A part of the host's chat middleware; `None` where this version has none of that name."""
    try:
        from open_webui.utils import middleware  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return getattr(middleware, name, None)


################################
# host/citing.py
#
# The numbers by which an answer cites what its tools found, as Open WebUI's page counts them.
################################

@dataclass(slots=True)
class SourceNumbers:
    """The numbers given so far in one answer: those of the chat's files, then those of tools."""

    handles: HostHandles
    numbers: dict[str, int] = field(default_factory=dict[str, int])

    async def describe(self, sources: Sequence[JsonObject], question: str) -> tuple[str, str]:
        """Tags that number the sources, and how to cite by them, where the model has not read it.

        Both are empty where the host does not say.
        """
        try:
            number = middleware_part("get_source_context")
            if not self.numbers:  # the chat's files came with the host's words on citing
                number(objects_in(self.handles.metadata.get("sources")), self.numbers)
            is_explained = bool(self.numbers)
            tags = number(sources, self.numbers, include_content=False).strip()
            if is_explained or not tags:
                return tags, ""
            template = await middleware_part("Config").get("rag.template")
            return tags, await middleware_part("rag_template")(template, tags, question)
        except Exception as error:  # noqa: BLE001 - a tool's sources are contained
            LOG.warning("tools: sources have no numbers for the model: %s", trace_of(error))
            return "", ""


################################
# host/redis.py
#
# Open WebUI's Redis, where it has one: alone, behind sentinels, or a cluster.
################################

_REDIS_PATIENCE_SECONDS = 0.5
_REDIS_REST_SECONDS = 10.0
"""After a failure nobody waits for it so long."""

RedisAnswer = TypeVar("RedisAnswer")


def find_redis() -> Any:
    """The asyncio client that Open WebUI's own configuration makes; `None` without one.

    It is shared with Open WebUI, which closes it; what it reads is decoded as text.
    """
    try:
        from open_webui.utils.redis import get_redis_client  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    return get_redis_client(async_mode=True)


def redis_key(*parts: str) -> str:
    """A key of ours beside Open WebUI's; one part in braces chooses the node of a cluster."""
    try:
        from open_webui.env import REDIS_KEY_PREFIX  # pyright: ignore[reportMissingImports]
    except ImportError:
        REDIS_KEY_PREFIX = "open-webui"
    return ":".join((REDIS_KEY_PREFIX, "or_pipe", *parts))


class SharedRedis:
    """Open WebUI's Redis for those who can do without: nothing raises, and nobody waits for long.

    Each use of it fails, rests and recovers for itself; the first failure is told, then the end of
    the last one.
    """

    def __init__(self) -> None:
        self._rests_until: defaultdict[str, float] = defaultdict(float)
        self._failing: set[str] = set()

    def may_be_asked(self, use: str) -> bool:
        """Whether there is one that does not rest from a failure of this use."""
        return find_redis() is not None and time.monotonic() >= self._rests_until[use]

    async def ask(
        self,
        use: str,
        work: Callable[[Any], Awaitable[RedisAnswer]],
        patience: float = _REDIS_PATIENCE_SECONDS,
    ) -> RedisAnswer | None:
        """What the work with the client gives; `None` where there is no Redis that does it."""
        if not self.may_be_asked(use):
            return None
        try:
            async with asyncio.timeout(patience):
                answer = await work(find_redis())
        except Exception as error:  # noqa: BLE001 - whatever it is, there is a way without Redis
            self._rests_until[use] = time.monotonic() + _REDIS_REST_SECONDS
            if not self._failing:
                LOG.warning("redis: %s fails, the pipe does without: %s", use, _redis_fault(error))
            self._failing.add(use)
            return None
        if use in self._failing:
            self._failing.remove(use)
            if not self._failing:
                LOG.info("redis: it works again")
        return answer

    async def send(self, use: str, fill: Callable[[Any], object]) -> bool:
        """Whether the commands that `fill` puts into a pipeline are carried out."""

        async def work(client: Any) -> bool:
            pipeline = client.pipeline(transaction=False)
            fill(pipeline)
            await pipeline.execute()
            return True

        return bool(await self.ask(use, work))


def _redis_fault(error: Exception) -> str:
    """What went wrong, without the command that redis-py puts before it: that holds payloads."""
    text = str(error).rpartition("caused error: ")[2]
    return f"{type(error).__name__}: {text[:200]}"


################################
# host/single_worker.py
#
# One worker at a time, where Open WebUI runs several: they have its Redis in common.
################################

_LOCK_PATIENCE_SECONDS = 2.0

# A job that took too long has lost its lock, and another worker may hold it.
_DELETE_OWN = "if redis.call('get',KEYS[1])==ARGV[1] then return redis.call('del',KEYS[1]) end"


@asynccontextmanager
async def only_worker(job: str, seconds: int) -> AsyncGenerator[bool]:
    """Whether this worker may do the job now; `seconds` bound how long a dead one blocks it.

    Without a Redis, or with one that does not answer, every worker may.
    """
    client, key, token = find_redis(), redis_key("job", job), token_hex(16)
    if client is None:
        yield True
        return
    try:
        async with asyncio.timeout(_LOCK_PATIENCE_SECONDS):
            is_ours = bool(await client.set(key, token, nx=True, ex=seconds))
    except (RedisError, OSError) as error:
        LOG.debug("redis: %s is not locked: %s", job, error)
        yield True
        return
    try:
        yield is_ours
    finally:
        if is_ours:
            with suppress(RedisError, OSError):
                async with asyncio.timeout(_LOCK_PATIENCE_SECONDS):
                    await client.eval(_DELETE_OWN, 1, key, token)


################################
# host/users.py
#
# The person who asks, and what they have set for themselves.
################################

def user_of(handles: HostHandles) -> Any:
    """Open WebUI's user object, as the sign-in left it (`utils/auth.py`); `None` without one."""
    return getattr(getattr(handles.request, "state", None), "user", None)


def user_id_of(handles: HostHandles) -> str:
    """The id of the person who asks; empty where nobody does."""
    return text_of(handles.metadata.get("user_id")) or text_of(
        getattr(user_of(handles), "id", None)
    )


def is_admin(handles: HostHandles) -> bool:
    """Whether an administrator asks."""
    return text_of(getattr(user_of(handles), "role", None)) == "admin"


async def load_user(handles: HostHandles) -> Any:
    """The user object of the person who asks, from the sign-in or else the database."""
    user, user_id = user_of(handles), user_id_of(handles)
    if not user_id or (user is not None and text_of(getattr(user, "id", None)) == user_id):
        return user
    try:
        from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]
    except ImportError:
        return user
    return await Users.get_user_by_id(user_id)


async def read_personal_valves(handles: HostHandles, function_id: str) -> PersonalValves | None:
    """What the user has chosen; `None` where that is nothing.

    The settings came with the sign-in. To have Open WebUI hand them over as `__user__["valves"]`
    would cost a query of the database with every call (`functions.py`, `get_function_params`).
    """
    user = user_of(handles)
    if user is None or text_of(getattr(user, "id", None)) != user_id_of(handles):
        stored = await _query_valves(function_id, user_id_of(handles))
    else:
        functions = as_object(getattr(getattr(user, "settings", None), "functions", None))
        stored = _decrypted(as_object(functions.get("valves")).get(function_id))
    return PersonalValves(**{str(name): stored[name] for name in stored}) if stored else None


async def _query_valves(function_id: str, user_id: str) -> Mapping[str, Any]:
    """Ask the database, where a call comes without a sign-in: an automation, a sub-agent."""
    if not user_id:
        return {}
    try:
        from open_webui.models.functions import Functions  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return as_object(await Functions.get_user_valves_by_id_and_user_id(function_id, user_id))


def _decrypted(stored: Any) -> Mapping[str, Any]:
    """The values; where the server encrypts valves they are one token (`utils/valves.py`)."""
    if not isinstance(stored, str):
        return as_object(stored)
    try:
        from open_webui.utils.valves import (  # pyright: ignore[reportMissingImports]
            decrypt_valves,
        )
    except ImportError:
        LOG.warning("users: encrypted personal settings cannot be read and were left out")
        return {}
    return as_object(decrypt_valves(stored))


def contact_of(handles: HostHandles) -> tuple[str, str]:
    """Email address and name of the person who asks; empty where the sign-in does not tell."""
    user = user_of(handles)
    return text_of(getattr(user, "email", None)), text_of(getattr(user, "name", None))


async def read_user_names(user_ids: Sequence[str]) -> dict[str, str]:
    """Name and address of users by their ids; of those who are gone there is none."""
    try:
        from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    users = await Users.get_users_by_user_ids(list(user_ids))
    return {text_of(user.id): f"{user.name} ({user.email})" for user in users}


async def read_groups(user_id: str) -> dict[str, frozenset[str]]:
    """The ids of the members of each group the user is in, by the group's name."""
    try:
        from open_webui.models.groups import Groups  # pyright: ignore[reportMissingImports]
    except ImportError:
        return {}
    return {
        group.name: frozenset(await Groups.get_group_user_ids_by_id(group.id) or ())
        for group in await Groups.get_groups_by_member_id(user_id)
    }


################################
# host/call.py
#
# One call of the pipe, as Open WebUI makes it: who, which message, and the form of the answer.
################################

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
    hand_over: HandOver
    form: AnswerForm
    handles: HostHandles

    @property
    def is_live(self) -> bool:
        """Whether a message of a chat waits for the answer."""
        return bool(self.chat_id and self.message_id)

    @property
    def is_in_channel(self) -> bool:
        """Whether the answer goes into a channel, which shows its text and nothing else."""
        return self.chat_id.startswith("channel:")


def read_call(body: Mapping[str, Any], handles: HostHandles, task: Any = None) -> HostCall:
    """Read what Open WebUI hands over (`functions.py`, `generate_function_chat_completion`)."""
    metadata = handles.metadata
    function_id, _, host_model_id = text_of(body.get("model")).partition(".")
    chat_id, message_id = text_of(metadata.get("chat_id")), text_of(metadata.get("message_id"))
    if not body.get("stream"):
        form = AnswerForm.COMPLETION_DICT
    elif chat_id and message_id and not task:
        form = AnswerForm.CHAT_EVENTS
    else:
        form = AnswerForm.COMPLETION_CHUNKS
    return HostCall(
        body=body,
        function_id=function_id,
        host_model_id=host_model_id,
        user_id=user_id_of(handles),
        session_id=text_of(metadata.get("session_id")),
        chat_id=chat_id,
        message_id=message_id,
        task=text_of(task),
        # A chore may come with the metadata of the chat it is done for.
        hand_over=NOTHING_HANDED_OVER if task else read_hand_over(metadata),
        form=form,
        handles=handles,
    )


################################
# host/files.py
#
# Files of Open WebUI: what a user has uploaded, or a model has made for them.
################################

@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as Open WebUI knows it."""

    id: str
    name: str

    @property
    def url(self) -> str:
        """Its address on the same server, for whoever is signed in."""
        return f"/api/v1/files/{self.id}/content"


async def store_file(
    context: RequestContext, content: bytes, name: str, media_type: str
) -> StoredFile:
    """Store a file for the person who asks; raises `FileNotStoredError` with the host's reason."""
    user = await load_user(context.host)
    if user is None:
        raise FileNotStoredError("The file belongs to nobody: the call names no user.")
    return await _upload(
        file=UploadFile(BytesIO(content), filename=name, headers=_headers(media_type)),
        request=context.host.request,
        metadata={"chat_id": context.chat_id, "message_id": context.message_id},
        user=user,
    )


async def remove_file(file_id: str) -> None:
    """Delete a file that was of use for a moment only."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]
    from open_webui.storage.provider import Storage  # pyright: ignore[reportMissingImports]

    file = await Files.get_file_by_id(file_id)
    if file is not None and await Files.delete_file_by_id(file_id):
        await asyncio.to_thread(Storage.delete_file, file.path)


def _headers(media_type: str) -> Headers:
    return Headers({"content-type": media_type})


async def _upload(**what: Any) -> StoredFile:
    from open_webui.routers.files import (  # pyright: ignore[reportMissingImports]
        upload_file_handler,
    )

    try:
        # Every argument: what is left out becomes a marker object of FastAPI, which counts as true.
        stored = await upload_file_handler(
            **what, process=False, process_in_background=False, background_tasks=None, db=None
        )
    except HTTPException as error:
        raise FileNotStoredError(
            f"Open WebUI did not store the file: {error.detail}",
            "The admin should check the disk, and the size limit of files.",
        ) from error
    return StoredFile(stored.id, stored.filename)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that the person who asks may read."""

    id: str
    path: str
    """Where Open WebUI's storage keeps it."""
    version: int
    """Changes with its content."""
    text: str
    """What Open WebUI has read out of it, for its own retrieval; often nothing."""


async def find_file(context: RequestContext, file_id: str) -> FoundFile | None:
    """Find a file; `None` where there is none, and just so where this person may not read it."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]
    from open_webui.utils.access_control.files import (  # pyright: ignore[reportMissingImports]
        has_access_to_file,
    )

    user, file = await load_user(context.host), await Files.get_file_by_id(file_id)
    if user is None or file is None or not file.path:
        return None
    if file.user_id != user.id and not await has_access_to_file(file_id, "read", user):
        return None
    text = text_of(as_object(file.data).get("content")).strip()
    return FoundFile(file.id, file.path, whole_of(file.updated_at) or 0, text)


def local_path(file: FoundFile) -> str:
    """Where the file lies on this machine; blocks while a cloud's storage hands it over."""
    from open_webui.storage.provider import Storage  # pyright: ignore[reportMissingImports]

    return Storage.get_file(file.path)


def reads_documents(handles: HostHandles) -> bool:
    """Whether Open WebUI itself gives the model the text of attached documents."""
    model = as_object(handles.metadata.get("model"))
    meta = as_object(as_object(model.get("info")).get("meta"))
    return as_object(meta.get("capabilities")).get("file_context", True) is not False


################################
# host/models.py
#
# Open WebUI's rows of models: what an admin has made of an entry of the model list.
################################

# Every signed-in person may read; `anyone` would be a link that needs no sign-in.
_EVERYONE = {"principal_type": "user", "principal_id": "*", "permission": "read"}
# Of the database, of the host (a row changed meanwhile), of its form (an id with a space in it).
_REFUSALS = (SQLAlchemyError, HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """What the table keeps of one model, apart from who may use it."""

    id: str
    """As in the model list: the function's id, a dot, the model's."""
    name: str
    meta: JsonObject = field(default_factory=dict[str, Any])
    params: JsonObject = field(default_factory=dict[str, Any])
    is_active: bool = True


async def read_model_rows(function_id: str) -> dict[str, ModelRow] | None:
    """Read the rows that lie over the models of a function, by id; `None` outside of a host."""
    try:
        from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    # Of the host's readers this one leaves a row out that it cannot read; the others fail.
    rows = await Models.get_all_models()
    return {
        row.id: _read_model_row(row)
        for row in rows
        if row.base_model_id is None and row.id.startswith(f"{function_id}.")
    }


async def insert_model_row(row: ModelRow, *, is_public: bool) -> bool:
    """Write a row that is not there yet; whether it was written.

    It belongs to the first admin, for its owner may always use a model.
    """
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
    from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]

    owner = await Users.get_super_admin_user()
    if owner is None:
        return False
    try:
        form = _form_of(row, access_grants=[_EVERYONE] if is_public else [])
        return await Models.insert_new_model(form, owner.id) is not None
    except _REFUSALS as error:
        LOG.debug("models: %s was not inserted: %s", row.id, error)
        return False


async def update_model_row(before: ModelRow, after: ModelRow) -> bool:
    """Write a changed row, if it still is what it was when it was read; whether it was written.

    Who may use the model, and whether it is switched on, stay as they are.
    """
    from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]

    try:
        stored = await Models.get_model_by_id(before.id)
        if stored is None or not _is_unchanged_row(_read_model_row(stored), before):
            return False
        # Since 0.12 a form without the switch leaves it alone; before, it would switch on.
        switch = {} if hasattr(stored, "version_id") else {"is_active": stored.is_active}
        return await Models.update_model_by_id(before.id, _form_of(after, **switch)) is not None
    except _REFUSALS as error:
        LOG.debug("models: %s was not updated: %s", before.id, error)
        return False


def private_rows_hide_models() -> bool:
    """Whether a row shared with nobody hides its model from admins, who see one without a row."""
    from open_webui.config import (  # pyright: ignore[reportMissingImports]
        BYPASS_ADMIN_ACCESS_CONTROL,
    )

    return not BYPASS_ADMIN_ACCESS_CONTROL


async def may_use_model(handles: HostHandles, row_ids: Sequence[str]) -> bool:
    """Whether Open WebUI would let the person who asks choose a model; without a host, anyone.

    Of the ids the first one that has a row counts: that of a variant, else that of its model.
    """
    try:
        from open_webui import config, env  # pyright: ignore[reportMissingImports]
        from open_webui.models.models import Models  # pyright: ignore[reportMissingImports]
        from open_webui.utils import models  # pyright: ignore[reportMissingImports]
    except ImportError:
        return True
    user, row = await load_user(handles), None
    for row_id in row_ids:
        row = row or await Models.get_model_by_id(row_id)
    if row is not None and not row.is_active:
        return False
    is_admin = getattr(user, "role", "") == "admin"
    if env.BYPASS_MODEL_ACCESS_CONTROL or (is_admin and config.BYPASS_ADMIN_ACCESS_CONTROL):
        return True
    if row is None or user is None:
        return False
    try:
        await models.check_model_access(user, {"id": row.id}, row)
    except Exception:  # noqa: BLE001 - it is how the host says no
        return False
    return True


def _read_model_row(stored: Any) -> ModelRow:
    return ModelRow(
        id=stored.id,
        name=stored.name,
        meta=stored.meta.model_dump(),
        params=stored.params.model_dump(),
        is_active=stored.is_active,
    )


def _is_unchanged_row(stored: ModelRow, before: ModelRow) -> bool:
    return replace(stored, is_active=before.is_active) == before


def _form_of(row: ModelRow, **more: Any) -> Any:
    from open_webui.models.models import ModelForm  # pyright: ignore[reportMissingImports]

    return ModelForm(
        id=row.id,
        name=row.name,
        meta=dict(row.meta),
        params=dict(row.params),
        commit_message="OpenRouter",
        **more,
    )


################################
# host/tools.py
#
# Open WebUI's tools: what stands in `__tools__`, how it is called, what its result means.
#
# The steps are those of the host's own loop (`utils/middleware.py`: `execute_tool_call` and what
# follows it), with the host's own functions.
################################

CALL_TOOL_ID = "builtin:call_tool"
"""The tool behind which Open WebUI hides those it does not show the model."""

# Open WebUI 0.11 has these names in its loop, where nobody can ask for them.
_CITED_TOOLS = frozenset(
    {"fetch_url", "view_file", "view_knowledge_file", "query_knowledge_files", "query_chat_files"}
)

_MOST_SHOWN = 2_000
"""Characters of a call's arguments in a dialogue."""


@dataclass(frozen=True, slots=True)
class HostTool:
    """One entry of `__tools__`."""

    name: str
    kind: str
    """`builtin`, `mcp`, `external`, `terminal`; empty for a Python tool or one of the browser."""
    tool_id: str
    parameters: JsonObject
    lane: str
    """Calls of one lane run one after the other; empty for a tool that may run beside itself."""
    entry: Mapping[str, Any]

    @property
    def is_builtin(self) -> bool:
        """Whether Open WebUI itself brings it."""
        return self.kind == "builtin"


@dataclass(slots=True, kw_only=True)
class ToolResult:
    """What a call brought back: for the model `text` and `images`, for the person the rest."""

    text: str
    failed: bool = False
    images: list[str] = field(default_factory=list[str])
    files: list[JsonObject] = field(default_factory=list[JsonObject])
    embeds: list[str] = field(default_factory=list[str])
    sources: list[JsonObject] = field(default_factory=list[JsonObject])


def read_tool(name: str, value: Any) -> HostTool:
    """Read an entry of `__tools__`."""
    entry = as_object(value)
    kind, tool_id = text_of(entry.get("type")), text_of(entry.get("tool_id"))
    spec = as_object(entry.get("spec"))
    return HostTool(
        name,
        kind,
        tool_id,
        as_object(spec.get("parameters")),
        _lane_of(entry, kind, tool_id),
        entry,
    )


def _lane_of(entry: JsonObject, kind: str, tool_id: str) -> str:
    """One MCP session and one terminal each remember what was done before."""
    server = as_object(entry.get("server"))
    if kind == "mcp":
        return f"mcp:{id(entry.get('client'))}"
    if kind == "terminal":
        return tool_id
    return f"terminal:{text_of(server.get('url'))}" if server.get("is_terminal") is True else ""


def resolve_hidden_call(
    name: str, arguments: JsonObject, tools: Mapping[str, Any]
) -> tuple[str, JsonObject] | str:
    """The call that a call of `call_tool` stands for, any other call as it is; or what is wrong."""
    if read_tool(name, tools.get(name)).tool_id != CALL_TOOL_ID:
        return name, arguments
    try:
        from open_webui.utils.tool_search import (  # pyright: ignore[reportMissingImports]
            resolve_tool_call,
        )
    except ImportError:
        return name, arguments
    call = {"function": {"name": name, "arguments": encode_json(arguments).decode()}}
    error = resolve_tool_call(call, tools)
    if error:
        return text_of(error)
    return call["function"]["name"], json.loads(call["function"]["arguments"])


async def ask_for_approval(
    handles: HostHandles, tool: HostTool, call_id: str, arguments: JsonObject
) -> bool:
    """Whether the person at the page lets the tool run; a page that is gone has not said yes."""
    if handles.event_call is None:
        return False
    call = {"id": call_id, "name": tool.name, "arguments": arguments}
    # Open WebUI 0.11 draws a dialogue of two texts, and nothing of a `tool_call`.
    shown = encode_json(arguments).decode()
    unseen = len(shown) - _MOST_SHOWN
    message = f"```json\n{shown[:_MOST_SHOWN]}\n```"
    if unseen > 0:
        message += f"\n\n**{unseen} more characters are not shown.**"
    data = {"tool_call": call, "title": f"Run {tool.name}?", "message": message}
    answer = await handles.event_call({"type": "confirmation", "data": data})
    return answer is True


async def call_tool(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, messages: Sequence[Any]
) -> Any:
    """Run the tool; gives what it returns and raises what it raises."""
    if tool.entry.get("direct"):
        return await _call_in_browser(handles, tool, arguments)
    function = tool.entry.get("callable")
    if function is None:
        raise LookupError("Open WebUI gives no way to run it.")
    function = await _with_conversation(function, handles, messages)
    if is_blocking(function):
        return await call_off_loop(function, arguments)
    return await function(**arguments)


async def _call_in_browser(handles: HostHandles, tool: HostTool, arguments: JsonObject) -> Any:
    if handles.event_call is None:
        raise ConnectionError("It runs in the browser, and no browser is connected.")
    data = {
        "id": str(uuid4()),
        "name": tool.name,
        "params": arguments,
        "server": tool.entry.get("server") or {},
        "session_id": handles.metadata.get("session_id"),
    }
    return await handles.event_call({"type": "execute:tool", "data": data})


async def _with_conversation(function: Any, handles: HostHandles, messages: Sequence[Any]) -> Any:
    """The tool as it stands now: its `__messages__` and `__files__` are those of this turn."""
    try:
        from open_webui.utils.tools import (  # pyright: ignore[reportMissingImports]
            get_updated_tool_function,
        )
    except ImportError:
        return function
    files = handles.metadata.get("files") or []
    return await get_updated_tool_function(
        function=function, extra_params={"__messages__": messages, "__files__": files}
    )


async def read_result(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, raw: Any
) -> ToolResult:
    """What the tool returned, as Open WebUI understands it."""
    process = middleware_part("process_tool_result")
    if process is None:
        return _result_of(_text_without_host(raw))
    if (terminal_file := middleware_part("build_terminal_file_tool_result")) is not None:
        raw = terminal_file(tool.name, arguments, raw, tool.entry, handles.metadata) or raw
    user = await load_user(handles)
    direct = bool(tool.entry.get("direct"))
    text, files, embeds = await process(
        handles.request, tool.name, raw, tool.kind, direct, handles.metadata, user
    )
    result = _result_of(text or "")
    result.embeds = [embed for embed in embeds if isinstance(embed, str)]
    result.sources = _sources_of(handles, tool, arguments, result.text)
    for file in objects_in(files):
        await _add_file(result, file, handles, user)
    if (tell_terminal := middleware_part("terminal_event_handler")) is not None:
        await tell_terminal(tool.name, arguments, result.text, handles.event_emitter)
    return result


def _result_of(text: str) -> ToolResult:
    """The text, and whether Open WebUI shows it as a failure."""
    is_error = middleware_part("_is_tool_result_error") or _begins_as_error
    return ToolResult(text=text, failed=bool(is_error(text)))


def _begins_as_error(text: str) -> bool:
    return text.lstrip().lower().startswith("error:")


def _text_without_host(raw: Any) -> str:
    """The result in words, where the host's own reading is not at hand."""
    if isinstance(raw, tuple):
        raw = cast("tuple[Any, ...]", raw)[0] if raw else ""
    if raw is None or isinstance(raw, str):
        return raw or ""
    return json.dumps(raw, indent=2, ensure_ascii=False, default=str)


def _sources_of(
    handles: HostHandles, tool: HostTool, arguments: JsonObject, text: str
) -> list[JsonObject]:
    """What the person may look up, of the tools that search and fetch."""
    cited = middleware_part("CITATION_TOOL_NAMES") or _CITED_TOOLS
    read_sources = middleware_part("get_citation_source_from_tool_result")
    if not text or tool.name not in cited or read_sources is None or not _shows_citations(handles):
        return []
    return objects_in(read_sources(tool.name, arguments, text, tool.tool_id))


def _shows_citations(handles: HostHandles) -> bool:
    """The model's capability; in a chat with several models `metadata["model"]` is another's."""
    models = getattr(getattr(getattr(handles.request, "app", None), "state", None), "MODELS", None)
    model = as_object(as_object(models).get(text_of(handles.metadata.get("model_id"))))
    meta = as_object(as_object(model.get("info")).get("meta"))
    return as_object(meta.get("capabilities")).get("citations", True) is not False


async def _add_file(result: ToolResult, file: JsonObject, handles: HostHandles, user: Any) -> None:
    """A picture goes to the model as it is, to the person as a file; the rest to the person."""
    url = text_of(file.get("url"))
    if file.get("type") != "image" or not url:
        result.files.append(file)
    elif url.startswith("data:"):
        result.images.append(url)
        result.files.append({**file, "url": await _store_image(url, handles, user)})
    else:
        result.files.append(file)
        if data_url := await _read_image(url, user):
            result.images.append(data_url)


async def _store_image(data_url: str, handles: HostHandles, user: Any) -> str:
    """The address under which the chat keeps the picture; without one, the picture itself."""
    store = middleware_part("store_tool_result_image")
    if store is None:
        return data_url
    return await store(handles.request, data_url, handles.metadata, user)


async def _read_image(url: str, user: Any) -> str:
    """A picture that Open WebUI has stored, as a data URL; empty where it cannot be read."""
    try:
        from open_webui.utils.files import (  # pyright: ignore[reportMissingImports]
            get_image_base64_from_url,
        )
    except ImportError:
        LOG.warning("tools: a tool's picture could not be read for the model")
        return ""
    return text_of(await get_image_base64_from_url(url, user))


################################
# host/versions.py
#
# Which Open WebUI this is, and whether the pipe works on it.
################################

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
    return _version_numbers(str(VERSION))


@cache
def _version_numbers(version: str) -> tuple[int, ...] | None:
    numbers = tuple(int(number) for number in re.findall(r"\d+", version)[:3])
    # It calls itself 0.0.0 when it cannot find out, as in a checkout.
    return numbers if any(numbers) else None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


################################
# filters/sources.py
#
# The text of each companion filter, by the name of its file.
################################

FILTER_SOURCES: dict[str, str] = {
    "direct_uploads": r'''"""
title: Direct Uploads
author: The OpenRouter pipe maintainers
description: Gives the model the files you attach, instead of what Open WebUI finds in them.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

import logging
import sys
from fnmatch import fnmatchcase
from mimetypes import guess_type
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

LOG = logging.getLogger(__name__)
MEGABYTE = 1024 * 1024
DOCUMENTS = "application/pdf,text/plain,text/markdown,application/json,text/csv"
FILMS = "video/mp4,video/mpeg,video/quicktime,video/webm"
SPOKEN = {"audio": "sound", "video": "video"}


# A value that is refused would end the chat, so what cannot be read counts as the default.
def whole(least: int, most: int, default: int) -> BeforeValidator:
    """Read a number between these two."""

    def read(value: Any) -> int:
        try:
            return max(least, min(most, int(float(value))))
        except (TypeError, ValueError, OverflowError):
            return default

    return BeforeValidator(read)


def read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


Text = Annotated[str, BeforeValidator(read_text)]
Switch = Annotated[bool, BeforeValidator(lambda value: value if value in (True, False) else True)]
TYPES = "Media types, comma-separated, `*` for any ending; others stay with Open WebUI."


class Filter:
    """A switch in the chat: with it on, files go to the model, and not into retrieval."""

    class Valves(BaseModel):
        """What holds for everyone; what it keeps back stays in Open WebUI's retrieval."""

        priority: Annotated[int, whole(-1000, 1000, 0)] = Field(
            default=0, description="Where it stands among other filters; the lowest comes first."
        )
        DIRECT_TOTAL_PAYLOAD_MAX_MB: Annotated[int, whole(1, 500, 50)] = Field(
            default=50,
            title="All files of a request (MB)",
            description="The newest files go out until this is reached.",
        )
        DIRECT_MAX_FILES: Annotated[int, whole(1, 100, 20)] = Field(
            default=20, title="Files per request", description="The newest ones count."
        )
        DIRECT_FILE_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 50)] = Field(
            default=50, title="Largest document (MB)"
        )
        DIRECT_AUDIO_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 25)] = Field(
            default=25, title="Largest recording (MB)"
        )
        DIRECT_VIDEO_MAX_UPLOAD_SIZE_MB: Annotated[int, whole(1, 500, 20)] = Field(
            default=20, title="Largest video (MB)"
        )
        DIRECT_FILE_MIME_ALLOWLIST: Text = Field(
            default=DOCUMENTS, title="Types of documents", description=TYPES
        )
        DIRECT_AUDIO_MIME_ALLOWLIST: Text = Field(
            default="audio/*", title="Types of recordings", description=TYPES
        )
        DIRECT_VIDEO_MIME_ALLOWLIST: Text = Field(
            default=FILMS, title="Types of videos", description=TYPES
        )

    class UserValves(BaseModel):
        """What each user sends while the switch is on."""

        DIRECT_FILES: Switch = Field(default=True, title="Documents")
        DIRECT_AUDIO: Switch = Field(default=True, title="Recordings")
        DIRECT_VIDEO: Switch = Field(default=True, title="Videos")

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Cpath d='M13 3H6v18h12V8"
            "zm0 0v5h5M12 18v-7m-3 3 3-3 3 3'/%3E%3C/svg%3E"
        )

    async def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __model__: dict[str, Any] | None = None,
        __user__: dict[str, Any] | None = None,
        __id__: str = "",
    ) -> dict[str, Any]:
        """Take files out of Open WebUI's retrieval, and tell the pipe to send them."""
        pipe_id, model_id = __id__.removesuffix("_direct_uploads"), base_of(__model__ or {})
        uploads = [file for file in body.get("files") or [] if is_upload(file)]
        files = {file["id"]: file for file in uploads if file["id"] not in known_to(__model__)}
        if not files or not model_id.startswith(f"{pipe_id}."):
            return body
        own = (__user__ or {}).get("valves")
        wanted = own if isinstance(own, self.UserValves) else self.UserValves()
        try:
            stored = await read_stored(list(files))
            newest_first = {file_id: stored.get(file_id, {}) for file_id in reversed(files)}
            verdicts = self.judge(newest_first, wanted, inputs_of(pipe_id, model_id))
        except Exception:  # what cannot be judged stays with Open WebUI
            LOG.exception("Direct Uploads: the files could not be looked up")
            return body
        sent = [file for file_id, file in files.items() if verdicts[file_id] == ""]
        # A new list: side by side, another model's request has the old one.
        body["files"] = [
            file for file in body["files"] if not is_upload(file) or verdicts.get(file["id"]) != ""
        ]
        # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
        __metadata__["openrouter_pipe"] = {
            **__metadata__.get("openrouter_pipe", {}),
            "uploads": [{"id": file["id"], "name": file.get("name")} for file in sent],
            "kept_uploads": {file_id: why for file_id, why in verdicts.items() if why},
        }
        return body

    def judge(
        self, newest_first: dict[str, dict[str, Any]], own: Any, inputs: Any
    ) -> dict[str, str | None]:
        """Why each file stays with Open WebUI; empty for one that goes, `None` if none is to."""
        verdicts: dict[str, str | None] = {}
        files_left = self.valves.DIRECT_MAX_FILES
        most = self.valves.DIRECT_TOTAL_PAYLOAD_MAX_MB
        bytes_left = most * MEGABYTE
        for file_id, meta in newest_first.items():
            verdict, size = self.reason(meta, own, inputs), meta.get("size") or 0
            if verdict == "" and not files_left:
                verdict = f"only the {self.valves.DIRECT_MAX_FILES} newest files go out"
            elif verdict == "" and size > bytes_left:
                verdict = f"with the others it is larger than {most} MB"
            elif verdict == "":
                files_left, bytes_left = files_left - 1, bytes_left - size
            verdicts[file_id] = verdict
        return verdicts

    def reason(self, meta: dict[str, Any], own: Any, inputs: Any) -> str | None:
        """What speaks against one file by itself, as Open WebUI has it stored."""
        media_type = type_of(meta)
        kind = media_type.partition("/")[0]
        word = kind.upper() if kind in SPOKEN else "FILE"
        most = getattr(self.valves, f"DIRECT_{word}_MAX_UPLOAD_SIZE_MB")
        allowed = getattr(self.valves, f"DIRECT_{word}_MIME_ALLOWLIST").split(",")
        if not meta or not getattr(own, "DIRECT_FILES" if word == "FILE" else f"DIRECT_{word}"):
            return None
        if not any(fnmatchcase(media_type, pattern.strip().lower()) for pattern in allowed):
            return f"files of type {media_type or 'unknown'} do not go out"
        if kind in SPOKEN and inputs is not None and kind not in inputs:
            return f"this model takes no {SPOKEN[kind]}"
        if (meta.get("size") or 0) > most * MEGABYTE:
            return f"it is larger than {most} MB"
        return ""


def is_upload(file: Any) -> bool:
    """Whether an entry of the request is a file, and no collection, note or page."""
    return isinstance(file, dict) and file.get("type") == "file" and isinstance(file.get("id"), str)


def known_to(model: dict[str, Any] | None) -> set[str]:
    """The ids of the model's own knowledge: Open WebUI adds it to what people attach."""
    meta = ((model or {}).get("info") or {}).get("meta") or {}
    return {entry["id"] for entry in meta.get("knowledge") or [] if entry.get("id")}


def base_of(model: dict[str, Any]) -> str:
    return (model.get("info") or {}).get("base_model_id") or model.get("id") or ""


def type_of(meta: dict[str, Any]) -> str:
    """The media type; by the name where the browser knew none."""
    claim = (meta.get("content_type") or "").partition(";")[0].strip().lower()
    if claim in ("", "application/octet-stream"):
        claim = guess_type(meta.get("name") or "")[0] or claim
    return claim


def inputs_of(pipe_id: str, model_id: str) -> Any:
    """What the model takes, as the pipe has learnt it; `None` where nobody knows."""
    pipe = sys.modules.get("open_webui_openrouter_pipe_process")
    ask = getattr(pipe, "model_inputs", {}).get(pipe_id)
    return ask(model_id.removeprefix(f"{pipe_id}.")) if ask else None


async def read_stored(file_ids: list[str]) -> dict[str, dict[str, Any]]:
    """What Open WebUI has written down of each file: name, type, size."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]

    found = await Files.get_file_metadatas_by_ids(file_ids)
    return {file.id: file.meta or {} for file in found}
''',
    "provider_routing": r'''"""
title: Provider Routing
author: The OpenRouter pipe maintainers
description: Sends your chats to the providers you prefer, among those that the admin allows.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

import sys
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field

Sort = Literal["default", "price", "throughput", "latency", "exacto"]
DataCollection = Literal["allow", "deny"]
QUANTIZATIONS: list[Any] = [
    *("int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8"),
    *("fp16", "bf16", "fp32", "unknown"),
]


# A value that is refused would leave a user without any preference, so it counts as the default.
def one_of(*choices: Any) -> BeforeValidator:
    """Read a choice; what is none of them counts as the first."""
    return BeforeValidator(lambda value: value if value in choices else choices[0])


def read_amount(value: Any) -> float:
    try:
        number = float(str(value).replace(",", "."))
    except ValueError:
        return 0.0
    return number if 0 < number < 1e9 else 0.0


def read_names(value: Any) -> list[str]:
    listed = value if isinstance(value, list) else str(value or "").split(",")
    return [name.strip() for name in listed if isinstance(name, str) and name.strip()]


Amount = Annotated[float, BeforeValidator(read_amount)]
Names = Annotated[list[str], BeforeValidator(read_names)]


def offer_providers(field: dict[str, Any]) -> None:
    """Let the form offer the providers, as this filter's pipe has learnt them; else type names."""
    process = sys.modules.get("open_webui_openrouter_pipe_process")
    # Open WebUI loads a filter under a name that holds its id, which begins with the pipe's.
    owner = __name__.removeprefix("function_").partition("_provider_routing")[0]
    if names := getattr(process, "provider_names", {}).get(owner):
        field["input"] = {"type": "multiselect", "options": names}


class Filter:
    """A switch in the chat: with it on, the user's own preferences go with each request."""

    class UserValves(BaseModel):
        """What each user can prefer; zero and empty fields say nothing."""

        ORDER: Names = Field(
            default=[],
            title="Try first",
            description=(
                "Providers in the order in which to try them, such as `fireworks`; "
                "a fixed order makes cached prompts rarer."
            ),
            json_schema_extra=offer_providers,
        )
        ONLY: Names = Field(
            default=[],
            title="Only these providers",
            description="No others, even where these fail.",
            json_schema_extra=offer_providers,
        )
        IGNORE: Names = Field(
            default=[],
            title="Never these providers",
            description="Not even where all others fail.",
            json_schema_extra=offer_providers,
        )
        SORT: Annotated[Sort, one_of(*get_args(Sort))] = Field(
            default="default",
            title="Prefer by",
            description="Lowest price, most tokens a second, soonest start, or best tools.",
        )
        ALLOW_FALLBACKS: Annotated[bool, one_of(True, False)] = Field(
            default=True,
            title="Others when the first fails",
            description="Whether another provider may step in.",
        )
        REQUIRE_PARAMETERS: Annotated[bool, one_of(False, True)] = Field(
            default=False,
            title="Every parameter heeded",
            description="Only providers that heed all parameters of the chat.",
        )
        DATA_COLLECTION: Annotated[DataCollection, one_of(*get_args(DataCollection))] = Field(
            default="allow",
            title="Providers that may keep data",
            description="`deny` leaves out those that store prompts or train with them.",
        )
        QUANTIZATIONS: Names = Field(
            default=[],
            title="Quantizations",
            description="Only models computed in one of these precisions; none chosen means any.",
            json_schema_extra={"input": {"type": "multiselect", "options": QUANTIZATIONS}},
        )
        MAX_PRICE_PROMPT: Amount = Field(
            default=0.0,
            title="Price ceiling, input",
            description="USD per million tokens; where nobody is cheaper the request is refused.",
        )
        MAX_PRICE_COMPLETION: Amount = Field(
            default=0.0, title="Price ceiling, output", description="USD per million tokens."
        )
        MAX_PRICE_IMAGE: Amount = Field(
            default=0.0, title="Price ceiling, picture", description="USD for each."
        )
        MAX_PRICE_AUDIO: Amount = Field(
            default=0.0, title="Price ceiling, sound", description="USD per million tokens."
        )
        MAX_PRICE_REQUEST: Amount = Field(
            default=0.0, title="Price ceiling, request", description="USD for each."
        )
        PREFERRED_MIN_THROUGHPUT: Amount = Field(
            default=0.0,
            title="Speed wanted",
            description="Tokens a second; slower providers come last.",
        )
        PREFERRED_MAX_LATENCY: Amount = Field(
            default=0.0,
            title="Start wanted within",
            description="Seconds until the first token; later providers come last.",
        )

    def __init__(self) -> None:
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Cpath d='M3 12h6l8-7h4m-3-3"
            " 3 3-3 3M9 12l8 7h4m-3-3 3 3-3 3'/%3E%3C/svg%3E"
        )

    def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __user__: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Tell the pipe what the user prefers; models of others never look."""
        own = (__user__ or {}).get("valves")
        if wishes := preferences(own if isinstance(own, self.UserValves) else self.UserValves()):
            # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
            handed = __metadata__.get("openrouter_pipe", {})
            __metadata__["openrouter_pipe"] = {**handed, "provider": wishes}
        return body


def preferences(own: Any) -> dict[str, Any]:
    """What has been chosen, in the words of OpenRouter's `provider` object."""
    kinds = ("prompt", "completion", "image", "audio", "request")
    prices = {kind: getattr(own, f"MAX_PRICE_{kind.upper()}") for kind in kinds}
    chosen = {
        "order": own.ORDER,
        "only": own.ONLY,
        "ignore": own.IGNORE,
        "sort": "" if own.SORT == "default" else own.SORT,
        "require_parameters": own.REQUIRE_PARAMETERS,
        "data_collection": "" if own.DATA_COLLECTION == "allow" else own.DATA_COLLECTION,
        "quantizations": [name for name in own.QUANTIZATIONS if name in QUANTIZATIONS],
        "max_price": {name: price for name, price in prices.items() if price},
        "preferred_min_throughput": own.PREFERRED_MIN_THROUGHPUT,
        "preferred_max_latency": own.PREFERRED_MAX_LATENCY,
    }
    said = {name: value for name, value in chosen.items() if value}
    return said if own.ALLOW_FALLBACKS else {**said, "allow_fallbacks": False}
''',
    "search_toggle": r'''"""
title: OpenRouter Search
author: The OpenRouter pipe maintainers
description: Lets the model search the web through OpenRouter, in place of Open WebUI's own search.
version: 0.1.0
required_open_webui_version: 0.11.0
license: MIT
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, Field

Engine = Literal["auto", "native", "exa", "firecrawl", "parallel", "perplexity"]
OwnEngine = Literal["inherit", Engine]
Size = Literal["auto", "low", "medium", "high"]
MOST_RESULTS = 25


# A value that is refused would end the chat, so what cannot be read counts as the default.
def one_of(*choices: str) -> BeforeValidator:
    """Read a choice; what is none of them counts as the first."""
    return BeforeValidator(lambda value: value if value in choices else choices[0])


def read_count(value: Any) -> int:
    try:
        return max(0, min(MOST_RESULTS, int(float(value))))
    except (TypeError, ValueError, OverflowError):
        return 0


def read_text(value: Any) -> str:
    return value if isinstance(value, str) else ""


Count = Annotated[int, BeforeValidator(read_count)]
Text = Annotated[str, BeforeValidator(read_text)]


class Filter:
    """A switch in the chat: with it on, OpenRouter searches, and Open WebUI does not."""

    class Valves(BaseModel):
        """What holds for everyone."""

        ENGINE: Annotated[Engine, one_of(*get_args(Engine))] = Field(
            default="auto",
            title="Search engine",
            description="`auto`: the model's own search where it has one, else Exa.",
        )
        MAX_RESULTS: Count = Field(
            default=5,
            title="Results per search",
            description="The most that one search may bring; 0 leaves it to OpenRouter.",
        )
        ALLOWED_DOMAINS: Text = Field(
            default="",
            title="Only these sites",
            description="Comma-separated, such as `wikipedia.org`; not every engine heeds it.",
        )
        EXCLUDED_DOMAINS: Text = Field(
            default="",
            title="Never these sites",
            description="Comma-separated; not every engine heeds it.",
        )

    class UserValves(BaseModel):
        """What each user can choose; `inherit` and empty fields leave it to the admin."""

        ENGINE: Annotated[OwnEngine, one_of(*get_args(OwnEngine))] = Field(
            default="inherit",
            title="Search engine",
            description="Who searches for you; prices differ.",
        )
        MAX_RESULTS: Count = Field(
            default=0,
            title="Results per search",
            description="Fewer than the admin allows; 0 takes as many.",
        )
        CONTEXT_SIZE: Annotated[Size, one_of(*get_args(Size))] = Field(
            default="auto",
            title="Text per search",
            description="How much of the pages found is read; more costs more.",
        )
        ALLOWED_DOMAINS: Text = Field(
            default="",
            title="Only these sites",
            description="Comma-separated; counts where the admin names none.",
        )
        EXCLUDED_DOMAINS: Text = Field(
            default="",
            title="Never these sites",
            description="Comma-separated, besides those that the admin names.",
        )

    def __init__(self) -> None:
        self.valves = self.Valves()
        self.toggle = True
        self.icon = (
            "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' fill='none' "
            "viewBox='0 0 24 24' stroke-width='1.5' stroke='black'%3E%3Ccircle cx='10' cy='10' "
            "r='7'/%3E%3Cpath stroke-linecap='round' d='m15 15 6 6M3 10h14M10 3c-4 4-4 10 0 14"
            "m0-14c4 4 4 10 0 14'/%3E%3C/svg%3E"
        )

    def inlet(
        self,
        body: dict[str, Any],
        __metadata__: dict[str, Any],
        __model__: dict[str, Any] | None = None,
        __user__: dict[str, Any] | None = None,
        __id__: str = "",
    ) -> dict[str, Any]:
        """Turn Open WebUI's search off for this request, and tell the pipe to search."""
        if not is_ours(__model__ or {}, __id__):
            return body
        features = body.get("features")
        if isinstance(features, dict):
            body["features"] = {**features, "web_search": False}
        own = (__user__ or {}).get("valves")
        wish = self.wish(own if isinstance(own, self.UserValves) else self.UserValves())
        # The pipe reads this key of its own: what stands in Open WebUI's keys is put back.
        __metadata__["openrouter_pipe"] = {
            **__metadata__.get("openrouter_pipe", {}),
            "search": wish,
        }
        return body

    def wish(self, own: Any) -> dict[str, Any]:
        """What OpenRouter is to be asked for: the user's choices within the admin's."""
        admin = self.valves
        most = [count for count in (own.MAX_RESULTS, admin.MAX_RESULTS) if count]
        engine = admin.ENGINE if own.ENGINE == "inherit" else own.ENGINE
        wish = {
            "engine": engine,
            "max_results": min(most, default=0),
            "search_context_size": "" if own.CONTEXT_SIZE == "auto" else own.CONTEXT_SIZE,
            "allowed_domains": entries(admin.ALLOWED_DOMAINS) or entries(own.ALLOWED_DOMAINS),
            "excluded_domains": entries(f"{admin.EXCLUDED_DOMAINS},{own.EXCLUDED_DOMAINS}"),
        }
        return {name: value for name, value in wish.items() if value}


def is_ours(model: dict[str, Any], filter_id: str) -> bool:
    """Whether the model is one of the pipe that has installed this filter as `<its id>_search`."""
    base = (model.get("info") or {}).get("base_model_id") or model.get("id") or ""
    return base.startswith(filter_id.removesuffix("_search") + ".")


def entries(text: str) -> list[str]:
    return list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
''',
}


################################
# models/catalog_shelf.py
#
# The last good catalog: a restart lists it without network, and workers share one.
#
# It lies on disk, and in Open WebUI's Redis where there is one: servers have no disk in common.
################################

_TURN_LOOK_SECONDS = 0.25
# Longer than fetching can take: a worker that died in its turn is not waited for any longer.
_LONGEST_TURN_SECONDS = 90.0
_CATALOG_PATIENCE_SECONDS = 5.0
_CATALOG_LIFE_SECONDS = 7 * 24 * 3_600


class CatalogShelf:
    """Where one installed copy keeps the catalog of its account; without a path, nowhere."""

    def __init__(
        self, path: Path | None = None, account: str = "", redis: SharedRedis | None = None
    ) -> None:
        self._path = path
        self._account = account
        self._name = f"catalog:{path.stem}:{account}" if path is not None else ""
        self._redis = redis or SharedRedis()
        self._turn_file = path.with_suffix(".turn") if path is not None else None
        self._has_turn = False
        self._is_failing = False

    async def read(self) -> CatalogCopy | None:
        """The newest that is kept; `None` for nothing, half of one and another account's."""
        if self._path is None:
            return None
        key, patience = redis_key(self._name), _CATALOG_PATIENCE_SECONDS
        shared = await self._redis.ask("the catalog", lambda client: client.get(key), patience)
        return await asyncio.to_thread(_read_newest, self._path, shared, self._account)

    async def keep(self, catalog: CatalogCopy) -> None:
        """Put a new one in the place of the old; a disk that takes none is told of once."""
        if self._path is None:
            return
        kept = await asyncio.to_thread(_as_kept, self._account, catalog)
        key, life = redis_key(self._name), _CATALOG_LIFE_SECONDS
        await self._redis.ask(
            "the catalog", lambda c: c.set(key, kept, ex=life), _CATALOG_PATIENCE_SECONDS
        )
        try:
            await asyncio.to_thread(_write_kept, self._path, kept)
            self._is_failing = False
        except OSError as error:
            level = logging.DEBUG if self._is_failing else logging.WARNING
            self._is_failing = True
            LOG.log(level, "catalog: it cannot be kept for the next start: %s", error)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One worker at a time: the others wait, and find what it has kept."""
        async with AsyncExitStack() as turns:
            while not await turns.enter_async_context(self._shared_turn()):  # noqa: ASYNC110
                await asyncio.sleep(_TURN_LOOK_SECONDS)
            try:
                while not await asyncio.to_thread(self._take_turn):  # noqa: ASYNC110 - of others
                    await asyncio.sleep(_TURN_LOOK_SECONDS)
                yield
            finally:
                if self._has_turn and self._turn_file is not None:
                    self._has_turn = False
                    await asyncio.to_thread(_drop_kept_file, self._turn_file)

    def _shared_turn(self) -> AbstractAsyncContextManager[bool]:
        """Among the servers that have a Redis in common."""
        if self._path is None:
            return nullcontext(True)
        return only_worker(self._name, int(_LONGEST_TURN_SECONDS))

    def _take_turn(self) -> bool:
        file = self._turn_file
        if file is None:
            return True
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(exist_ok=False)
        except FileExistsError:
            if not _is_abandoned(file):
                return False
            with suppress(OSError):
                file.touch()
        except OSError:
            return True  # nothing can be kept there, so there is nothing to wait for
        self._has_turn = True
        return True


def _read_newest(path: Path, shared: Any, account: str) -> CatalogCopy | None:
    """Of what is on disk and in Redis: one may be out of reach while the other is written."""
    copies = [_copy_in(shared, account)]
    with suppress(OSError):
        copies.append(_copy_in(path.read_bytes(), account, path.stat().st_mtime))
    return min((each for each in copies if each is not None), key=lambda c: c.age, default=None)


def _copy_in(data: Any, account: str, came_at: float = 0.0) -> CatalogCopy | None:
    try:
        kept = as_object(decode_json(data or b""))
    except (TypeError, ValueError):
        return None
    rows, zdr_ids = objects_in(kept.get("rows")), kept.get("zdr_ids")
    if kept.get("account") != account or not rows:
        return None
    has_ids = isinstance(zdr_ids, list)
    return CatalogCopy(
        rows=rows,
        etag=text_of(kept.get("etag")),
        zdr_ids=frozenset(map(text_of, cast("list[Any]", zdr_ids))) if has_ids else None,
        age=time.time() - (came_at or number_of(kept.get("at")) or 0),
    )


def _as_kept(account: str, catalog: CatalogCopy) -> bytes:
    zdr_ids = None if catalog.zdr_ids is None else sorted(catalog.zdr_ids)
    kept = {"account": account, "at": time.time(), "etag": catalog.etag, "zdr_ids": zdr_ids}
    return encode_json({**kept, "rows": catalog.rows})


def _write_kept(path: Path, kept: bytes) -> None:
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(kept)
        draft.replace(path)
    finally:
        _drop_kept_file(draft)


def _is_abandoned(file: Path) -> bool:
    try:
        return not 0 <= time.time() - file.stat().st_mtime < _LONGEST_TURN_SECONDS
    except FileNotFoundError:
        return False  # it has just been given away
    except OSError:
        return True


def _drop_kept_file(file: Path) -> None:
    with suppress(OSError):
        file.unlink(missing_ok=True)


################################
# models/key_limit.py
#
# What is left of the API key's limit: asked beside the answers, never before one.
################################

FetchCredit = Callable[[Settings], Awaitable[float | None]]

_FRESH_SECONDS = 300.0


class KeyLimit:
    """The last known rest of one key's limit, in USD.

    `fetch_credit` is handed in; it raises a `PipeError` when OpenRouter does not tell.
    """

    def __init__(
        self, fetch_credit: FetchCredit, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch_credit = fetch_credit
        self._clock = clock
        self._due_at = float("-inf")
        self._refresh: asyncio.Task[None] | None = None
        self.left: float | None = None
        """`None` while it is not known, and for a key without a limit."""

    def look(self, settings: Settings) -> None:
        """Begin to ask again when the last answer has grown old; nobody waits for it."""
        if self._refresh is None and self._clock() >= self._due_at:
            self._due_at = self._clock() + _FRESH_SECONDS
            self._refresh = asyncio.create_task(self._load(settings))

    async def close(self) -> None:
        """Stop a question that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    async def _load(self, settings: Settings) -> None:
        try:
            self.left = await self._fetch_credit(settings)
        except PipeError as error:
            LOG.info("key: the limit is not known: %s", error.cause)
        except Exception:  # noqa: BLE001 - a background job must not trouble an answer
            LOG.exception("key: the limit could not be read")
        finally:
            self._refresh = None


################################
# models/pricing.py
#
# What a model's tokens cost, as its catalog row says.
################################

# Prices per token (USD); all others are per request, picture or search.
_TOKEN_PRICES = (
    "prompt",
    "completion",
    "internal_reasoning",
    "image_token",
    "image_output",
    "audio",
    "audio_output",
)
_NO_PRICES = frozenset({"discount", "overrides"})


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """Other prices, for long prompts or for some hours of the day."""

    prices: Mapping[str, float]
    min_prompt_tokens: int | None = None
    """It holds for prompts of more tokens than this."""
    utc_start: str = ""
    """`HHMM`; the window may pass midnight. Empty for the whole day."""
    utc_end: str = ""

    def holds(self, prompt_tokens: int, utc_time: str) -> bool:
        """Whether it holds for such a prompt at this time (`HHMM`, UTC)."""
        if self.min_prompt_tokens is not None and prompt_tokens <= self.min_prompt_tokens:
            return False
        if not self.utc_start or not self.utc_end:
            return True
        if self.utc_start <= self.utc_end:
            return self.utc_start <= utc_time < self.utc_end
        return utc_time >= self.utc_start or utc_time < self.utc_end


@dataclass(frozen=True, slots=True)
class Pricing:
    """USD per token, request or piece, under OpenRouter's names; what is unknown is missing."""

    prices: Mapping[str, float]
    overrides: tuple[PriceOverride, ...] = ()
    is_known: bool = True
    """A router's price is not: it depends on where the request goes."""

    def at(self, prompt_tokens: int, utc_time: str) -> Mapping[str, float]:
        """The prices for such a prompt at this time: of the overrides the last one wins."""
        prices = dict(self.prices)
        for override in self.overrides:
            if override.holds(prompt_tokens, utc_time):
                prices.update(override.prices)
        return prices

    @property
    def is_free(self) -> bool:
        """Whether nothing about it costs anything, at any time."""
        return self.is_known and not any(any(prices.values()) for prices in self._all())

    @property
    def per_million(self) -> float | None:
        """What a million of its dearest tokens costs at most; `None` for an unknown price."""
        if not self.is_known:
            return None
        return 1e6 * max(prices.get(name, 0.0) for prices in self._all() for name in _TOKEN_PRICES)

    def _all(self) -> tuple[Mapping[str, float], ...]:
        return (self.prices, *(override.prices for override in self.overrides))


def read_pricing(value: Any) -> Pricing:
    """Read `pricing`; a price that is missing, negative or no number is unknown."""
    row = as_object(value)
    prices = _prices_in(row)
    return Pricing(
        prices=prices,
        overrides=tuple(map(_read_override, objects_in(row.get("overrides")))),
        is_known="prompt" in prices and "completion" in prices,
    )


def _read_override(row: JsonObject) -> PriceOverride:
    return PriceOverride(
        prices=_prices_in(row),
        min_prompt_tokens=whole_of(row.get("min_prompt_tokens")),
        utc_start=_time_of_day(row.get("utc_start")),
        utc_end=_time_of_day(row.get("utc_end")),
    )


def _time_of_day(value: Any) -> str:
    text = text_of(value).replace(":", "")
    return text.zfill(4) if text else ""


def _prices_in(row: JsonObject) -> dict[str, float]:
    conditions = ("min_prompt_tokens", "utc_start", "utc_end")
    prices: dict[str, float] = {}
    for name, value in row.items():
        if name in _NO_PRICES or name in conditions:
            continue
        try:
            price = float(text_of(value))
        except (ValueError, OverflowError):
            continue
        if isfinite(price) and price >= 0:
            prices[name] = price
    return prices


################################
# models/family.py
#
# A model as the pipe knows it, and its id both ways without loss.
################################

@dataclass(frozen=True, slots=True)
class ReasoningAbility:
    """How a model thinks, as its catalog row says (`reasoning`)."""

    mandatory: bool = False
    efforts: tuple[str, ...] | None = None
    """The efforts it accepts; `None` means all, an empty tuple that there is no choice."""


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """One row of the catalog: a base model or one of its own-priced variants."""

    id: str
    """OpenRouter's id: `author/slug`, perhaps with a `:variant`."""
    name: str
    supported_parameters: frozenset[str] = frozenset()
    """What its endpoints take, under chat completions' names."""
    input_modalities: frozenset[str] = frozenset({"text"})
    output_modalities: frozenset[str] = frozenset({"text"})
    reasoning: ReasoningAbility | None = None
    """`None` for a model that does not reason."""
    context_length: int | None = None
    """How many tokens it can hold, question and answer together."""
    max_prompt_tokens: int | None = None
    max_completion_tokens: int | None = None
    pricing: Pricing = field(default_factory=lambda: read_pricing(None))
    canonical_slug: str = ""
    """Its permanent, dated name; an answer may name the model so."""
    alias_target: str = ""
    """The id of the model that a floating alias (`~author/family-latest`) stands for now."""
    created: float = 0.0
    """Seconds since 1970."""
    expires_on: date | None = None
    """The last day on which it is served."""
    description: str = ""
    studio: str = ""
    """The endpoint that it is asked at, where chats' endpoints do not know it."""

    @property
    def vendor(self) -> str:
        """Whose model it is: the author in its id."""
        return self.id.lstrip("~").partition("/")[0]

    @property
    def calls_tools(self) -> bool:
        """Whether it can call tools."""
        return not self.supported_parameters.isdisjoint(("tools", "tool_choice"))

    @property
    def answers_chats(self) -> bool:
        """Whether it writes, draws or films, and not in batches only."""
        answers = {"text", "image", self.studio and "video"}
        return not self.is_batch and not self.output_modalities.isdisjoint(answers)

    @property
    def is_batch(self) -> bool:
        """Whether it answers batch jobs only, never a chat."""
        return self.id.endswith(":batch")


def takes_tools(family: ModelFamily | None) -> bool:
    """Whether the model may be offered tools; one the catalog says nothing about may."""
    if family is None:
        return True
    if "text" not in family.output_modalities:
        return False
    return not family.supported_parameters or "tools" in family.supported_parameters


def read_family(row: Mapping[str, Any]) -> ModelFamily | None:
    """Read a catalog row (schema `Model`); `None` for one without an id."""
    model_id = row.get("id")
    if not isinstance(model_id, str) or not model_id:
        return None
    architecture = as_object(row.get("architecture"))
    parameters = _words_of(row.get("supported_parameters"))
    limits, provider = as_object(row.get("per_request_limits")), as_object(row.get("top_provider"))
    target = as_object(row.get("alias_target"))
    return ModelFamily(
        id=model_id,
        name=_name_of(row, model_id, text_of(target.get("name")) or text_of(target.get("slug"))),
        supported_parameters=parameters,
        input_modalities=_words_of(architecture.get("input_modalities")) or frozenset({"text"}),
        output_modalities=_words_of(architecture.get("output_modalities")) or frozenset({"text"}),
        reasoning=_read_reasoning_ability(row.get("reasoning"), parameters),
        context_length=whole_of(row.get("context_length")) or None,
        max_prompt_tokens=whole_of(limits.get("prompt_tokens")) or None,
        max_completion_tokens=whole_of(provider.get("max_completion_tokens")) or None,
        pricing=read_pricing(row.get("pricing")),
        canonical_slug=text_of(row.get("canonical_slug")),
        alias_target=text_of(target.get("slug")),
        created=float(number_of(row.get("created")) or 0.0),
        expires_on=_day_of(row.get("expiration_date")),
        description=text_of(row.get("description")),
        studio=text_of(row.get("studio")),
    )


def _name_of(row: Mapping[str, Any], model_id: str, target: str) -> str:
    """Its name; that of an alias says what it stands for."""
    name = text_of(row.get("name")) or model_id
    return f"{name} \N{RIGHTWARDS ARROW} {target}" if target else name


def _day_of(value: Any) -> date | None:
    try:
        return date.fromisoformat(text_of(value)[:10])
    except ValueError:
        return None


def _read_reasoning_ability(value: Any, parameters: frozenset[str]) -> ReasoningAbility | None:
    row = as_object(value)
    if not row and "reasoning" not in parameters:
        return None
    efforts = row.get("supported_efforts", [] if row else None)
    named = cast("list[Any]", efforts) if isinstance(efforts, list) else None
    return ReasoningAbility(
        mandatory=bool(row.get("mandatory")),
        efforts=None if named is None else tuple(map(text_of, named)),
    )


def _words_of(value: Any) -> frozenset[str]:
    entries = cast("list[Any]", value) if isinstance(value, list) else []
    return frozenset(entry for entry in entries if isinstance(entry, str))


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


################################
# models/icons.py
#
# The makers' icons: addresses at OpenRouter or, where the admin wants it, copies.
################################

FetchIcon = Callable[[str], Awaitable[bytes]]
# A file of that name stands at OpenRouter for each; other makers have none there that is known.
_ICONS = "https://openrouter.ai/images/icons/"
_ICON_FILES = {
    "anthropic": "Anthropic.svg",
    "cohere": "Cohere.png",
    "deepseek": "DeepSeek.png",
    "google": "GoogleGemini.svg",
    "meta-llama": "Meta.png",
    "mistralai": "Mistral.png",
    "openai": "OpenAI.svg",
    "perplexity": "Perplexity.svg",
    "qwen": "Qwen.png",
}
_HOSTS_OWN = "/static/favicon.png"
NO_ICON = ("", _HOSTS_OWN, "/favicon.png", "/user.png")
"""What stands in a row that has none."""

# Each lies in the rows of all its maker's models, and every list of models reads those.
ICON_DOWNLOAD = DownloadRules(AddressRules(), 65_536, max_retries=1, first_wait=1.0, time_limit=10)
_COPIED_TYPES = frozenset({"image/png", "image/jpeg", "image/webp"})


def icon_of(family: ModelFamily) -> str:
    """The address of the maker's icon; empty where none is known."""
    file = _ICON_FILES.get(family.vendor)
    return _ICONS + file if file else ""


async def copy_icons(fetch: FetchIcon, copies: dict[str, str]) -> None:
    """Add what is to stand in a row instead of each address; what has not come is empty.

    Of a drawing, which Open WebUI refuses as a copy, it is Open WebUI's own icon.
    """
    for address in map(_ICONS.__add__, _ICON_FILES.values()):
        if address.endswith(".svg"):
            copies[address] = _HOSTS_OWN
        elif not copies.get(address):
            content = b""
            with suppress(PipeError):
                content = await fetch(address)
            kind = sniff_media_type(content)
            data = f"data:{kind};base64,{base64.b64encode(content).decode()}"
            copies[address] = data if kind in _COPIED_TYPES else ""


################################
# models/variants.py
#
# Variants and presets: entries of their own that use the model they are made of.
################################

VARIANT_TAGS = ("nitro", "floor", "exacto", "online", "free", "thinking", "extended")
_PRESET = "@preset/"


def ids_behind(model_id: str) -> Iterator[str]:
    """The id itself, then what it is made of: without its preset, without one tag after another."""
    yield model_id
    base, preset, _ = model_id.partition(_PRESET)
    if preset and base:
        yield base
    while (parts := base.rpartition(":"))[2] in VARIANT_TAGS and parts[0]:
        base = parts[0]
        yield base


def family_behind(model_id: str, by_id: Mapping[str, ModelFamily]) -> ModelFamily | None:
    """What the catalog says of a model, or of the one that a variant or preset is made of."""
    return next((by_id[known] for known in ids_behind(model_id) if known in by_id), None)


def is_free_of_charge(model_id: str, family: ModelFamily) -> bool:
    """Whether it costs nothing: `:free` does not, and `:online` always does."""
    tags = model_id.partition(_PRESET)[0].split(":")[1:]
    return "online" not in tags and ("free" in tags or family.pricing.is_free)


def variant_families(
    wanted: Iterable[str], by_id: Mapping[str, ModelFamily]
) -> dict[str, ModelFamily]:
    """An entry for each variant and preset the admin has named, by its id.

    What names no known model, an unknown tag, or a row of the catalog makes none.
    """
    found: dict[str, ModelFamily] = {}
    for entry in wanted:
        for family in _variants_of(from_host_id(entry), by_id):
            if family.id not in by_id:
                found.setdefault(family.id, family)
    return found


def _variants_of(entry: str, by_id: Mapping[str, ModelFamily]) -> Iterator[ModelFamily]:
    base, preset, slug = entry.partition(_PRESET)
    if preset and slug and not base:
        yield ModelFamily(entry, f"Preset {slug}")
        return
    pattern, _, tag = base.rpartition(":")
    if preset and slug:
        pattern, ending, label = base, f"{preset}{slug}", f"preset {slug}"
    elif tag in VARIANT_TAGS and pattern:
        ending, label = f":{tag}", tag
    else:
        return
    for family in _matching(from_host_id(pattern), by_id):
        yield replace(family, id=f"{family.id}{ending}", name=f"{family.name} ({label})")


def _matching(pattern: str, by_id: Mapping[str, ModelFamily]) -> list[ModelFamily]:
    """The model of this id or, for a pattern, every base model that it matches."""
    if not any(sign in pattern for sign in "*?["):
        family = family_behind(pattern, by_id)
        return [replace(family, id=pattern)] if family is not None else []
    return [
        family
        for family in by_id.values()
        if ":" not in family.id and fnmatchcase(family.id, pattern)
    ]


################################
# models/known.py
#
# What is known of the models now: one catalog, never changed, replaced as a whole.
################################

@dataclass(frozen=True, slots=True, eq=False)
class KnownModels:
    """The rows of one catalog, and which models some provider serves without keeping data."""

    families: tuple[ModelFamily, ...] = ()
    by_id: Mapping[str, ModelFamily] = field(default_factory=dict[str, ModelFamily])
    zdr_ids: frozenset[str] | None = None
    """`None` while the list of endpoints with zero data retention is not known."""

    def find(self, model_id: str) -> ModelFamily | None:
        """What the catalog says of a model, or of the one that a variant or preset is made of."""
        return family_behind(model_id, self.by_id)

    def has_zdr(self, model_id: str) -> bool:
        """Whether some provider serves it without keeping data, as far as that is known."""
        family = self.find(model_id)
        names = {model_id}
        if family is not None:
            names |= {family.id, family.alias_target}
        return not names.isdisjoint(self.zdr_ids or ())


NOTHING_KNOWN = KnownModels()


def know_models(
    families: Iterable[ModelFamily], zdr_ids: frozenset[str] | None = None
) -> KnownModels:
    """Put the rows of a catalog in order; of two with one id the first counts."""
    by_id: dict[str, ModelFamily] = {}
    for family in families:
        by_id.setdefault(family.id, family)
    return KnownModels(tuple(by_id.values()), by_id, zdr_ids)


################################
# models/companions.py
#
# The companion filters: where each works, and how each comes into Open WebUI.
################################

SEARCH_OPT_OUTS = ("disable_native_websearch", "disable_native_web_search")
"""A model's custom parameters that keep searching away."""

_KNOWN_FILTERS = "{}.known_filters"


@dataclass(frozen=True, slots=True)
class Companion:
    """One of the filters in `filters/`."""

    source: str
    """The name of its file, and of its rule among the settings."""
    suffix: str
    """Behind the pipe's own id it makes the filter's."""
    works_with: Callable[[ModelFamily], bool]
    opt_outs: tuple[str, ...] = ()
    """A model's custom parameters that keep it away."""
    default_opt_out: str = ""
    """The one that keeps it off in new chats."""


def _writes(family: ModelFamily) -> bool:
    return "text" in family.output_modalities


COMPANIONS = (
    Companion(
        "search_toggle",
        "search",
        _writes,
        ("disable_openrouter_search_auto_attach", *SEARCH_OPT_OUTS),
        "disable_openrouter_search_default_on",
    ),
    Companion(
        "provider_routing",
        "provider_routing",
        lambda family: True,
        ("disable_provider_routing_auto_attach",),
    ),
    Companion("direct_uploads", "direct_uploads", _writes, ("disable_direct_uploads_auto_attach",)),
)


@dataclass(frozen=True, slots=True)
class Attachment:
    """A filter that is there, to be offered with the models it works with."""

    filter_id: str
    companion: Companion
    is_default: bool = False


def filters_for(
    family: ModelFamily, parameters: JsonObject, attachments: Iterable[Attachment]
) -> tuple[list[str], list[str]]:
    """The filters to offer with a model, and those of them that are on in a new chat."""
    offered: list[str] = []
    on: list[str] = []
    for attachment in attachments:
        companion = attachment.companion
        if companion.works_with(family) and not _is_any_on(parameters, companion.opt_outs):
            offered.append(attachment.filter_id)
            if attachment.is_default and not _is_any_on(parameters, (companion.default_opt_out,)):
                on.append(attachment.filter_id)
    return offered, on


def share_model_inputs(function_id: str, known: KnownModels) -> None:
    """Let the filters of this process ask what a model takes, by its id in Open WebUI."""

    def inputs_of(host_id: str) -> frozenset[str] | None:
        family = known.find(from_host_id(host_id))
        return family and family.input_modalities

    shared_by_process("model_inputs", dict[str, object])[function_id] = inputs_of


async def install_companions(
    function_id: str, sources: Mapping[str, str], rules: CompanionRules
) -> tuple[Attachment, ...]:
    """Install what is missing, update what nobody has edited; what there is to attach.

    A filter that was there once and is no more has been deleted, and stays away.
    """
    ids = {companion.source: f"{function_id}_{companion.suffix}" for companion in COMPANIONS}
    stored = await read_filters(ids.values())
    if stored is None:
        return ()
    memory = _KNOWN_FILTERS.format(function_id)
    past = await read_kept_ids(memory)
    present = {filter_id for filter_id, found in stored.items() if found.is_ours}
    wanted = {ids[source] for source in ids if rules[source].installs}
    for source, filter_id in ids.items():
        found, text = stored.get(filter_id), sources[source]
        if filter_id not in wanted:
            continue
        if found is None and filter_id not in past and await insert_filter(filter_id, text):
            present.add(filter_id)
        elif found is not None and found.is_unedited and found.text != text:
            await update_filter(found, text)
    if (kept := (past | present) & wanted) != past:
        await keep_ids(memory, kept)
    return tuple(
        Attachment(ids[companion.source], companion, rules[companion.source].is_default)
        for companion in COMPANIONS
        if ids[companion.source] in present and rules[companion.source].attaches
    )


def _is_any_on(parameters: JsonObject, names: Iterable[str]) -> bool:
    return any(is_switched_on(parameters.get(name)) for name in names)


################################
# models/metadata_sync.py
#
# What a sync would write into Open WebUI's rows of models: decided from values alone.
#
# Under a key of its own a row's `meta` remembers what was written into it. A field that differs
# from that is the admin's, and stays; so does one that was filled before the first sync.
################################

MEMORY_KEY = "openrouter_pipe"
GONE_TAG = "no longer at OpenRouter"
"""Marks the row of a vanished model, which Open WebUI's page of models goes on to list."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """An entry of the model list."""

    row_id: str
    family: ModelFamily
    is_in_catalog: bool = True
    """Whether the catalog says what it can do; it does not of a preset or an unlisted id."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """The rows to write."""

    inserts: tuple[ModelRow, ...] = ()
    updates: tuple[tuple[ModelRow, ModelRow], ...] = ()
    """Each as it is, and as it is to be."""
    gone: tuple[str, ...] = ()
    """The ids among the updates whose model has vanished."""

    @property
    def size(self) -> int:
        """How many rows would be written."""
        return len(self.inserts) + len(self.updates)

    def with_vanished(self, marked: tuple[tuple[ModelRow, ModelRow], ...]) -> SyncPlan:
        """The plan with the rows of vanished models added."""
        gone = tuple(before.id for before, _ in marked)
        return replace(self, updates=self.updates + marked, gone=gone)


def plan_sync(
    offered: Iterable[OfferedModel],
    stored: Mapping[str, ModelRow],
    past: frozenset[str],
    rules: MetadataRules,
    attachments: Sequence[Attachment] = (),
) -> SyncPlan:
    """Compare the models that are offered with their rows.

    `past` are the ids of all rows there have ever been: a missing one was deleted and stays away.
    """
    inserts: list[ModelRow] = []
    updates: list[tuple[ModelRow, ModelRow]] = []
    for model in offered:
        before = stored.get(model.row_id)
        row = before or ModelRow(model.row_id, model.family.name)
        after = describe_model(row, model, rules, attachments)
        if before is None and model.row_id not in past:
            inserts.append(after)
        elif before is not None and after != before:
            updates.append((before, after))
    return SyncPlan(tuple(inserts), tuple(updates))


def describe_model(
    row: ModelRow,
    model: OfferedModel,
    rules: MetadataRules,
    attachments: Sequence[Attachment] = (),
) -> ModelRow:
    """The row with what the catalog says, and its filters, wherever the admin said nothing else."""
    chosen = flat_parameters(row.params)
    if _is_left_out(row):
        return row
    draft = _RowDraft(row)
    draft.fill("name", model.family.name)
    if rules.images and not is_switched_on(chosen.get("disable_image_updates")):
        icon = icon_of(model.family)
        draft.fill("profile_image_url", rules.icons.get(icon, icon), blanks=NO_ICON)
    if rules.descriptions and not is_switched_on(chosen.get("disable_description_updates")):
        draft.fill("description", model.family.description.strip())
    if rules.capabilities and not is_switched_on(chosen.get("disable_capability_updates")):
        draft.tick(capabilities_of(model.family) if model.is_in_catalog else {})
    draft.tag({maker_of(model.family)} if rules.tags else draft.own_tags - {GONE_TAG})
    offered, on = filters_for(model.family, chosen, attachments)
    draft.list_filters("filterIds", offered)
    draft.list_filters("defaultFilterIds", on)
    return draft.finished()


def mark_vanished(
    stored: Mapping[str, ModelRow], offered: Iterable[OfferedModel], known: KnownModels
) -> tuple[tuple[ModelRow, ModelRow], ...]:
    """The rows of models that the catalog no longer has, as they are and with the mark.

    Only rows that a sync has written count. A catalog that lacks most of them is doubted: the
    account or the address may have changed, or half of an answer been lost.
    """
    entries = {model.row_id for model in offered}
    ours = [row for row in stored.values() if MEMORY_KEY in row.meta and not _is_marked(row)]
    lost = [row for row in ours if row.id not in entries and not _is_listed(row.id, known)]
    if 2 * len(lost) > len(ours):
        return ()
    return tuple((row, _mark_gone(row)) for row in lost if not _is_left_out(row))


def capabilities_of(family: ModelFamily) -> dict[str, bool]:
    """The ticks that the catalog knows better than Open WebUI, which assumes nearly everything."""
    ticks = {"vision": "image" in family.input_modalities}
    if not family.calls_tools:
        ticks["builtin_tools"] = False
    if "image" in family.output_modalities:
        # It is the switch of Open WebUI's own generator, which such a model does not need.
        ticks["image_generation"] = False
    return ticks


def maker_of(family: ModelFamily) -> str:
    """The maker's name, as it stands before the model's."""
    maker, colon, _ = family.name.partition(": ")
    return maker.strip() if colon else family.vendor


def _is_left_out(row: ModelRow) -> bool:
    return is_switched_on(flat_parameters(row.params).get("disable_model_metadata_sync"))


def _is_marked(row: ModelRow) -> bool:
    return GONE_TAG in _RowDraft(row).own_tags


def _is_listed(row_id: str, known: KnownModels) -> bool:
    """Whether the catalog has the model; a variant that has no price of its own is a way to it."""
    model_id = from_host_id(row_id.partition(".")[2])
    if model_id.endswith(":free"):
        return model_id in known.by_id
    return model_id.startswith("@preset/") or known.find(model_id) is not None


def _mark_gone(row: ModelRow) -> ModelRow:
    draft = _RowDraft(row)
    draft.tag(draft.own_tags | {GONE_TAG})
    return draft.finished()


class _RowDraft:
    """A row on its way from what it is to what it is to be."""

    def __init__(self, row: ModelRow) -> None:
        self._row = row
        self._values: JsonObject = {**row.meta, "name": row.name}
        self._memory = _memory_of(row)

    @property
    def own_tags(self) -> set[str]:
        """The tags that a sync has written."""
        return set(_names_listed(self._memory.get("tags")))

    def fill(self, field: str, value: str, blanks: tuple[str, ...] = ("",)) -> None:
        """Write a text, if the one that is there is no admin's."""
        stored = text_of(self._values.get(field))
        remembered = self._memory.get(field)
        is_free = stored in blanks if remembered is None else remembered == _digest(stored)
        if value and (is_free or stored == value):
            self._values[field] = value
            self._memory[field] = _digest(value)

    def tick(self, wanted: Mapping[str, bool]) -> None:
        """Write capabilities; each is the admin's or ours by itself."""
        ticks = dict(as_object(self._values.get("capabilities")))
        remembered = dict(as_object(self._memory.get("capabilities")))
        for name in {**remembered, **wanted}:
            # Where a row says nothing, Open WebUI assumes, and its page then writes: yes.
            untouched = (remembered[name],) if name in remembered else (None, True)
            if ticks.get(name) not in untouched:
                continue
            if name in wanted:
                ticks[name] = remembered[name] = wanted[name]
            else:
                ticks.pop(name, None)
                del remembered[name]
        self._values["capabilities"] = ticks
        self._memory["capabilities"] = remembered

    def tag(self, wanted: set[str]) -> None:
        """Write these tags and take back other ones of ours; what an admin removed stays away."""
        stored = [text_of(tag.get("name")) for tag in objects_in(self._values.get("tags"))]
        names = self._merge("tags", stored, wanted)
        if names != stored:
            self._values["tags"] = [{"name": name} for name in names]

    def list_filters(self, field: str, wanted: Iterable[str]) -> None:
        """Write these ids and take back other ones of ours; what an admin removed stays away."""
        stored = _names_listed(self._values.get(field))
        ids = self._merge(field, stored, set(wanted))
        if ids != stored:
            self._values[field] = ids

    def _merge(self, field: str, stored: list[str], wanted: set[str]) -> list[str]:
        """What is to be listed; what of it is ours is remembered."""
        ours = set(_names_listed(self._memory.get(field)))
        kept = [name for name in stored if name not in ours - wanted]
        if wanted != ours:
            self._memory[field] = sorted(wanted)
        return kept + sorted(wanted - ours - set(stored))

    def finished(self) -> ModelRow:
        """The row as it is to be."""
        meta = {name: value for name, value in self._values.items() if name != "name"}
        if MEMORY_KEY not in meta or self._memory != _memory_of(self._row):
            meta[MEMORY_KEY] = encode_json(self._memory).decode()
        return replace(self._row, name=self._values["name"], meta=meta)


def _memory_of(row: ModelRow) -> JsonObject:
    """What a sync has written into a row, by field.

    It is one text, for Open WebUI puts all of `meta`, value by value, into each list of models.
    """
    with suppress(ValueError):
        return dict(as_object(decode_json(text_of(row.meta.get(MEMORY_KEY)))))
    return {}


def _names_listed(value: Any) -> list[str]:
    return list(map(text_of, value)) if isinstance(value, list) else []


def _digest(text: str) -> str:
    return blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


################################
# models/registry.py
#
# The catalog in memory: answers at once, refreshes itself behind, keeps the last good one.
################################

FetchIds = Callable[[Settings], Awaitable[frozenset[str]]]
FetchCatalog = Callable[[Settings, CatalogCopy | None], Awaitable[CatalogCopy]]
"""Given the copy at hand, which it gives back when that is still the newest."""

# How long the first listing may wait for the first catalog (seconds).
FIRST_CATALOG_PATIENCE = 4.0
_FIRST_RETRY_SECONDS = 2.0
_LONGEST_RETRY_SECONDS = 300.0
# Servers that started together shall not ask together: each comes up to a tenth too early.
_EARLIEST = 0.9


class OpenRouterModelRegistry:
    """The models of one account at one address.

    `fetch_catalog` is handed in; it raises a `PipeError` when there is no catalog to be had.
    """

    def __init__(
        self,
        fetch_catalog: FetchCatalog,
        clock: Callable[[], float] = time.monotonic,
        fetch_zdr_ids: FetchIds | None = None,
        shelf: CatalogShelf | None = None,
    ) -> None:
        self._fetch_catalog = fetch_catalog
        self._fetch_zdr_ids = fetch_zdr_ids
        self._clock = clock
        self._shelf = shelf or CatalogShelf()
        self._has_looked = False
        self.known = NOTHING_KNOWN
        """The last good catalog; the same object as long as nothing in it changes."""
        self._refresh: asyncio.Task[None] | None = None
        self._due_at = float("-inf")
        self._failures = 0
        self._has_waited = False
        self._is_closed = False
        self.error: PipeError | None = None
        """Why the last refresh brought nothing; `None` while all is well."""

    async def families(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> tuple[ModelFamily, ...]:
        """The models known now; only the very first call waits, `patience` seconds at most."""
        self._begin_when_due(settings)
        if not self.known.families and self._refresh is not None and not self._has_waited:
            await asyncio.wait({self._refresh}, timeout=patience)
            self._has_waited = self._has_waited or patience > 0
            self._begin_when_due(settings)  # what was kept may be old
        return self.known.families

    def find(self, model_id: str) -> ModelFamily | None:
        """What the catalog in memory says of a model; `None` for one it does not list."""
        return self.known.find(model_id)

    async def require_zdr_ids(
        self, settings: Settings, patience: float = FIRST_CATALOG_PATIENCE
    ) -> None:
        """Wait, `patience` seconds at most, until it is known who keeps no data.

        Raises `ModelUnavailableError` where that is not learnt.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while self.known.zdr_ids is None:
                    self._begin_when_due(settings)
                    if self._refresh is None:
                        break
                    await asyncio.wait({self._refresh})
        if self.known.zdr_ids is None:
            why = f" {self.error.cause}" if self.error is not None else ""
            raise ModelUnavailableError(
                f"Who keeps no data could not be learnt from OpenRouter.{why}",
                "Try again in a moment. Zero data retention is demanded here, or by yourself.",
            )

    async def close(self) -> None:
        """Stop a refresh that is under way, and begin no other."""
        self._due_at, self._is_closed = float("inf"), True
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait({self._refresh})

    def _begin_when_due(self, settings: Settings) -> None:
        is_due = self._clock() >= self._due_at or self._lacks_zdr_ids(settings)
        if self._refresh is None and is_due:
            self._refresh = asyncio.create_task(self._load(settings))

    async def _load(self, settings: Settings) -> None:
        try:
            if not self._has_looked:
                self._has_looked = True
                if await self._take_kept(settings, await self._shelf.read()):
                    return
            async with self._shelf.turn():
                await self._renew(settings)
            self.error, self._failures = None, 0
        except PipeError as error:
            self._postpone(error)
        except Exception:  # noqa: BLE001 - a background job must not end the registry
            LOG.exception("catalog: the refresh failed")
            self._postpone(
                InternalError(
                    "The catalog could not be read.",
                    "The admin finds the details in the server's log.",
                )
            )
        finally:
            self._refresh = None

    def _lacks_zdr_ids(self, settings: Settings) -> bool:
        """Whether a setting, changed since the last refresh, asks for a list never fetched."""
        lacks = self._wants_zdr_ids(settings) and self.known.zdr_ids is None
        return lacks and self.error is None and not self._is_closed

    def _wants_zdr_ids(self, settings: Settings) -> bool:
        return settings.catalog.zdr_may_matter and self._fetch_zdr_ids is not None

    async def _renew(self, settings: Settings) -> None:
        """Take what another worker has fetched meanwhile, else fetch it."""
        kept = await self._shelf.read()
        if kept is not None and self._is_fresh(kept, settings):
            await self._take_kept(settings, kept)
        else:
            await self._fetch(settings, kept)

    async def _take_kept(self, settings: Settings, kept: CatalogCopy | None) -> bool:
        """Use a kept catalog, be it old; whether there was one."""
        if kept is None:
            return False
        await self._take(kept.rows, kept.zdr_ids)
        if self._is_fresh(kept, settings):
            self._rest(settings.catalog.refresh - kept.age)
        return True

    def _is_fresh(self, kept: CatalogCopy, settings: Settings) -> bool:
        lacks_ids = self._wants_zdr_ids(settings) and kept.zdr_ids is None
        return 0 <= kept.age < _EARLIEST * settings.catalog.refresh and not lacks_ids

    async def _fetch(self, settings: Settings, kept: CatalogCopy | None) -> None:
        newest = await self._fetch_catalog(settings, kept)
        await self._take(newest.rows, self.known.zdr_ids)
        if self._fetch_zdr_ids is not None and self._wants_zdr_ids(settings):
            self._know(self.known.families, await self._fetch_zdr_ids(settings))
        self._rest(settings.catalog.refresh)
        await self._shelf.keep(replace(newest, zdr_ids=self.known.zdr_ids))

    async def _take(self, rows: list[JsonObject], zdr_ids: frozenset[str] | None) -> None:
        families = await asyncio.to_thread(_families_in, rows)
        if not families:
            raise InternalError("OpenRouter's catalog is empty.", "Try again later.")
        self._know(families, zdr_ids)

    def _know(self, families: Iterable[ModelFamily], zdr_ids: frozenset[str] | None) -> None:
        newest = know_models(families, zdr_ids)
        known = self.known
        if (newest.families, newest.zdr_ids) != (known.families, known.zdr_ids):
            self.known = newest

    def _rest(self, seconds: float) -> None:
        if not self._is_closed:
            self._due_at = self._clock() + seconds * random.uniform(_EARLIEST, 1.0)

    def _postpone(self, error: PipeError) -> None:
        wait = min(_FIRST_RETRY_SECONDS * 2**self._failures, _LONGEST_RETRY_SECONDS)
        level = logging.INFO if self.error is not None else logging.WARNING
        self.error = error
        self._failures += 1
        self._rest(wait)
        LOG.log(level, "catalog: %s The next try is in %.0f seconds.", error.cause, wait)


def _families_in(rows: list[JsonObject]) -> tuple[ModelFamily, ...]:
    return tuple(family for row in rows if (family := read_family(row)) is not None)


################################
# models/visibility.py
#
# Which models are offered, and which may be used: the same rules, for the same reasons.
################################

_ALONE = "@preset/"
_NO_PRICE = float("inf")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be offered or used, and what is known of it."""

    model_id: str
    family: ModelFamily | None
    """`None` for one outside of the catalog."""
    known: KnownModels
    rules: CatalogRules
    today: date

    @property
    def is_named(self) -> bool:
        """Whether the admin has named this very id: then the catalog need not know it."""
        named = (*self.rules.model_ids, *self.rules.variants)
        return self.model_id in named or self.model_id in map(from_host_id, named)


def today_utc() -> date:
    """The day by which models expire."""
    return datetime.now(UTC).date()


def offered_families(
    known: KnownModels, rules: CatalogRules, today: date | None = None
) -> tuple[ModelFamily, ...]:
    """Every model a chat can choose, with its variants, in the order the admin wants."""
    day = today or today_utc()
    families = {family.id: family for family in known.families if family.answers_chats}
    families |= variant_families(rules.variants, families)
    families |= {family.id: family for family in _named_outside(known, rules)}
    offered = [
        family
        for family in families.values()
        if reason_against(Candidate(family.id, known.find(family.id), known, rules, day)) is None
    ]
    return tuple(_sorted(offered, known, rules.order))


def require_allowed(
    model_id: str, known: KnownModels, rules: CatalogRules, today: date | None = None
) -> None:
    """Raise `ModelUnavailableError`, with the reason, when a rule keeps the model back."""
    family = known.find(model_id)
    reason = reason_against(Candidate(model_id, family, known, rules, today or today_utc()))
    if reason is not None:
        valve, words = reason
        raise ModelUnavailableError(
            f"The model {model_id} {words}.",
            f"Choose another model; the rule behind it is the setting {valve}.",
        )


def allowed_only(
    model_ids: Iterable[str], known: KnownModels, rules: CatalogRules
) -> tuple[str, ...]:
    """Those of the models that no rule keeps back."""
    day = today_utc()
    return tuple(
        model_id
        for model_id in model_ids
        if reason_against(Candidate(model_id, known.find(model_id), known, rules, day)) is None
    )


def reason_against(candidate: Candidate) -> tuple[str, str] | None:
    """The setting that keeps a model back and what it says of it; `None` for a model to use."""
    return next(
        ((valve, words) for valve, keeps_back, words in _RULES if keeps_back(candidate)), None
    )


def unmatched_names(known: KnownModels, rules: CatalogRules) -> tuple[str, ...]:
    """What `MODEL_ID` and `VARIANT_MODELS` name that no model of the catalog fits."""
    ids = [family.id for family in known.families if family.answers_chats]
    names = (name for name in rules.model_ids if not any(_fits(name, found) for found in ids))
    by_id = {found: known.by_id[found] for found in ids}
    variants = (
        name
        for name in rules.variants
        if from_host_id(name) not in by_id and not variant_families((name,), by_id)
    )
    return (*names, *variants)


def _named_outside(known: KnownModels, rules: CatalogRules) -> list[ModelFamily]:
    """The ids in `MODEL_ID` that the catalog does not list: they may exist all the same."""
    ids = (from_host_id(name) for name in rules.model_ids)
    return [
        ModelFamily(model_id, f"{model_id} (not in OpenRouter's catalog)")
        for model_id in ids
        if "/" in model_id and not _is_pattern(model_id) and known.find(model_id) is None
    ]


def _sorted(families: list[ModelFamily], known: KnownModels, order: str) -> list[ModelFamily]:
    match order:
        case "name":
            return sorted(families, key=lambda family: family.name.casefold())
        case "newest":
            return sorted(families, key=lambda family: -family.created)
        case "price":
            return sorted(families, key=_price_of)
        case _:
            places = {model_id: place for place, model_id in enumerate(known.by_id)}
            return sorted(families, key=lambda family: _place_of(family, known, places))


def _price_of(family: ModelFamily) -> float:
    price = family.pricing.per_million
    return _NO_PRICE if price is None else price


def _place_of(family: ModelFamily, known: KnownModels, places: dict[str, int]) -> int:
    """A variant stands behind its model, what the catalog does not know behind everything."""
    base = known.find(family.id)
    return places[base.id] if base is not None else len(places)


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _fits(name: str, model_id: str) -> bool:
    """Whether an entry of the admin's list, in either form of an id, means the model."""
    if not _is_pattern(name):
        return model_id in (name, from_host_id(name))
    return fnmatchcase(model_id, name) or fnmatchcase(model_id, from_host_id(name))


def _is_not_listed(candidate: Candidate) -> bool:
    ids = candidate.rules.model_ids
    if not ids or any(_fits(name, candidate.model_id) for name in ids):
        return False
    base = candidate.family
    wanted = {base.id: base} if base is not None else {}
    return candidate.model_id not in variant_families(candidate.rules.variants, wanted)


def _is_of_another_vendor(candidate: Candidate) -> bool:
    vendors, model_id = candidate.rules.vendors, candidate.model_id
    if not vendors or model_id.startswith(_ALONE):
        return False
    vendor = model_id.lstrip("~").partition("/")[0].lower()
    return not any(fnmatchcase(vendor, pattern) for pattern in vendors)


def _is_expired(candidate: Candidate) -> bool:
    family = candidate.family
    return (
        family is not None
        and family.expires_on is not None
        and (family.expires_on < candidate.today)
    )


def _misses_free_filter(candidate: Candidate) -> bool:
    wanted, family = candidate.rules.free, candidate.family
    if wanted == "all":
        return False
    if family is None:
        return not candidate.is_named
    return is_free_of_charge(candidate.model_id, family) is not (wanted == "only")


def _misses_tool_filter(candidate: Candidate) -> bool:
    wanted, family = candidate.rules.tools, candidate.family
    if wanted == "all":
        return False
    if family is None:
        return not candidate.is_named
    return family.calls_tools is not (wanted == "only")


def _is_too_dear(candidate: Candidate) -> bool:
    ceiling, family = candidate.rules.max_price, candidate.family
    if not ceiling:
        return False
    if family is None:
        return not candidate.is_named
    if is_free_of_charge(candidate.model_id, family):
        return False
    price = family.pricing.per_million
    # Prices are decimals, read as binary fractions: equal is not dearer.
    return price is None or price > ceiling * (1 + 1e-9)


def _keeps_data(candidate: Candidate) -> bool:
    rules, known = candidate.rules, candidate.known
    if not rules.needs_zdr:
        return False
    if candidate.family is not None and candidate.family.studio and rules.zdr_enforced:
        return True  # its endpoint takes no `provider.zdr`, and another provider might serve it
    if known.zdr_ids is None and not rules.zdr_models_only:
        return False  # `provider.zdr` makes OpenRouter itself refuse
    return not known.has_zdr(candidate.model_id)


_RULES: tuple[tuple[str, Callable[[Candidate], bool], str], ...] = (
    ("`MODEL_ID`", _is_not_listed, "is not among those offered here"),
    ("`MODEL_VENDORS`", _is_of_another_vendor, "is of a vendor that is not offered here"),
    ("`expiration_date` of OpenRouter's catalog", _is_expired, "has been withdrawn by its vendor"),
    ("`FREE_MODEL_FILTER`", _misses_free_filter, "is kept back by its price"),
    ("`TOOL_CALLING_FILTER`", _misses_tool_filter, "is kept back by whether it can call tools"),
    (
        "`MAX_PRICE_PER_MILLION_USD`",
        _is_too_dear,
        "is dearer than is allowed here, or its price is not known",
    ),
    (
        "`ZDR_ENFORCE` or `ZDR_MODELS_ONLY`, or your own `REQUEST_ZDR`",
        _keeps_data,
        "is not known to have a provider with zero data retention, which is demanded",
    ),
)


################################
# models/entries.py
#
# The entries of Open WebUI's model list: the models, or one entry that says why there are none.
################################

NOTICE_ID = "notice"
"""The id of the entry that stands in for the models; choosing it shows the same reason."""

Entry = dict[str, str]


async def list_entries(registry: OpenRouterModelRegistry, settings: Settings) -> list[Entry]:
    """The models that are offered, as `pipes()` returns them; never empty."""
    if settings.api_key:
        await registry.families(settings)
        offered = _list_offered(registry.known, settings.catalog, today_utc())
        if offered:
            return [{"id": host_id, "name": name} for host_id, name in offered]
    return [notice_entry(await explain_absence(registry, settings))]


@lru_cache(maxsize=4)
def _list_offered(
    known: KnownModels, rules: CatalogRules, today: date
) -> tuple[tuple[str, str], ...]:
    """Ids and names; worked out, and what fits nothing reported, once for each catalog."""
    if not known.families:
        return ()
    if unmatched := unmatched_names(known, rules):
        LOG.warning("catalog: no model fits %s of the settings", ", ".join(unmatched))
    return tuple(
        (to_host_id(family.id), family.name) for family in offered_families(known, rules, today)
    )


def notice_entry(error: PipeError) -> Entry:
    """One entry whose name is the reason."""
    return {"id": NOTICE_ID, "name": f"\N{WARNING SIGN} {error.cause}"}


async def explain_absence(registry: OpenRouterModelRegistry, settings: Settings) -> PipeError:
    """Why no model is offered."""
    if not settings.api_key:
        return missing_key()
    if registry.error is not None:
        return registry.error
    await registry.families(settings, patience=0)
    if registry.known.families:
        return _why_none_is_offered(registry.known, settings.catalog)
    return ModelUnavailableError(
        "The list of OpenRouter's models is still on its way.", "Reload the page in a moment."
    )


def _why_none_is_offered(known: KnownModels, rules: CatalogRules) -> PipeError:
    if rules.model_ids and len(unmatched_names(known, rules)) >= len(rules.model_ids):
        return ModelUnavailableError(
            f"No OpenRouter model matches MODEL_ID ({', '.join(rules.model_ids)}).",
            "The admin should correct `MODEL_ID`, or set it to `auto`.",
        )
    day = today_utc()
    kept_back = Counter(
        reason[0]
        for family in known.families
        if (reason := reason_against(Candidate(family.id, family, known, rules, day)))
    )
    valves = ", ".join(valve for valve, _ in kept_back.most_common())
    return ModelUnavailableError(
        f"Every OpenRouter model is kept back: {valves}.",
        "The admin should loosen these settings of the OpenRouter function.",
    )


################################
# models/sync_job.py
#
# Keeps Open WebUI's rows of models in step with the catalog, beside the answers.
################################

# Every row is a transaction of its own, and SQLite has one writer: the chats get the time between.
# It grows with the time that a write takes, so with what else the server has to do.
_PAUSE_SECONDS = 0.03
_PAUSE_PER_WRITE = 6
_RETRY_SECONDS = 60.0
# Longer than the longest first sync (seconds).
_LOCK_SECONDS = 1_800
_ROWS_PER_REPORT = 100
_NAMES_SHOWN = 5
_NO_NEW_ROWS = (
    "models: new models get no settings: BYPASS_ADMIN_ACCESS_CONTROL is off, so that admins "
    "would no longer see them; NEW_MODEL_ACCESS=public gives them settings"
)

Purpose = tuple[KnownModels, CatalogRules, MetadataRules, CompanionRules]
"""What a sync is for: when nothing of it has changed, there is nothing to do."""


@dataclass(slots=True)
class SyncTurn:
    """Whether a sync runs in this process. Copies of other ages read it."""

    is_taken: bool = False


class MetadataSync:
    """The syncs of one installed copy: one for each catalog, and for each change of a valve.

    The companion filters are installed with each, for the rows name them: `filter_sources` are
    their texts, `fetch_providers` gives the names that one of them offers for some models.
    """

    def __init__(
        self,
        function_id: str,
        filter_sources: Mapping[str, str],
        fetch_providers: Callable[[Settings, Collection[str]], Awaitable[list[str]]],
        fetch_icon: FetchIcon,
    ) -> None:
        self._function_id = function_id
        self._filter_sources = filter_sources
        self._fetch_providers = fetch_providers
        self._fetch_icon = fetch_icon
        self._icons: dict[str, str] = {}
        self._done: Purpose | None = None
        self._due_at = float("-inf")
        self._job: asyncio.Task[None] | None = None
        self._writes_rows = False

    def look(self, known: KnownModels, settings: Settings) -> None:
        """Begin to sync when the catalog or a rule is new since last time; nobody waits for it.

        One that is under way ends where it is when syncs have been switched off.
        """
        share_model_inputs(self._function_id, known)
        purpose = (known, settings.catalog, settings.metadata, settings.companions)
        if self._writes_rows and settings.metadata.mode == "off" and self._job is not None:
            self._job.cancel()
        if not known.families or purpose == self._done:
            return
        if self._job is None and time.monotonic() >= self._due_at:
            self._due_at = time.monotonic() + _RETRY_SECONDS
            self._writes_rows = settings.metadata.mode != "off"
            self._job = asyncio.create_task(self._run(purpose, settings))

    async def finished(self) -> None:
        """Wait for the sync that is under way."""
        if self._job is not None:
            await asyncio.wait({self._job})

    async def close(self) -> None:
        """Stop a sync that is under way, and begin no other."""
        self._due_at = float("inf")
        if self._job is not None:
            self._job.cancel()
            await asyncio.wait({self._job})

    async def _run(self, purpose: Purpose, settings: Settings) -> None:
        turn = shared_by_process("metadata_sync", SyncTurn)
        if turn.is_taken:
            self._job = None
            return
        turn.is_taken = True
        try:
            async with only_worker(f"{self._function_id}:rows", _LOCK_SECONDS) as is_ours:
                if is_ours:
                    await self._sync(purpose, settings)
                    self._done, self._due_at = purpose, float("-inf")
        except Exception:  # noqa: BLE001 - a background job must not trouble an answer
            LOG.exception("models: the settings of the models could not be brought up to date")
        finally:
            turn.is_taken = False
            self._job = None

    async def _sync(self, purpose: Purpose, settings: Settings) -> None:
        """Write what has changed. A row that refuses to be written waits for the next catalog."""
        known_rows, rules = f"{self._function_id}.known_rows", purpose[2]
        attachments = await install_companions(self._function_id, self._filter_sources, purpose[3])
        if attachments:
            await self._learn_providers(purpose, settings)
        if rules.copies_images and rules.images and rules.mode != "off":
            await copy_icons(self._fetch_icon, self._icons)
            rules = replace(rules, icons=self._icons)
            purpose = (*purpose[:2], rules, purpose[3])
        stored = await read_model_rows(self._function_id) if rules.mode != "off" else None
        if stored is None:
            return
        past = await read_kept_ids(known_rows)
        plan = self._plan(stored, past, purpose, attachments)
        _announce(plan, rules)
        if rules.mode == "dry_run":
            return
        inserted: set[str] = set()
        try:
            written = await self._write(plan, rules, inserted)
        finally:
            if not past >= (seen := stored.keys() | inserted):
                # One that is missing later has been deleted.
                await keep_ids(known_rows, past | seen)
        if written < plan.size:
            LOG.warning("models: %d settings could not be written", plan.size - written)

    async def _learn_providers(self, purpose: Purpose, settings: Settings) -> None:
        """Keep the providers' names where the filter that offers them looks."""
        known = purpose[0]
        offered = map(known.find, (family.id for family in offered_families(*purpose[:2])))
        with suppress(PipeError):
            names = await self._fetch_providers(settings, {each.id for each in offered if each})
            shared_by_process("provider_names", dict[str, list[str]])[self._function_id] = names

    def _plan(
        self,
        stored: Mapping[str, ModelRow],
        past: frozenset[str],
        purpose: Purpose,
        attachments: Sequence[Attachment],
    ) -> SyncPlan:
        known, catalog, rules, _ = purpose
        offered = [self._entry(family, known) for family in offered_families(known, catalog)]
        plan = plan_sync(offered, stored, past, rules, attachments)
        if plan.inserts and not rules.new_are_public and private_rows_hide_models():
            LOG.info(_NO_NEW_ROWS)
            plan = replace(plan, inserts=())
        if catalog.key_models_only:  # what is missing may only be out of the key's reach
            return plan
        return plan.with_vanished(mark_vanished(stored, offered, known))

    def _entry(self, family: ModelFamily, known: KnownModels) -> OfferedModel:
        row_id = f"{self._function_id}.{to_host_id(family.id)}"
        return OfferedModel(row_id, family, known.find(family.id) is not None)

    async def _write(self, plan: SyncPlan, rules: MetadataRules, inserted: set[str]) -> int:
        """Write row after row, and count those that were written."""
        written = 0
        for number, row in enumerate(plan.inserts, start=1):
            started = time.monotonic()
            if await insert_model_row(row, is_public=rules.new_are_public):
                inserted.add(row.id)
                written += 1
            await self._rest(number, plan, time.monotonic() - started)
        for number, (before, after) in enumerate(plan.updates, start=len(plan.inserts) + 1):
            started = time.monotonic()
            written += await update_model_row(before, after)
            await self._rest(number, plan, time.monotonic() - started)
        return written

    async def _rest(self, number: int, plan: SyncPlan, spent: float) -> None:
        if number % _ROWS_PER_REPORT == 0 or (number == plan.size > _ROWS_PER_REPORT):
            LOG.info("models: %d of %d settings written", number, plan.size)
        await asyncio.sleep(max(_PAUSE_SECONDS, _PAUSE_PER_WRITE * spent))


def _announce(plan: SyncPlan, rules: MetadataRules) -> None:
    if not plan.size:
        LOG.debug("models: the settings of all models are up to date")
        return
    LOG.info(
        "models: %s settings, %s, of %s; and change those of %s",
        "a sync would write" if rules.mode == "dry_run" else "this sync will write",
        "for everyone" if rules.new_are_public else "for admins",
        _counted([row.id for row in plan.inserts]),
        _counted([before.id for before, _ in plan.updates]),
    )
    if plan.gone:
        LOG.info("models: no longer at OpenRouter, their settings kept: %s", ", ".join(plan.gone))


def _counted(row_ids: list[str]) -> str:
    """How many there are, and the first of them."""
    more = ", ..." if len(row_ids) > _NAMES_SHOWN else ""
    return f"{len(row_ids)} models ({', '.join(row_ids[:_NAMES_SHOWN])}{more})"


################################
# storage/artifact_table.py
#
# The table of artifacts: what later turns need, each row bound to its pipe, user and chat.
################################

# A chat that has just begun may not be in its table yet.
_YOUNG_SECONDS = 3_600
_PURGE_BATCH = 200

ARTIFACTS = Table(
    "openrouter_pipe_artifacts",
    MetaData(),
    Column("id", String(26), primary_key=True),
    Column("pipe_id", String(LONGEST_TEXT), nullable=False),
    Column("user_id", String(LONGEST_TEXT), nullable=False),
    Column("chat_id", String(LONGEST_TEXT), nullable=False),
    Column("message_id", String(LONGEST_TEXT), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("codec", String(32), nullable=False),
    Column("key_id", String(32), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger, nullable=False),
    Index("openrouter_pipe_artifacts_by_chat", "chat_id"),
    Index("openrouter_pipe_artifacts_by_use", "pipe_id", "used_at"),
)
"""Times are whole seconds since 1970."""

# Open WebUI's own table; that is all we read of it.
_CHATS = Table("chat", MetaData(), Column("id", String(LONGEST_TEXT), primary_key=True))


@dataclass(frozen=True, slots=True)
class ArtifactHome:
    """Where an artifact belongs: it is found, and opens, nowhere else."""

    pipe_id: str
    user_id: str
    chat_id: str

    def identity(self, artifact_id: str) -> tuple[str, ...]:
        """What binds the payload of one artifact to its place."""
        return self.pipe_id, self.user_id, self.chat_id, artifact_id


Places = list[tuple[ArtifactHome, str]]
"""Artifacts, each by its home and id."""


def home_of(context: RequestContext) -> ArtifactHome:
    """Where the artifacts of a call belong."""
    return ArtifactHome(context.function_id, context.user_id, context.chat_id)


def home_of_row(row: Any) -> ArtifactHome:
    """Where a row of the table, or one for it, belongs."""
    return ArtifactHome(row["pipe_id"], row["user_id"], row["chat_id"])


async def insert_artifacts(connection: Any, rows: Sequence[dict[str, Any]]) -> None:
    """Add the rows; those that are there already, from a writing in doubt, are left alone."""
    by_id = {row["id"]: row for row in rows}
    known = select(ARTIFACTS.c.id).where(ARTIFACTS.c.id.in_(list(by_id)))
    there = set((await connection.execute(known)).scalars())
    if missing := [row for row in by_id.values() if row["id"] not in there]:
        await connection.execute(insert(ARTIFACTS), missing)


async def select_payloads(
    connection: Any, home: ArtifactHome, ids: Iterable[str]
) -> list[tuple[str, bytes, int]]:
    """Id, payload and last use of those artifacts that belong there."""
    rows = select(ARTIFACTS.c.id, ARTIFACTS.c.payload, ARTIFACTS.c.used_at).where(
        ARTIFACTS.c.id.in_(list(ids)),
        ARTIFACTS.c.chat_id == home.chat_id,
        ARTIFACTS.c.user_id == home.user_id,
        ARTIFACTS.c.pipe_id == home.pipe_id,
    )
    return [(row.id, bytes(row.payload), row.used_at) for row in await connection.execute(rows)]


async def note_use(connection: Any, ids: Iterable[str], now: float) -> None:
    """Their time to live begins anew."""
    used = update(ARTIFACTS).where(ARTIFACTS.c.id.in_(list(ids)))
    await connection.execute(used.values(used_at=int(now)))


async def purge_unused(connection: Any, pipe_id: str, before: float) -> Places:
    """Delete some of a pipe's artifacts not used since then, and tell which."""
    unused = ARTIFACTS.c.pipe_id == pipe_id, ARTIFACTS.c.used_at < int(before)
    return await _purge_some(connection, *unused)


async def purge_orphans(connection: Any, now: float) -> Places:
    """Delete some artifacts whose chat is gone, and tell which."""
    has_chat = exists().where(_CHATS.c.id == ARTIFACTS.c.chat_id)
    old_enough = ARTIFACTS.c.created_at < int(now - _YOUNG_SECONDS)
    return await _purge_some(connection, old_enough, ~has_chat)


async def _purge_some(connection: Any, *which: Any) -> Places:
    columns = ARTIFACTS.c.id, ARTIFACTS.c.pipe_id, ARTIFACTS.c.user_id, ARTIFACTS.c.chat_id
    some = select(*columns).where(*which).limit(_PURGE_BATCH)
    rows = (await connection.execute(some)).mappings().all()
    if rows:
        gone = ARTIFACTS.c.id.in_([row["id"] for row in rows])
        await connection.execute(delete(ARTIFACTS).where(gone))
    return [(home_of_row(row), row["id"]) for row in rows]


################################
# storage/cost_snapshots.py
#
# Costs for a program of the admin's own, which collects them from Open WebUI's Redis.
################################

_SNAPSHOT_SECONDS = 5.0


class CostSnapshots:
    """Puts costs into Redis; while it does not take them they are lost."""

    def __init__(self) -> None:
        self._fails = False

    async def push(self, context: RequestContext, usage: Usage) -> None:
        """Put a request's usage there, where the sign-in tells the user's name and address."""
        try:
            await _push_cost(context, usage)
            self._fails = False
        except Exception as error:  # noqa: BLE001 - a background job is contained
            if not self._fails:
                LOG.warning("costs: Redis takes no records, they are lost: %s", error)
            self._fails = True


async def _push_cost(context: RequestContext, usage: Usage) -> None:
    user_id, (email, name) = context.user_id, contact_of(context.host)
    if not (user_id and email and name):
        return
    now = int(time.time())
    figures = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
        "cost": usage.cost,
        "is_byok": usage.is_byok,
        "cost_details": usage.cost_details,
    }
    who = {"guid": user_id, "email": email, "name": name}
    record = encode_json({**who, "model": context.model, "usage": figures, "ts": now})
    key = f"costs:{context.function_id}:{user_id}:{uuid.uuid4()}:{now}"
    async with asyncio.timeout(_SNAPSHOT_SECONDS):
        if (redis := find_redis()) is not None:
            await redis.set(key, record, ex=context.settings.spend.redis_ttl)


################################
# storage/downloads.py
#
# Files of the web, fetched without a way into the server's own network.
#
# The name is looked up once, every address it leads to is checked, and the connection goes to those
# addresses and no others: an answer that changes between check and use changes nothing. Redirects
# take the same way again, as often as they come.
################################

Lookup = Callable[[str], Awaitable[list[str]]]
"""Gives the IP addresses of a host; raises `OSError` when there are none."""
Pause = Callable[[float], Awaitable[object]]

_MOST_REDIRECTS = 5
_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 20.0
_PIECE_BYTES = 256 * 1024
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # what is packed could grow beyond every limit
    "User-Agent": "Mozilla/5.0 (compatible; Open WebUI)",
}


async def look_up(host: str) -> list[str]:
    """The IP addresses of a host, by the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class Downloads:
    """Fetches files; whoever asks for one that is on its way waits for it with the others."""

    def __init__(self, lookup: Lookup = look_up, pause: Pause = asyncio.sleep) -> None:
        self._lookup = lookup
        self._pause = pause
        self._running: dict[tuple[str, DownloadRules], _SharedDownload] = {}

    async def fetch(self, url: str, rules: DownloadRules) -> bytes:
        """Fetch a file; raises `AddressRefusedError` or `DownloadFailedError`.

        Cancelling one who waits ends the download only if nobody else waits for it.
        """
        with self.begun(url, rules) as task:
            return await asyncio.shield(task)

    @contextmanager
    def begun(self, url: str, rules: DownloadRules) -> Generator[asyncio.Task[bytes]]:
        """Have a download on its way, which whoever fetches the file inside waits for."""
        key = (url, rules)
        shared = self._running.get(key)
        if shared is None:
            task = asyncio.create_task(self._fetch(url, rules))
            task.add_done_callback(_look_at_failure)
            shared = self._running[key] = _SharedDownload(task)
        shared.waiting += 1
        try:
            yield shared.task
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                del self._running[key]
                shared.task.cancel()

    async def _fetch(self, url: str, rules: DownloadRules) -> bytes:
        try:
            async with asyncio.timeout(rules.time_limit):
                return await self._keep_trying(url, rules)
        except TimeoutError:
            raise DownloadFailedError("downloading it took too long") from None

    async def _keep_trying(self, url: str, rules: DownloadRules) -> bytes:
        for retry in range(rules.max_retries):
            with suppress(_PassingError):
                return await self._follow(url, rules)
            await self._pause(rules.first_wait * 2**retry)
        return await self._follow(url, rules)

    async def _follow(self, url: str, rules: DownloadRules) -> bytes:
        for _ in range(_MOST_REDIRECTS + 1):
            address = read_address(url, rules.addresses)
            pinned = _PinnedResolver(await self._checked_addresses(address, rules))
            answer = await _ask_server(address, pinned, rules.max_bytes)
            if isinstance(answer, bytes):
                return answer
            url = urljoin(address.url, answer)
        raise DownloadFailedError("it was redirected too often")

    async def _checked_addresses(self, address: WebAddress, rules: DownloadRules) -> list[str]:
        found = [address.host]
        if not address.is_literal:
            try:
                found = await self._lookup(address.host)
            except (OSError, UnicodeError) as error:
                raise _PassingError(f"{address.host} was not found") from error
        is_trusted = address.origin in rules.addresses.trusted_origins
        if not found or not all(may_connect(ip, is_trusted=is_trusted) for ip in found):
            raise not_public(address)
        return found


@dataclass(slots=True)
class _SharedDownload:
    task: asyncio.Task[bytes]
    waiting: int = 0


def _look_at_failure(task: asyncio.Task[bytes]) -> None:
    """It may be that nobody waits any longer; asyncio complains of what nobody has looked at."""
    if not task.cancelled():
        task.exception()


class _PassingError(DownloadFailedError):
    """Another try may succeed."""


class _PinnedResolver(AbstractResolver):
    """Knows the checked addresses, whatever it is asked."""

    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is held."""


async def _ask_server(address: WebAddress, pinned: _PinnedResolver, limit: int) -> bytes | str:
    """The file, or where the server says it is."""
    timeout = aiohttp.ClientTimeout(connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
    connector = aiohttp.TCPConnector(resolver=pinned, use_dns_cache=False, force_close=True)
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,  # a proxy would look the name up again
                timeout=timeout,
            ) as session,
            session.get(
                URL(address.url, encoded=True), allow_redirects=False, headers=_HEADERS
            ) as response,
        ):
            if response.status in (301, 302, 303, 307, 308):
                return response.headers.get("Location", "")
            _refuse_answer(response, limit)
            return await _read(response, limit)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise _PassingError(f"{address.host} did not send it") from error
    except ValueError as error:
        raise DownloadFailedError(f"{address.host} did not answer as a web server does") from error


def _refuse_answer(response: aiohttp.ClientResponse, limit: int) -> None:
    host = response.url.host
    if response.status in _WORTH_ANOTHER_TRY:
        raise _PassingError(f"{host} answered with status {response.status}")
    if response.status != 200:
        raise DownloadFailedError(f"{host} answered with status {response.status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise DownloadFailedError(f"{host} sends it packed")
    if (response.content_length or 0) > limit:
        raise _too_large(limit)


async def _read(response: aiohttp.ClientResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    left = limit
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        left -= len(piece)
        if left < 0:
            raise _too_large(limit)
        pieces.append(piece)
    return b"".join(pieces)


def _too_large(limit: int) -> DownloadFailedError:
    return DownloadFailedError(f"it is larger than {limit // 1024**2} MB")


################################
# storage/encoded_files.py
#
# Files in the form a request carries them; the same picture is not read with every turn.
################################

CheckFile = Callable[[str, int], None]
"""Raises `UnsupportedInputError` for a media type and a size (bytes) that cannot go out."""

_CHUNK_BYTES = 768 * 1024  # a multiple of three: base64 of the chunks is that of the whole
_KEPT_CHARACTERS_EACH = 8 * 1024 * 1024
_KEPT_CHARACTERS_IN_ALL = 64 * 1024 * 1024
_LINK_SECONDS = 600.0
_LARGE_BYTES = 8 * 1024 * 1024
_LARGE_AT_ONCE = 4
_LARGE_WAITING = 1_000


@dataclass(frozen=True, slots=True)
class EncodedFile:
    """A file as text: itself where it is text, base64 where it is sound, else a data URL."""

    media_type: str
    size: int
    """Bytes."""
    text: str


class LargeFiles:
    """A place for a request with large files: only a few at once hold them in more than one form.

    Each takes one place, however many its files; nobody waits who has an answer under way.
    """

    def __init__(self) -> None:
        self._gate: Gate | None = None

    async def enter(self, size: int) -> None:
        """Wait for the place before such a file (of so many bytes) is encoded."""
        if size > _LARGE_BYTES and self._gate is None:
            gate = shared_by_process("large files", Gate)
            await enter_gate(gate, _LARGE_AT_ONCE, _LARGE_WAITING)
            self._gate = gate

    def leave(self) -> None:
        """Give it back: the request is on its way."""
        gate, self._gate = self._gate, None
        if gate is not None:
            leave_gate(gate)


class EncodedFiles:
    """Encodes stored and linked files, and remembers the smaller ones."""

    def __init__(
        self, downloads: Downloads | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._downloads = downloads or Downloads()
        self._clock = clock
        self._kept: OrderedDict[tuple[object, ...], EncodedFile] = OrderedDict()
        self._fetched_at: dict[tuple[object, ...], float] = {}
        """Of those behind links, which may change."""

    async def stored(self, file: FoundFile, check: CheckFile, room: LargeFiles) -> EncodedFile:
        """Encode a file of Open WebUI; raises `UnsupportedInputError`, `OSError`."""

        def read() -> EncodedFile:
            with path.open("rb") as content:
                return encode_file(content, size, check)

        key = (file.id, file.version)
        if known := self._recall(key, check):
            return known
        path = Path(await asyncio.to_thread(local_path, file))
        size = await asyncio.to_thread(lambda: path.stat().st_size)
        await room.enter(size)
        return self._keep(key, await asyncio.to_thread(read))

    async def linked(
        self, url: str, rules: DownloadRules, check: CheckFile, room: LargeFiles
    ) -> EncodedFile:
        """Encode a file of the web; raises `UnsupportedInputError` and what downloads raise."""
        key = (url, rules.addresses)
        if self._is_fresh(key) and (known := self._recall(key, check)):
            return known
        content = await self._downloads.fetch(url, rules)
        await room.enter(len(content))
        file = await asyncio.to_thread(encode_file, BytesIO(content), len(content), check)
        self._fetched_at[key] = self._clock()
        return self._keep(key, file)

    def begun(self, url: str, rules: DownloadRules) -> AbstractContextManager[object]:
        """Have the download of a linked file on its way, unless the file is remembered."""
        is_known = self._is_fresh((url, rules.addresses))
        return nullcontext() if is_known else self._downloads.begun(url, rules)

    def _is_fresh(self, key: tuple[object, ...]) -> bool:
        age = self._clock() - self._fetched_at.get(key, 0.0)
        return key in self._kept and age < _LINK_SECONDS

    def _forget(self, key: tuple[object, ...]) -> None:
        self._kept.pop(key, None)
        self._fetched_at.pop(key, None)

    def _recall(self, key: tuple[object, ...], check: CheckFile) -> EncodedFile | None:
        known = self._kept.get(key)
        if known is not None:
            self._kept.move_to_end(key)
            check(known.media_type, known.size)
        return known

    def _keep(self, key: tuple[object, ...], file: EncodedFile) -> EncodedFile:
        if len(file.text) <= _KEPT_CHARACTERS_EACH:
            self._kept[key] = file
            while sum(len(each.text) for each in self._kept.values()) > _KEPT_CHARACTERS_IN_ALL:
                self._forget(next(iter(self._kept)))
        else:
            self._forget(key)
        return file


def encode_file(content: IO[bytes], size: int, check: CheckFile) -> EncodedFile:
    """Encode a file chunk by chunk; `check` sees what it is before more than its head is read."""
    chunk = content.read(_CHUNK_BYTES)
    media_type = sniff_media_type(chunk)
    check(media_type, size)
    if media_type.startswith("text/"):
        return EncodedFile(media_type, size, (chunk + content.read()).decode(errors="replace"))
    prefix = "" if media_type.startswith("audio/") else f"data:{media_type};base64,"
    # One block, filled: of many pieces, put together at the end, the allocator keeps the holes.
    encoded = bytearray(len(prefix) + (size + 2) // 3 * 4)
    encoded[: len(prefix)] = prefix.encode()
    end = len(prefix)
    while chunk:
        piece = base64.b64encode(chunk)
        encoded[end : end + len(piece)] = piece
        end += len(piece)
        chunk = content.read(_CHUNK_BYTES)
    del encoded[end:]
    return EncodedFile(media_type, size, encoded.decode("ascii"))


################################
# storage/generated.py
#
# What a model has made becomes a file of the person who asked; a loss is told, not raised.
################################

_ENDINGS = {"audio/mpeg": "mp3"}


def true_media_type(content: bytes | bytearray, kind: str) -> str:
    """The true type of a picture, sound or video; empty for what is none."""
    found = sniff_media_type(content)
    return found if found.startswith(kind) else ""


async def keep_generated(
    context: RequestContext, content: bytes, stem: str, media_type: str
) -> StoredFile:
    """Store a file that everyone may open who may read the chat."""
    ending = _ENDINGS.get(media_type, media_type.partition("/")[2])
    stored = await store_file(context, content, f"{stem}.{ending}", media_type)
    if is_saved_chat(context.chat_id):
        await link_file(context, stored.id)
    return stored


@asynccontextmanager
async def telling_losses(context: RequestContext, what: str) -> AsyncGenerator[None]:
    """Whatever goes wrong inside costs the file, not the answer; the person is told of it."""
    try:
        yield
    except PipeError as error:
        await _tell_loss(context, error)
    except Exception:  # noqa: BLE001 - a file that is lost must not end the answer
        LOG.exception("files: one could not be stored")
        await _tell_loss(context, InternalError(f"{what} could not be stored."))


async def _tell_loss(context: RequestContext, error: PipeError) -> None:
    LOG.warning("files: %s", error.cause)
    words = " ".join(filter(None, (error.cause, error.next_step)))
    try:
        await send_event(context.host, "status", {"description": words, "done": True})
        # The closing line soon covers that status.
        await send_event(context.host, "notification", {"type": "warning", "content": words})
    except Exception:  # noqa: BLE001 - nor must the page that cannot be told
        LOG.exception("files: a loss could not be told")


def too_large(what: str) -> FileNotStoredError:
    """Why a file was not even tried to be stored."""
    return FileNotStoredError(f"{what} is too large to be stored.")


################################
# storage/artifact_cache.py
#
# Artifacts in Redis for a while, encrypted as they stand in the table; the others stay out.
#
# No worker keeps a copy in its memory, so whoever deletes a row deletes it here for all of them and
# has nobody to tell.
################################

_LARGEST_SHARED = 256 * 1024


class ArtifactCache:
    """Payloads by their place; it may lack any of them, and loses all of them after `seconds`."""

    def __init__(self, redis: SharedRedis) -> None:
        self._redis = redis
        self.seconds = 0
        """How long it keeps one; 0 switches it off."""

    async def read(self, home: ArtifactHome, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        """Id and payload of those that it has; not all of them need open."""
        if not self.seconds:
            return []
        keys = [_cache_key(home, each) for each in ids]
        texts = await self._redis.ask("reading", lambda client: client.mget(keys))
        found = zip(ids, map(payload_in, texts or []), strict=False)
        return [(each, payload) for each, payload in found if is_encrypted(payload)]

    async def keep_rows(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether it has the payloads of these rows now."""
        return await self.keep((home_of_row(row), row["id"], row["payload"]) for row in rows)

    async def keep(self, payloads: Iterable[tuple[ArtifactHome, str, bytes]]) -> bool:
        """Whether it has those of these payloads that it may have now."""
        shown = {
            _cache_key(home, artifact_id): payload_text(payload)
            for home, artifact_id, payload in payloads
            if may_be_shared(payload)
        }
        if not (self.seconds and shown):
            return False

        def put(pipeline: Any) -> None:
            for key, text in shown.items():
                pipeline.set(key, text, ex=self.seconds)

        return await self._redis.send("writing", put)

    async def forget(self, places: Iterable[tuple[ArtifactHome, str]]) -> None:
        """Drop these, which are deleted."""
        keys = [_cache_key(home, each) for home, each in places]
        if keys:
            await self._redis.send("writing", lambda pipeline: [*map(pipeline.delete, keys)])


def may_be_shared(payload: bytes) -> bool:
    """Whether a payload may go into Redis: encrypted, and not too large for a short patience."""
    return is_encrypted(payload) and len(payload) <= _LARGEST_SHARED


def payload_text(payload: bytes) -> str:
    """A payload as text: Open WebUI's client decodes all that it reads."""
    return b64encode(payload).decode()


def payload_in(text: Any) -> bytes:
    """The payload in such a text; empty where it is none."""
    try:
        return b64decode(text, validate=True)
    except (ValueError, TypeError):
        return b""


def _cache_key(home: ArtifactHome, artifact_id: str) -> str:
    chat = f"{{{home.chat_id}}}"  # one node of a cluster has all of a chat
    return redis_key("artifact", home.pipe_id, chat, home.user_id, artifact_id)


################################
# storage/pictures.py
#
# Pictures the model draws: files of the message, seen as they come, even half drawn.
################################

_LARGEST_PICTURE_BYTES = 64 * 1024 * 1024
# Each costs an upload: of an answer that sends more, the first are shown.
_MOST_SKETCHES = 12
# The answer waits for it.
_LINK_RETRIES = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as bytes, with its true type."""

    content: bytes
    media_type: str


def decode_picture(data_url: str) -> Picture:
    """The picture in a data URL; raises `FileNotStoredError` for what is none, or too large."""
    _, _, data = data_url.partition(",")
    if len(data) // 4 * 3 > _LARGEST_PICTURE_BYTES:
        raise too_large("The picture")
    try:
        content = base64.b64decode(data)
    except ValueError:
        content = b""
    return _as_picture(content)


async def fetch_picture(url: str, context: RequestContext) -> Picture:
    """The picture behind a link, which may soon lead nowhere; raises what downloads raise too."""
    rules = replace(context.settings.attachments.downloads, max_retries=_LINK_RETRIES)
    return _as_picture(await Downloads().fetch(url, rules))


def _as_picture(content: bytes) -> Picture:
    media_type = true_media_type(content, "image")
    if not media_type:
        raise FileNotStoredError("What the model sent is not a picture that can be shown.")
    return Picture(content, media_type)


@dataclass(frozen=True, slots=True)
class _Sketch:
    """A picture that is still being drawn, as the message shows it."""

    mark: int
    file: JsonObject


class ShownPictures:
    """The pictures of one message."""

    __slots__ = ("_context", "_files", "_seen", "_sketch", "_sketches")

    def __init__(self, context: RequestContext) -> None:
        self._context = context
        self._files: list[JsonObject] = []
        """All files that the message has now."""
        self._seen: set[int] = set()
        """The pictures by their hash: some streams send one twice."""
        self._sketch: _Sketch | None = None
        self._sketches = 0

    async def add(self, item: ImageItem) -> None:
        """Store and show one; when that fails the person is told, and the answer goes on."""
        mark = hash(item.data_url)
        if not item.data_url or mark in self._seen:
            return
        self._seen.add(mark)
        async with telling_losses(self._context, "The picture"):
            file = await self._store(item)
            item.data_url = file["url"]  # the picture itself is not held in memory any longer
            if is_saved_chat(self._context.chat_id):
                added = await add_message_files(self._context, [file])
                self._files = added or [*self._files, file]
                await self._show(self._files)
            else:  # the page adds it to what it has
                await self._show([file])
        await self.drop_sketch(is_shown=item.data_url.startswith("data:"))

    async def sketch(self, event: PictureSketched) -> None:
        """Show how far a picture has come, until the picture itself, or the end, takes its place.

        Only the list of a saved message can be replaced.
        """
        self._sketches += 1
        if not is_saved_chat(self._context.chat_id) or self._sketches > _MOST_SKETCHES:
            return
        try:
            if self._sketches == 1:
                self._files = await add_message_files(self._context, [])
            file = await self._upload(event.data_url)
            before, self._sketch = self._sketch, _Sketch(hash(event.data_url), file)
            await self._show([*self._files, file])
            if before is not None:
                await remove_file(before.file["id"])
        except Exception:  # noqa: BLE001 - it would soon be gone anyway
            LOG.exception("pictures: an unfinished one could not be shown")
            self._sketches = _MOST_SKETCHES

    async def drop_sketch(self, *, is_shown: bool = True) -> None:
        """Take away what is unfinished; the page may show something else by now."""
        sketch, self._sketch = self._sketch, None
        if sketch is None:
            return
        try:
            if is_shown:
                await self._show(self._files)
            await remove_file(sketch.file["id"])
        except Exception:  # noqa: BLE001 - a file too many must not end the answer
            LOG.exception("pictures: an unfinished one could not be taken away")

    async def _store(self, item: ImageItem) -> JsonObject:
        sketch = self._sketch
        if sketch is not None and sketch.mark == hash(item.data_url):  # it was finished already
            self._sketch = None
            return sketch.file
        if item.data_url.startswith("data:"):
            return await self._upload(item.data_url)
        try:
            return await self._keep(await fetch_picture(item.data_url, self._context))
        except PipeError as error:
            LOG.info("pictures: one stays a link: %s", error.cause)
            return {"type": "image", "url": item.data_url}

    async def _upload(self, data_url: str) -> JsonObject:
        return await self._keep(await asyncio.to_thread(decode_picture, data_url))

    async def _keep(self, picture: Picture) -> JsonObject:
        name = f"picture-{len(self._files) + 1}"
        stored = await keep_generated(self._context, picture.content, name, picture.media_type)
        kind = {"type": "image", "content_type": picture.media_type}
        return {**kind, "id": stored.id, "url": stored.url, "name": stored.name}

    async def _show(self, files: list[JsonObject]) -> None:
        # A copy: for a channel Open WebUI rewrites the address in it.
        data = {"files": [dict(each) for each in files]}
        await send_event(self._context.host, "chat:message:files", data)


################################
# storage/keeping.py
#
# The files of an answer: stored as they come, so that no base64 travels any further.
################################

_LARGEST_SOUND_BYTES = 64 * 1024 * 1024
# Sound that streams has no container (`pcm16`); one second of it has so many samples.
_SAMPLES_A_SECOND = 24_000
_NAMES = {"audio": "The sound", "video": "The video"}


async def keep_files(
    answer: AsyncGenerator[list[Event]], context: RequestContext
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; what it draws and plays is stored and shown in the message.

    Where no message waits, the caller gets pictures and sound themselves; only videos are stored.
    """
    pictures = ShownPictures(context)
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                if events := await _with_players(batch, context):
                    yield events
                for event in batch if context.is_in_message else ():
                    match event:
                        case PictureSketched():
                            await pictures.sketch(event)
                        case ItemFinished(_, ImageItem() as item):
                            await pictures.add(item)
                        case _:
                            pass
    finally:
        await pictures.drop_sketch()


async def _with_players(batch: list[Event], context: RequestContext) -> list[Event]:
    """The batch, with a player in the place of each sound or video that is complete."""
    events: list[Event] = []
    in_message = context.is_in_message
    for event in batch:
        match event:
            case ItemStarted(_, MediaItem(kind=kind)) if in_message or kind == "video":
                pass
            case ItemFinished(_, MediaItem(status="incomplete", content=content)) if not content:
                pass  # why none came is told with the answer's end
            case ItemFinished(index, MediaItem() as item) if in_message or item.kind == "video":
                async with telling_losses(context, _NAMES[item.kind]):
                    events.extend(_spoken(index, await _player(item, context)))
            case _:
                events.append(event)
    return events


async def _player(item: MediaItem, context: RequestContext) -> str:
    """The text that Open WebUI's page makes a player of (`HTMLToken.svelte`)."""
    # A video is measured while it is fetched.
    if item.kind == "audio" and len(item.content) > _LARGEST_SOUND_BYTES:
        raise too_large(_NAMES[item.kind])
    content, media_type = bytes(item.content), true_media_type(item.content, item.kind)
    if not media_type and item.kind == "audio":
        content, media_type = await asyncio.to_thread(as_wav, content), "audio/wav"
    if not media_type:
        raise FileNotStoredError(f"{_NAMES[item.kind]} that came is none that can be played.")
    stored = await keep_generated(context, content, item.kind, media_type)
    # Markdown takes a tag for a block of its own only when lines and a gap say so.
    return f"\n<{item.kind}>\n{stored.url}\n</{item.kind}>\n"


def as_wav(samples: bytes) -> bytes:
    """Bare 16-bit samples of one channel as a file that every player knows."""
    rate = _SAMPLES_A_SECOND
    kind = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    body = b"WAVE" + kind + struct.pack("<4sI", b"data", len(samples)) + samples
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def _spoken(index: int, text: str) -> list[Event]:
    """Words of the answer, at this place."""
    message_id = new_item_id("msg")
    return [
        ItemStarted(index, MessageItem(message_id)),
        TextDelta(index, text),
        ItemFinished(index, MessageItem(message_id, text)),
    ]


################################
# storage/session_archive.py
#
# Session archives: what an answer was made of, handed over at its end and written beside the rest.
#
# Nothing of it may cost an answer: what cannot be written is dropped, and the log says so once.
################################

NoteEvents = Callable[[list[Event]], None]
"""Notes what a batch tells."""

_MOST_WAITING_ARCHIVE_BYTES = 64 * 1024 * 1024
_ARCHIVE_SWEEP_LOCK_SECONDS = 600
_EVENT_KINDS = {
    ResponseStarted: "started",
    SourcesFound: "sources",
    Notice: "notice",
    RetryScheduled: "retry",
    ResponseFinished: "finished",
    ResponseFailed: "failed",
}


def note_nothing(batch: list[Event]) -> None:
    """What notes the Events of an answer that is not archived."""


class AnswerRecorder:
    """Notes the Events of one answer; of an item that was cut off, what had come of it."""

    def __init__(self, context: RequestContext) -> None:
        self.context = context
        self.outcome = "stopped"
        """How the answer ended, where it did."""
        key, settings = "", context.settings
        with suppress(PipeError):
            key = settings.api_key.reveal()
        self.records = SessionRecords(settings.archives.most_records, key)
        self._open: dict[int, list[str]] = {}
        """The texts of the items that are still coming."""

    def take(self, batch: list[Event]) -> None:
        """Note what this batch tells."""
        for event in batch:
            if isinstance(event, TextDelta | ReasoningDelta | ArgumentsDelta):
                self._open.setdefault(event.output_index, []).append(event.text)
            elif isinstance(event, ItemFinished):
                self._open.pop(event.output_index, None)
                self.records.add("item", item=type(event.item).__name__, **_fields_of(event.item))
            elif kind := _EVENT_KINDS.get(type(event)):
                self.records.add(kind, **_fields_of(event))
                if isinstance(event, ResponseFinished | ResponseFailed):
                    self.outcome = kind

    def close(self) -> None:
        """Note what has no end, and nothing more."""
        for pieces in self._open.values():
            self.records.add("unfinished", text="".join(pieces))
        self.records.close()

    def write(self, codec: PayloadCodec) -> None:
        """Write the archive, the session itself as its first line; raises `OSError`."""
        context, records = self.context, self.records
        ids = ("request_id", "function_id", "model", "user_id", "session_id", "chat_id")
        session = {
            "kind": "session",
            "time": records.started,
            "seconds": round(records.ended - records.started, 3),
            "outcome": self.outcome,
            **{name: getattr(context, name) for name in (*ids, "message_id")},
            "records": len(records.lines),
            "dropped": records.dropped,
        }
        root = Path(context.settings.archives.folder)
        # An answer can be gone on with: each call of the pipe has a file of its own.
        name = context.message_id, context.request_id
        path = archive_path(root, (context.user_id, context.chat_id), name)
        write_archive(root, path, [encode_json(session), *records.lines], codec)


class SessionArchive:
    """Writes the archives of one copy of the pipe, one after another, and deletes the old ones."""

    def __init__(self, most_waiting: int = _MOST_WAITING_ARCHIVE_BYTES) -> None:
        self._most_waiting = most_waiting
        self._rules = ArchiveRules()
        self._codec: PayloadCodec | None = None
        self._waiting: deque[tuple[AnswerRecorder, PayloadCodec]] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None

    @contextmanager
    def session(self, context: RequestContext) -> Generator[tuple[RequestContext, NoteEvents]]:
        """The context with records, and what notes Events there; at the end it is archived.

        Where nothing is archived, the context as it is, and nothing is noted.
        """
        self._follow(context.settings.archives)
        is_message = is_saved_chat(context.chat_id) and context.message_id and not context.task
        if self._codec is None or not (is_message and context.user_id):
            yield context, note_nothing
            return
        recorder = AnswerRecorder(context)
        try:
            yield replace(context, records=recorder.records), recorder.take
        finally:
            recorder.close()
            self._keep(recorder, self._codec)

    async def sweep(self) -> None:
        """Delete the archives that are old enough."""
        rules = self._rules
        async with only_worker("session-archives", _ARCHIVE_SWEEP_LOCK_SECONDS) as is_ours:
            if is_ours:
                before = time.time() - rules.retention_days * 24 * 3_600.0
                await asyncio.to_thread(delete_old_archives, Path(rules.folder), before)

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        tasks = {task for task in (self._writer, self._sweeper) if task is not None}
        if tasks:
            await asyncio.wait(tasks)

    def _follow(self, rules: ArchiveRules) -> None:
        """Work by the rules of the newest call; switched off, old archives are deleted still."""
        if self._sweeper is None:
            # The tasks belong to no request, and their log must not name the one that began them.
            self._sweeper = asyncio.create_task(self._sweep_on(), context=Context())
        if self._rules == rules:
            return
        self._rules, self._codec = rules, None
        if not rules.enabled:
            return
        try:
            passphrase = rules.passphrase.reveal()
        except PipeError:
            LOG.warning("archives: none are written: the passphrase cannot be decrypted")
            return
        if not passphrase:
            LOG.warning("archives: none are written: SESSION_LOG_PASSPHRASE is empty")
            return
        # Archives are read where lz4 is not installed, too.
        self._codec = PayloadCodec(passphrase, use_lz4=False)

    def _keep(self, recorder: AnswerRecorder, codec: PayloadCodec | None) -> None:
        if codec is None or self._waiting_bytes + recorder.records.size > self._most_waiting:
            self._lose("they cannot be written as fast as answers end")
            return
        self._waiting.append((recorder, codec))
        self._waiting_bytes += recorder.records.size
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on(), context=Context())

    async def _write_on(self) -> None:
        try:
            while self._waiting:
                await self._write_next()
        finally:  # cancelled, too: the server stops
            while self._waiting:
                await self._write_next()
            self._writer = None

    async def _write_next(self) -> None:
        recorder, codec = self._waiting[0]  # cancelled meanwhile, it is written once more
        reason = ""
        try:
            await asyncio.to_thread(recorder.write, codec)
        except OSError as error:
            reason = f"{self._rules.folder}: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - no archive may end the writing of the others
            reason = type(error).__name__
        self._waiting.popleft()
        self._waiting_bytes -= recorder.records.size
        if reason:
            self._lose(reason)
        elif self._lost and not self._waiting:
            LOG.info("archives: they are written again; %d were lost", self._lost)
            self._lost = 0

    def _lose(self, reason: str) -> None:
        """Say once that answers go by without an archive."""
        if not self._lost:
            LOG.warning("archives: answers are not archived until this is over: %s", reason)
        self._lost += 1

    async def _sweep_on(self) -> None:
        share = random.uniform(0.05, 0.25)  # a server that restarts every day cleans up as well
        while True:
            await asyncio.sleep(self._rules.cleanup_interval * share)
            share = random.uniform(0.75, 1.25)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is tried again
                LOG.warning("archives: the clean-up failed: %s", type(error).__name__)


def _fields_of(event: Any) -> dict[str, Any]:
    """What is filled in of an Event, of an item, or of what stands in one."""
    values = ((each.name, getattr(event, each.name)) for each in fields(event))
    return {name: _told(value) for name, value in values if value not in ("", [], {}, None)}


def _told(value: Any) -> Any:
    match value:
        case PipeError():
            return value.cause
        case list():
            return [_told(each) for each in value]
        case _:
            return _fields_of(value) if is_dataclass(value) else value


################################
# storage/spend_table.py
#
# One row for each request to OpenRouter, however it ended: ids and numbers, no content.
################################

SpendRow = dict[str, Any]

_WHO_AND_WHERE = ("function_id", "user_id", "chat_id", "message_id", "task", "model")
# Tokens are as OpenRouter counts them; 10^12 picodollars are one USD, and null is not known.
WHAT_IT_TOOK = (
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "picodollars",
)
_LARGEST_FIGURE = 2**62

SPEND = Table(
    "openrouter_pipe_spend",
    MetaData(),
    Column("id", String(32), primary_key=True),
    Column("created_at", BigInteger, nullable=False),  # seconds since 1970
    *(
        Column(name, String(LONGEST_TEXT), nullable=False)
        for name in (*_WHO_AND_WHERE, "provider", "outcome")
    ),
    *(Column(name, BigInteger) for name in WHAT_IT_TOOK),
    Index("openrouter_pipe_spend_by_user", "user_id", "created_at"),
    Index("openrouter_pipe_spend_by_time", "created_at"),
)


@dataclass(frozen=True, slots=True)
class RequestEnd:
    """What is known of a request when it is over."""

    outcome: str
    """`finished`, `failed`, `stopped` by the person, or `refused`: nothing done, nothing billed."""
    usage: Usage | None = None
    provider: str = ""
    key: str = ""
    """What is written down once at most, whoever notes it; empty for what only one can note."""
    generation_id: str = ""
    """OpenRouter's, of a request that was taken; it may know what is not known here."""


async def tell_end(
    answer: AsyncGenerator[list[Event]], note: Callable[[RequestEnd], None]
) -> AsyncGenerator[list[Event]]:
    """Pass a request's Events on; `note` learns how it ended, before anyone can ask again."""
    silent = ResponseStarted | ResponseFailed
    end, has_output, generation_id = RequestEnd("stopped"), False, ""
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                has_output = has_output or not all(isinstance(event, silent) for event in batch)
                if isinstance(batch[0], ResponseStarted):
                    generation_id = batch[0].response_id
                match batch[-1]:
                    case ResponseFinished(usage=usage, provider=provider):
                        end = RequestEnd("finished", usage, provider)
                    case ResponseFailed(_, usage) if has_output or usage:
                        end = RequestEnd("failed", usage)
                    case ResponseFailed(error):
                        end = _without_output(error)
                    case _:
                        pass
                yield batch
    except PipeError as error:
        end = _without_output(error)
        raise
    finally:
        note(replace(end, generation_id=generation_id))


def _without_output(error: PipeError) -> RequestEnd:
    """A refusal is not billed; a request that went out and was lost may be."""
    lost = isinstance(error, UpstreamTimeoutError | StreamInterruptedError)
    lost = lost or (isinstance(error, ConnectionFailedError) and error.request_was_sent)
    return RequestEnd("failed") if lost else RequestEnd("refused", Usage(cost=0.0))


def spend_row(context: RequestContext, end: RequestEnd) -> SpendRow:
    """What the ledger keeps of a request."""
    return {
        "id": sha256(end.key.encode()).hexdigest()[:32] if end.key else secrets.token_hex(16),
        "created_at": int(time.time()),
        **{name: storable_text(getattr(context, name)) for name in _WHO_AND_WHERE},
        "provider": storable_text(end.provider),
        "outcome": end.outcome,
        **figures_of(end.usage or Usage()),
    }


def figures_of(usage: Usage) -> SpendRow:
    """The columns that tell tokens and cost."""
    return {name: _storable_figure(getattr(usage, name)) for name in WHAT_IT_TOOK}


def _storable_figure(figure: int | None) -> int | None:
    return None if figure is None else max(0, min(figure, _LARGEST_FIGURE))


################################
# storage/spend_ledger.py
#
# The spend ledger: what each request to OpenRouter took, written down after the words.
################################

SpenderCircle = frozenset[str] | None
"""The ids of those who share a budget; `None` for everybody."""

FindUsage = Callable[[str], Awaitable[Usage]]
"""Asks OpenRouter what a generation took; raises a `PipeError` where it does not know."""

DAY_SECONDS = 86_400
_GATHER_SECONDS = 0.5
_LAST_WAITS = (0.0, 1.0, 3.0, 9.0)
"""Seconds before each try of a ledger that closes."""
_USAGE_WAITS = (4.0, 20.0)
"""Seconds before each look for what was stopped: it is billed a moment later."""
_LEDGER_BATCH = 500
_MOST_PENDING_ROWS = 10_000
_MOST_TALLIES = 500
_TALLY_SECONDS = 3.0
"""How old sums may be, and how long one waits for them."""


@dataclass(slots=True)
class SpendTally:
    """What a circle has spent in 10^-12 USD: read from the table, and counted on since."""

    circle: SpenderCircle
    read_at: float
    day_begin: int
    month_begin: int
    day: int = 0
    month: int = 0

    def add(self, row: SpendRow) -> None:
        """Count one more request, where it is theirs."""
        if self.circle is None or row["user_id"] in self.circle:
            spent, since = row["picodollars"] or 0, row["created_at"]
            self.day += spent if since >= self.day_begin else 0
            self.month += spent if since >= self.month_begin else 0


class SpendLedger:
    """Takes rows at once and writes them in batches; one task, which ends with its work.

    A database that fails costs no answer anything: rows wait for it, up to a bound.
    """

    def __init__(self) -> None:
        self._table = OwnTable(SPEND)
        self._pending: deque[SpendRow] = deque()
        """Those that are not in the table."""
        self._lost = 0
        self._failures = 0
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_writing = False
        self._tallies: dict[SpenderCircle, SpendTally] = {}
        self._costs = CostSnapshots()
        self._retention_days = 0
        self._clean_at = 0.0

    def note(
        self, context: RequestContext, end: RequestEnd, find_usage: FindUsage | None = None
    ) -> None:
        """Take down a request that is over; nobody waits for the database.

        Where OpenRouter may know later what is not known here, `find_usage` asks it.
        """
        rules = context.settings.spend
        if rules.redis_ttl and end.usage is not None:
            self._begin(self._costs.push(context, end.usage))
        if not rules.keeps_ledger or not self._table.has_database:
            return
        self._retention_days = rules.retention_days
        row = spend_row(context, end)
        self._take_down(row)
        if find_usage and end.usage is None and end.generation_id:
            self._begin(self._find_out(row, end.generation_id, find_usage))

    def _take_down(self, row: SpendRow) -> None:
        for tally in self._tallies.values():
            tally.add(row)
        if len(self._pending) < _MOST_PENDING_ROWS:
            self._pending.append(row)
        else:
            self._lost += 1
        if not self._is_writing:
            self._is_writing = True
            self._begin(self._keep_writing())

    async def read(self, query: Any) -> list[Any]:
        """The rows of a query, with all that has been noted here; raises what the database does."""
        async with self._lock:
            await self._write()
        # A long query holds up nobody.
        async with self._table.begin() as connection:
            return list((await connection.execute(query)).all())

    async def spent(self, circle: SpenderCircle) -> SpendTally | None:
        """What the circle has spent, or what was last known of it; `None` for nothing known."""
        if not self._failures and not self._known(circle, _TALLY_SECONDS):
            try:
                async with asyncio.timeout(_TALLY_SECONDS), self._lock:
                    if not self._known(circle, _TALLY_SECONDS):
                        await self._write()
                        await self._count(circle)
            except Exception as error:  # noqa: BLE001 - a database that fails stops no chat
                self._report(error)
        return self._known(circle, DAY_SECONDS)

    async def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        while self._tasks:  # what is found out meanwhile is written, too
            await asyncio.wait(self._tasks)

    async def _find_out(self, row: SpendRow, generation_id: str, find_usage: FindUsage) -> None:
        """Complete the row of a request whose end was not heard, if OpenRouter can."""
        for wait in _USAGE_WAITS:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), wait)
                return
            try:
                usage = await find_usage(generation_id)
            except Exception as error:  # noqa: BLE001 - a background job is contained
                LOG.debug("ledger: %s is not known: %s", generation_id, error)
                continue
            self._take_down({**row, **figures_of(usage)})
            return

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self._tasks.discard)

    async def _keep_writing(self) -> None:
        try:
            while self._pending and not self._closing.is_set():
                with suppress(TimeoutError):
                    pause = _GATHER_SECONDS * 2 ** min(self._failures, 6)
                    await asyncio.wait_for(self._closing.wait(), pause)
                await self._try_to_write()
        finally:  # or else the server stops, and has cancelled this
            for wait in _LAST_WAITS if self._pending else ():
                await asyncio.sleep(wait)
                await self._try_to_write()
                if not self._pending:
                    break
            if lost := self._lost + len(self._pending):
                LOG.error("ledger: %d requests were not written down", lost)
            self._lost, self._is_writing = 0, False

    async def _try_to_write(self) -> None:
        try:
            async with self._lock:
                await self._write()
            if self._retention_days and time.time() >= self._clean_at:
                self._clean_at = time.time() + DAY_SECONDS / 4
                oldest = int(time.time()) - self._retention_days * DAY_SECONDS
                async with self._table.begin() as connection:
                    await connection.execute(delete(SPEND).where(SPEND.c.created_at < oldest))
        except Exception as error:  # noqa: BLE001 - a background job is contained
            self._report(error)

    def _report(self, error: Exception | None = None) -> None:
        """Say once that the database does not work, and once that it does again."""
        if error is not None and not self._failures:
            why = str(error).partition("\n")[0]
            LOG.warning("ledger: the database does not work, rows wait for it: %s", why)
        elif error is None and self._failures:
            LOG.info("ledger: the database works again")
        self._failures = 0 if error is None else self._failures + 1

    async def _write(self) -> None:
        left = len(self._pending)  # what comes meanwhile is another batch's
        while batch := list(islice(self._pending, min(left, _LEDGER_BATCH))):
            async with self._table.begin() as connection:
                is_postgresql = connection.dialect.name == "postgresql"
                add = postgresql.insert(SPEND) if is_postgresql else sqlite.insert(SPEND)
                # A row comes again when its commit seemed to fail, or its cost has become known.
                figures = {name: add.excluded[name] for name in WHAT_IT_TOOK}
                add = add.on_conflict_do_update(index_elements=["id"], set_=figures)
                await connection.execute(add, batch)
            for _ in batch:
                self._pending.popleft()
            left -= len(batch)
            self._report()

    async def _count(self, circle: SpenderCircle) -> None:
        """Read the sums; the lock is held, so what waits now is what the table does not have."""
        now, cost, since = time.time(), SPEND.c.picodollars, SPEND.c.created_at
        tally = SpendTally(circle, now, *day_and_month(now))
        of_day = case((since >= tally.day_begin, cost), else_=0)
        query = select(func.sum(of_day), func.sum(cost)).where(since >= tally.month_begin)
        if circle is not None:
            query = query.where(SPEND.c.user_id.in_(circle))
        async with self._table.begin() as connection:
            sums = (await connection.execute(query)).one()
        tally.day, tally.month = (int(spent or 0) for spent in sums)
        for row in self._pending:
            tally.add(row)
        if len(self._tallies) >= _MOST_TALLIES:
            self._tallies.clear()
        self._tallies[circle] = tally
        self._report()

    def _known(self, circle: SpenderCircle, seconds: float) -> SpendTally | None:
        """Sums that are so old at most, and of today."""
        tally, now = self._tallies.get(circle), time.time()
        if tally is None or now - tally.read_at >= seconds:
            return None
        return tally if now < tally.day_begin + DAY_SECONDS else None


def day_and_month(now: float) -> tuple[int, int]:
    """When the day and the month of that moment began, in UTC: seconds since 1970."""
    day = int(now) // DAY_SECONDS * DAY_SECONDS
    return day, day - (time.gmtime(day).tm_mday - 1) * DAY_SECONDS


################################
# storage/budgets.py
#
# Budgets: what a person, a group or everybody may spend in a day or a month.
################################

_OWN, _EVERYBODY = "each user", "all users"
_OWNERS = {_OWN: "Your budget", _EVERYBODY: "Everybody's budget"}


@dataclass(frozen=True, slots=True)
class BudgetState:
    """How far a budget of one day or month is spent, in USD."""

    owner: str
    period: str
    limit: float
    spent: float
    ends_at: int
    """Seconds since 1970."""

    def __str__(self) -> str:
        return f"{self.owner} {self.period}: {dollars(self.spent)} of {dollars(self.limit)}"


async def budget_warnings(context: RequestContext, ledger: SpendLedger) -> list[str]:
    """What to tell of budgets that are nearly spent; raises `BudgetSpentError` where one is."""
    warnings: list[str] = []
    async for state in budget_states(context, ledger):
        if state.spent >= state.limit:
            raise _refusal(state)
        if state.spent >= state.limit * context.settings.spend.warning_share:
            warnings.append(f"\N{WARNING SIGN} {state}")
    return warnings


async def budget_states(
    context: RequestContext, ledger: SpendLedger, *, own_part: bool = False
) -> AsyncGenerator[BudgetState]:
    """Every budget that the person who asks draws on, as far as the ledger can tell.

    With `own_part` what others have spent of a shared one is left out.
    """
    limits = read_budgets(context.settings.spend.budgets)
    for name, circle in (await _circles_of(context, limits)).items():
        if name not in limits:
            continue
        owner, (daily, monthly) = f"The budget of \u201c{name}\u201d", limits[name]
        owner = _OWNERS.get(name, owner)
        if own_part and name != _OWN:
            owner = f"Your part of {owner[0].lower()}{owner[1:]}"
            circle = frozenset({context.user_id})
        tally = await ledger.spent(circle)
        if tally is None:
            continue
        if daily:
            tomorrow = tally.day_begin + DAY_SECONDS
            yield BudgetState(owner, "today", daily, tally.day / PICODOLLARS, tomorrow)
        if monthly:
            _, ends_at = day_and_month(tally.month_begin + 31 * DAY_SECONDS)
            yield BudgetState(owner, "this month", monthly, tally.month / PICODOLLARS, ends_at)


async def _circles_of(
    context: RequestContext, limits: dict[str, tuple[float, float]]
) -> dict[str, SpenderCircle]:
    """Those whose spending may count for the person, by the names of their budgets."""
    circles: dict[str, SpenderCircle] = {_EVERYBODY: None}
    if context.user_id:
        circles[_OWN] = frozenset({context.user_id})
        try:
            if limits.keys() - _OWNERS.keys():
                circles = {**await read_groups(context.user_id), **circles}
        except Exception:  # noqa: BLE001 - a database that fails stops no chat
            LOG.exception("budgets: the groups of a user could not be read")
    return circles


@lru_cache(maxsize=8)
def read_budgets(text: str) -> dict[str, tuple[float, float]]:
    """Read lines of `name: daily / monthly`; the cache makes the warning come once."""
    found: dict[str, tuple[float, float]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, amounts = line.rpartition(":")
        try:
            daily, monthly = (_read_limit(part) for part in f"{amounts}/0".split("/")[:2])
            found[_read_owner(name.strip())] = daily, monthly
        except ValueError:
            LOG.warning("settings: BUDGETS_USD: this line cannot be read: %s", line)
    return found


def _read_owner(name: str) -> str:
    """A name as it counts; raises `ValueError` for none. Groups are written as they are."""
    if not name:
        raise ValueError("nobody's budget")
    return name.lower() if name.lower() in _OWNERS else name


def _read_limit(text: str) -> float:
    """USD; raises `ValueError` for what is no amount: it would refuse everything, or nothing."""
    limit = float(text.strip().removeprefix("$"))
    if not (isfinite(limit) and limit >= 0):
        raise ValueError(text)
    return limit


def _refusal(state: BudgetState) -> BudgetSpentError:
    ends = time.strftime("%Y-%m-%d %H:%M", time.gmtime(state.ends_at))
    hours, minutes = divmod(max(int(state.ends_at - time.time()) // 60, 1), 60)
    return BudgetSpentError(
        f"{state.owner} is spent: {dollars(state.spent)} of {dollars(state.limit)} {state.period}.",
        f"It starts anew at {ends} UTC, in {hours} h {minutes} min. "
        "The admin can raise it in `BUDGETS_USD`, in the settings of the OpenRouter function.",
    )


################################
# storage/spend_report.py
#
# What `/spend` answers: what has been spent, as tables with bars, or all of it as CSV.
################################

SpendSums = tuple[int, ...]
"""Requests, tokens in, tokens out, cost in 10^-12 USD, requests of unknown cost."""

_COMMAND = re.compile(r"\s*/spend(?:\s+(?P<what>[1-9]\d{0,2}|csv))?\s*", re.IGNORECASE)
_MOST_LINES = 31
_MOST_CSV_ROWS = 200_000


def read_spend_command(body: Mapping[str, Any]) -> str | None:
    """What `/spend` is asked for: a number of days, `csv`, or empty; `None` where nobody asks."""
    newest = next(reversed(objects_in(body.get("messages"))), {})
    content = newest.get("content") if newest.get("role") == "user" else None
    parts = "".join(text_of(part.get("text")) for part in objects_in(content))
    found = _COMMAND.fullmatch(content if isinstance(content, str) else parts)
    return (found["what"] or "").lower() if found else None


async def report_spending(context: RequestContext, ledger: SpendLedger, what: str) -> str:
    """The answer in Markdown: of the person's own spending, or of everybody's for an admin."""
    if not context.settings.spend.keeps_ledger:
        raise LedgerError("The spend ledger is off.", "The admin can switch on `SPEND_LEDGER`.")
    try:
        if what == "csv":
            return await _csv_link(context, ledger)
        return await _tables(context, ledger, int(what or 30))
    except (SQLAlchemyError, LookupError, OSError) as error:
        raise LedgerError("The spend ledger cannot be read.", "Try again in a moment.") from error


async def _tables(context: RequestContext, ledger: SpendLedger, days: int) -> str:
    sees_all = is_admin(context.host)
    rows = await ledger.read(_sums_query(None if sees_all else context.user_id, days))
    whose = "All users" if sees_all else "You"
    if not rows:
        return f"{whose} spent nothing in the last {days} days."
    [(_, total)] = _summed(rows, lambda row: "")
    lines = [f"**{whose} spent {_cost_words(total)} in the last {days} days.**", ""]
    budgets = budget_states(context, ledger, own_part=not sees_all)
    lines += [f"- {state}" async for state in budgets]
    by_day = _summed(rows, lambda row: _utc("%Y-%m-%d", int(row.day) * DAY_SECONDS))
    lines += _table("Day (UTC)", sorted(by_day, reverse=True))
    lines += _table("Model", _summed(rows, lambda row: row.model))
    if sees_all:
        names = await read_user_names(list({row.user_id for row in rows}))
        lines += _table("User", _summed(rows, lambda row: names.get(row.user_id) or row.user_id))
    return "\n".join(lines)


def _sums_query(user_id: str | None, days: int) -> Any:
    """Sums by day, model and user; of one user, or of all."""
    since = (int(time.time()) // DAY_SECONDS - days + 1) * DAY_SECONDS
    columns, day = SPEND.c, (SPEND.c.created_at // DAY_SECONDS).label("day")
    groups = day, columns.model, columns.user_id
    figures = map(func.sum, (columns.input_tokens, columns.output_tokens, columns.picodollars))
    unknown = func.count() - func.count(columns.picodollars)
    query = select(*groups, func.count(), *figures, unknown).group_by(*groups)
    query = query.where(columns.created_at >= since, columns.outcome != "refused")
    return query if user_id is None else query.where(columns.user_id == user_id)


def _summed(rows: Iterable[Any], name_of: Callable[[Any], str]) -> list[tuple[str, SpendSums]]:
    """The rows' sums by name, the costly ones first."""
    sums: dict[str, SpendSums] = {}
    for row in rows:
        so_far = sums.get(name := name_of(row), (0, 0, 0, 0, 0))
        sums[name] = tuple(old + int(new or 0) for old, new in zip(so_far, row[3:], strict=True))
    return sorted(sums.items(), key=lambda named: named[1][3], reverse=True)


def _utc(form: str, seconds: int) -> str:
    return time.strftime(form, time.gmtime(seconds))


def _table(title: str, named: Sequence[tuple[str, SpendSums]]) -> list[str]:
    """A table in Markdown, with a bar for each cost."""
    most = max(max(sums[3] for _, sums in named), 1)
    lines = ["", f"| {title} | Requests | Tokens in | Tokens out | Cost | |"]
    lines.append("|:--|--:|--:|--:|--:|:--|")
    for name, sums in named[:_MOST_LINES]:
        bar = "\N{FULL BLOCK}" * max(round(20 * sums[3] / most), sums[3] > 0)
        cells = re.sub(r"[|\s<>`\[\]\\]+", " ", name), *(f"{count:,}" for count in sums[:3])
        lines.append(f"| {' | '.join(cells)} | {_cost_words(sums)} | {bar} |")
    return lines


def _cost_words(sums: SpendSums) -> str:
    return ("at least " if sums[4] else "") + dollars(sums[3] / PICODOLLARS)


async def _csv_link(context: RequestContext, ledger: SpendLedger) -> str:
    """A file with every row, for admins: it tells what everybody has spent."""
    if not is_admin(context.host):
        raise LedgerError("Only admins can have all that was spent as a file.", "Try `/spend`.")
    newest = select(SPEND).order_by(SPEND.c.created_at.desc()).limit(_MOST_CSV_ROWS)
    rows = await ledger.read(newest)
    content = await asyncio.to_thread(_csv_of, rows)
    name = _utc("openrouter-spend-%Y-%m-%d.csv", int(time.time()))
    file = await store_file(context, content, name, "text/csv")
    return f"[{file.name}]({file.url}): {len(rows):,} requests, the newest first."


def _csv_of(rows: Sequence[Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*SPEND.columns.keys()[:-1], "cost_usd"])
    for key, since, *cells, cost in rows:
        moment = _utc("%Y-%m-%dT%H:%M:%SZ", since)
        exact = "" if cost is None else f"{Decimal(cost).scaleb(-12):f}"
        # What a spreadsheet would take for a formula is marked as text.
        safe = (f"'{cell}" if str(cell)[:1] in tuple("=+-@") else cell for cell in cells)
        writer.writerow([key, moment, *safe, exact])
    return text.getvalue().encode()


################################
# storage/spending.py
#
# What the chat has cost so far, told with the end of an answer; and that it was stopped.
################################

Taken = Callable[[], Usage | None]
"""What the finished rounds of the answer have taken."""

CreditLeft = Callable[[], float | None]
"""USD left of the key's limit, where the one who asks should know."""


def has_closing_line(context: RequestContext, body: CompletionsBody) -> bool:
    """Whether a person watches the answer come, and wants to know what it costs."""
    in_message = bool(context.chat_id and context.message_id) and not context.task
    return in_message and bool(body.get("stream")) and context.settings.show_final_usage


async def tell_spending(
    answer: AsyncGenerator[list[Event]],
    context: RequestContext,
    body: CompletionsBody,
    credit_left: CreditLeft,
    taken: Taken,
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on; before its end comes what the closing line tells beside its usage."""
    ended = False
    try:
        async with aclosing(answer) as batches:
            async for batch in batches:
                end = batch[-1]
                if not isinstance(end, ResponseFinished | ResponseFailed):
                    yield batch
                    continue
                if batch[:-1]:
                    yield batch[:-1]
                earlier = await _earlier_cost(context, body)
                ended = True
                yield [_add_up(earlier, end, credit_left()), end]
    except (asyncio.CancelledError, GeneratorExit):
        if not ended:
            await _tell_stop(context, taken())
        raise


def _add_up(
    earlier: list[float | None], end: ResponseFinished | ResponseFailed, credit: float | None
) -> SpendingKnown:
    costs = [*earlier, end.usage.charged if end.usage else None]
    known = [cost for cost in costs if cost is not None]
    # A first answer is the whole chat: its own cost says it.
    total = sum(known) if earlier and known else None
    return SpendingKnown(total, is_whole=len(known) == len(costs), credit_left=credit)


async def _earlier_cost(context: RequestContext, body: CompletionsBody) -> list[float | None]:
    """What each saved answer of the chat has cost; `None` where its usage does not tell."""
    messages = objects_in(body.get("messages"))
    answered = any(message.get("role") == "assistant" for message in messages)
    if not answered or not is_saved_chat(context.chat_id):
        return []
    try:
        saved = [read_usage(usage) for usage in await read_saved_usage(context)]
    except Exception:  # noqa: BLE001 - a sum that cannot be told must not cost the answer its end
        LOG.exception("spending: the usage saved with the chat could not be read")
        return []
    return [usage.charged if usage else None for usage in saved]


async def _tell_stop(context: RequestContext, taken: Usage | None) -> None:
    """Tokens and cost come with a round's last event: of the one that was stopped nothing is known.

    The stop itself goes on whatever becomes of the line.
    """
    seconds = time.perf_counter() - context.started_at
    known = taken.charged if taken else None
    cost = "cost unknown" if known is None else f"at least {dollars(known)}"
    words = f"Stopped after {seconds:.1f} s \N{MIDDLE DOT} {cost}"
    try:
        await send_event(context.host, "status", {"description": words, "done": True})
    except Exception:  # noqa: BLE001 - Open WebUI must learn of the stop, not of this
        LOG.exception("spending: the end of a stopped answer could not be told")


################################
# storage/video_jobs.py
#
# The video jobs under way, in a small table of Open WebUI's database.
#
# A job belongs to the worker that follows it for as long as that renews its claim. When the worker
# ends, whichever comes first takes the job over.
################################

CLAIM_SECONDS = 60.0
"""How long a job is left alone whose worker has not been heard of."""


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One job, and the message that its video belongs to."""

    id: str
    function_id: str
    model: str
    user_id: str
    chat_id: str
    message_id: str


_OF_CONTEXT = tuple(each.name for each in fields(VideoJob) if each.name != "id")

VIDEO_JOBS = Table(
    "openrouter_pipe_video_jobs",
    MetaData(),
    Column("id", String(LONGEST_TEXT), primary_key=True),
    *(Column(name, String(LONGEST_TEXT), nullable=False) for name in _OF_CONTEXT),
    Column("holder", String(32), nullable=False),
    Column("claimed_until", Float, nullable=False),  # seconds since 1970
)


class VideoJobs:
    """The jobs as one worker sees them: its own, and those that may become its own."""

    def __init__(self) -> None:
        self._table = OwnTable(VIDEO_JOBS)
        self._holder = secrets.token_hex(16)

    async def add(self, context: RequestContext, job_id: str) -> bool:
        """Write a job that the call has ordered down as this worker's own; true when it is."""
        row = {name: getattr(context, name) for name in _OF_CONTEXT} | self._claim()
        async with self._table.begin() as connection:
            await connection.execute(insert(VIDEO_JOBS).values(id=job_id, **row))
        return True

    async def renew(self, job_id: str) -> bool:
        """Go on holding a job; false where another worker holds it by now."""
        async with self._table.begin() as connection:
            renewed = update(VIDEO_JOBS).where(*self._own(job_id)).values(**self._claim())
            return bool((await connection.execute(renewed)).rowcount)

    async def forget(self, job_id: str) -> None:
        """A job of this worker's is over, or nobody wants its video any longer."""
        async with self._table.begin() as connection:
            await connection.execute(delete(VIDEO_JOBS).where(*self._own(job_id)))

    async def take_free(self, function_id: str) -> tuple[list[VideoJob], bool]:
        """The jobs that nobody follows, now this worker's own; and whether there are any at all."""
        of_function = VIDEO_JOBS.c.function_id == function_id
        free = update(VIDEO_JOBS).where(of_function, VIDEO_JOBS.c.claimed_until < time.time())
        columns = VIDEO_JOBS.c["id", *_OF_CONTEXT]
        if not await self._table.exists():
            return [], False
        any_job = select(VIDEO_JOBS.c.id).where(of_function).limit(1)
        async with self._table.begin() as connection:
            # One statement: of two workers that come at once, the second finds them taken.
            taken = await connection.execute(free.values(**self._claim()).returning(*columns))
            jobs = [VideoJob(*row) for row in taken.all()]
            return jobs, (await connection.execute(any_job)).first() is not None

    def _claim(self) -> dict[str, Any]:
        return {"holder": self._holder, "claimed_until": time.time() + CLAIM_SECONDS}

    def _own(self, job_id: str) -> tuple[Any, Any]:
        return VIDEO_JOBS.c.id == job_id, VIDEO_JOBS.c.holder == self._holder


################################
# storage/video_watch.py
#
# A video job in the hands of one worker: held while it is followed, counted once at its end.
################################

Known = TypeVar("Known")

_STOPPED = (
    "OpenRouter cannot be told to stop: it makes a video to its end, and charges the whole of it."
)


@dataclass(slots=True)
class VideoWatch:
    """What becomes of one job while this worker follows it."""

    context: RequestContext
    jobs: VideoJobs
    note: Callable[[RequestEnd], None]
    """Writes the job's row of the ledger."""
    job_id: str = ""
    """Empty before the job is ordered."""
    is_kept: bool = False
    """Whether the table holds it: only the video of a saved chat has a place to come to later."""
    is_ours: bool = True
    """Whether its end is for this worker to tell."""

    def follow(self, answer: AsyncGenerator[list[Event]]) -> AsyncGenerator[list[Event]]:
        """Pass the job's Events on for as long as it is ours; one row is written for it."""
        return tell_end(self._held(answer), self._note)

    def _note(self, end: RequestEnd) -> None:
        # Both may have seen it finished; the key makes one row of that.
        if self.is_ours or end.outcome == "finished":
            self.note(replace(end, key=self.job_id))

    async def _held(self, answer: AsyncGenerator[list[Event]]) -> AsyncGenerator[list[Event]]:
        is_resumed = self.is_kept
        beat = asyncio.create_task(self._keep_renewing())
        try:
            async with aclosing(answer) as batches:
                async for batch in batches:
                    if isinstance(batch[0], ResponseStarted):
                        await self._begin(batch[0].response_id)
                    # What comes now may be the video: only one worker stores it.
                    elif not await self._renew():
                        yield [ResponseFailed(_taken_over())]
                        return
                    yield batch
            # Whoever asked for more has stored what came.
            await self._forget()
        except (asyncio.CancelledError, GeneratorExit):
            # Only a server that ends has cancelled that task, as all its others.
            if self.is_kept and (is_resumed or beat.cancelling()):
                self.is_ours = False  # the next worker tells its end
            elif self.job_id and await self._renew():
                await self._forget()
                note = {"type": "info", "content": _STOPPED}
                await contained(send_event(self.context.host, "notification", note), None)
            raise
        finally:
            beat.cancel()
            await asyncio.wait({beat})

    async def _begin(self, job_id: str) -> None:
        self.job_id = job_id
        if is_saved_chat(self.context.chat_id):
            try:
                self.is_kept = await contained(self.jobs.add(self.context, job_id), False)
            except asyncio.CancelledError:
                self.is_kept = True  # the step went on to its end: there is a row to forget
                raise

    async def _keep_renewing(self) -> None:
        """Fetching and storing a video may take longer than a claim lasts."""
        while await self._renew():  # noqa: ASYNC110 - the database tells of no event
            await asyncio.sleep(CLAIM_SECONDS / 3)

    async def _renew(self) -> bool:
        """Whether the job is still ours; a database that fails gives it to nobody else."""
        if self.is_kept and self.is_ours:
            self.is_ours = await contained(self.jobs.renew(self.job_id), True)
        return self.is_ours

    async def _forget(self) -> None:
        if self.is_kept:
            await contained(self.jobs.forget(self.job_id), None)


async def contained(step: Coroutine[Any, Any, Known], otherwise: Known) -> Known:
    """What goes wrong beside a video costs neither the video nor the answer that waits for it."""
    try:
        return await whole_step(step)
    except Exception:  # noqa: BLE001 - an answer that waits goes on
        LOG.exception("videos: a step beside one failed")
        return otherwise


def _taken_over() -> StreamInterruptedError:
    return StreamInterruptedError(
        "This server was not heard of for a while, so another one finishes the video.",
        "It will appear in this chat.",
    )


################################
# storage/write_behind.py
#
# Rows that Redis holds on their way to the table: no answer waits for the database.
#
# They lie in a stream that all workers read as one consumer group, and are taken out of it after the
# commit. A worker that dies leaves them to the others; a Redis that loses them leaves them to the
# worker that has put them there. Only both at once lose a row; one written twice stands there once.
################################

_STREAM_GROUP = _STREAM_CONSUMER = "workers"
"""One consumer for all: an entry goes to one of them, and who claims it only counts the time."""
_ABANDONED_MS = 60_000
"""Longer than a worker that lives takes to write what it has taken."""
_OVERDUE_SECONDS = 2.0
"""What the workers have not written until then is written by the one that took it in."""
_TAKE_SECONDS = 2.0
"""For a whole batch; no answer waits for it."""
_STREAM_REST_SECONDS = 300.0
_LARGEST_INTEGER = 2**63

ArtifactRow = dict[str, Any]


class WriteBehind:
    """The stream, as one worker uses it."""

    def __init__(self, redis: SharedRedis, cache: ArtifactCache) -> None:
        self._redis = redis
        self._cache = cache
        self._handed: dict[str, float] = {}
        """When Redis took an artifact of this worker's that may not be in the table yet."""
        self._taken: dict[str, ArtifactRow | None] = {}
        """Entries of the stream by their id; `None` for what is no row."""
        self._failures = 0
        self._rests_until = 0.0
        self._is_long = False

    def holds(self, artifact_id: str) -> bool:
        """Whether the workers may be expected to write it from the stream."""
        handed_at = self._handed.get(artifact_id)
        return handed_at is not None and time.monotonic() < handed_at + _OVERDUE_SECONDS

    def is_open(self, rules: ArtifactRules) -> bool:
        """Whether a row may be handed over now."""
        is_wanted = rules.write_behind and time.monotonic() >= self._rests_until
        return is_wanted and all(map(self._redis.may_be_asked, ("writing", "writing behind")))

    async def hand_over(self, rows: Sequence[ArtifactRow], rules: ArtifactRules) -> bool:
        """Whether Redis has them all now, to be read and to be written; else they are written here.

        They can be read first: whoever sees one in the table may find it in the cache or not.
        """
        fit = all(may_be_shared(row["payload"]) for row in rows)
        if not (fit and await self._cache.keep_rows(rows)):
            return False
        entries = [{**row, "payload": payload_text(row["payload"])} for row in rows]
        texts = [encode_json(entry).decode() for entry in entries]

        def add(pipeline: Any) -> None:
            for text in texts:
                pipeline.xadd(_stream_key(), {"row": text})

        now, ids = time.monotonic(), [row["id"] for row in rows]
        self._handed.update(dict.fromkeys(ids, now))  # it may come back before Redis has answered
        if await self._is_too_long(rules) or not await self._redis.send("writing behind", add):
            for each in ids:
                self.forget(each)
            return False
        return True

    @property
    def may_take(self) -> bool:
        """Whether there is a stream to take rows from at all."""
        return self._redis.may_be_asked("taking rows")

    async def take(self, count: int) -> list[ArtifactRow]:
        """Rows of the stream for this worker to write: the last ones again until they are done."""
        if not self._taken and time.monotonic() >= self._rests_until:
            answer = await self._redis.ask(
                "taking rows", lambda client: _take_entries(client, count), _TAKE_SECONDS
            )
            self._taken = {each: _row_in(fields) for each, fields in _entries_in(answer or [])}
        return [row for row in self._taken.values() if row is not None]

    async def acknowledge(self) -> None:
        """What was taken stands in the table."""
        self._failures = 0
        taken, self._taken = self._taken, {}
        if not taken:
            return
        if strange := [each for each, row in taken.items() if row is None]:
            LOG.warning("redis: %d entries are not rows of artifacts and are dropped", len(strange))

        def drop(pipeline: Any) -> None:
            pipeline.xack(_stream_key(), _STREAM_GROUP, *taken)
            pipeline.xdel(_stream_key(), *taken)

        await self._redis.send("taking rows", drop)

    def forget(self, artifact_id: str) -> None:
        """It stands in the table."""
        self._handed.pop(artifact_id, None)

    def note_failure(self, limit: int) -> None:
        """After so many in a row what was taken is left to later, and new rows pass Redis by."""
        self._failures += bool(self._taken)
        if self._failures >= limit:
            LOG.warning("redis: rows taken from it could not be written, new ones pass it by")
            self._taken, self._failures = {}, 0
            self._rests_until = time.monotonic() + _STREAM_REST_SECONDS

    async def _is_too_long(self, rules: ArtifactRules) -> bool:
        length = await self._redis.ask("taking rows", lambda c: c.xlen(_stream_key())) or 0
        was_long, self._is_long = self._is_long, length >= rules.most_pending
        if self._is_long and not was_long:
            LOG.warning("redis: %d rows wait in it, new ones pass it by", length)
        return self._is_long


def _stream_key() -> str:
    return redis_key("artifacts", "v1")


async def _take_entries(client: Any, count: int) -> Any:
    if not await client.xlen(_stream_key()):
        return []
    try:
        return await _claim_and_read(client, count)
    except ResponseError as error:
        if "NOGROUP" not in str(error):
            raise
    with suppress(ResponseError):  # another worker has just made it
        await client.xgroup_create(_stream_key(), _STREAM_GROUP, id="0")
    return await _claim_and_read(client, count)


async def _claim_and_read(client: Any, count: int) -> Any:
    pipeline = client.pipeline(transaction=False)
    pipeline.xautoclaim(_stream_key(), _STREAM_GROUP, _STREAM_CONSUMER, _ABANDONED_MS, "0-0", count)
    pipeline.xreadgroup(_STREAM_GROUP, _STREAM_CONSUMER, {_stream_key(): ">"}, count)
    return await pipeline.execute()


def _entries_in(answer: Any) -> Generator[tuple[str, Any]]:
    """The entries of an answer: how deep they lie depends on the protocol that is spoken."""
    parts = cast("dict[Any, Any]", answer).values() if isinstance(answer, dict) else answer
    for part in parts:
        match part:
            case (str() as entry_id, dict() as fields) if isinstance(part, tuple):
                yield entry_id, fields
            case list() | dict():
                yield from _entries_in(part)
            case _:
                pass


def _row_in(fields: Mapping[str, Any]) -> ArtifactRow | None:
    """The row of an entry, if the table takes it: one that it refuses would hold up the others."""
    try:
        row = decode_json(fields["row"])
        row["payload"] = payload_in(row["payload"])
    except (LookupError, TypeError, ValueError):
        return None
    columns = ARTIFACTS.columns
    is_whole = may_be_shared(row["payload"]) and row.keys() == set(columns.keys())
    fits = is_whole and all(_column_takes(row[each.name], each) for each in columns)
    return row if fits else None


def _column_takes(value: Any, column: Any) -> bool:
    match value:
        case str():
            length = getattr(column.type, "length", None) or 0
            return value == storable_text(value) and len(value) <= length
        case int():
            return column.type.python_type is int and abs(value) < _LARGEST_INTEGER
        case _:
            return isinstance(value, column.type.python_type)


################################
# storage/artifacts.py
#
# The artifact store: takes what later turns need at once, and writes it beside the answers.
#
# Nothing of it may cost an answer: while the database fails nothing new is taken (the chat then
# carries it itself), what was taken waits in memory, and what cannot be loaded is done without.
################################

_MOST_WAITING_BYTES = 32 * 1024 * 1024
_MOST_NAMED = 900
"""Rows in one query: SQLite took no more than 999 values for long."""
_WRITE_SECONDS = 30.0
_LOAD_SECONDS = 3.0
_BLIND_SECONDS = 10.0
"""After a failure no turn waits for the database so long."""
_SETTLE_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.25
_LONGEST_PAUSE_SECONDS = 30.0
_LAST_TRIES = 5
"""While the store closes, a second apart."""
_USE_IS_NEWS_SECONDS = 24 * 3_600
_SWEEP_LOCK_SECONDS = 600
_NEWS_SECONDS = 0.25
"""Between two looks at rows that other workers are to write."""
_STRAY_SECONDS = 30.0
"""Between two looks for rows that a worker has left in Redis."""
_BREATH_SECONDS = 0.05
"""Between two small transactions of the clean-up, for the writers of chats."""
_MOST_WARNED_CHATS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class WaitingArtifact:
    """One that is taken and not in the table yet."""

    id: str
    home: ArtifactHome
    message_id: str
    kind: str
    content: bytes
    codec: PayloadCodec
    created_at: float
    written: asyncio.Event = field(default_factory=asyncio.Event)

    def row(self) -> dict[str, Any]:
        """The row for the table; sealing may take a while."""
        payload = self.codec.seal(self.content, self.home.identity(self.id))
        label = read_label(payload)
        return {
            "id": self.id,
            "pipe_id": self.home.pipe_id,
            "user_id": self.home.user_id,
            "chat_id": self.home.chat_id,
            "message_id": self.message_id,
            "kind": self.kind,
            "codec": str(label),
            "key_id": label.key_id,
            "payload": payload,
            "created_at": int(self.created_at),
            "used_at": int(self.created_at),
        }


class ArtifactStore:
    """Keeps artifacts in a table beside Open WebUI's own; one task writes, another cleans up."""

    def __init__(
        self,
        table: OwnTable | None = None,
        clock: Callable[[], float] = time.time,
        redis: SharedRedis | None = None,
    ) -> None:
        self._table = table or OwnTable(ARTIFACTS)
        self._clock = clock
        redis = redis or SharedRedis()
        self._cache = ArtifactCache(redis)
        self._behind = WriteBehind(redis, self._cache)
        self._may_stray = False
        """Whether there may be rows in Redis to be written."""
        self._rules = ArtifactRules()
        self._pipe_id = ""
        self._codec: PayloadCodec | None = None
        self._waiting: dict[str, WaitingArtifact] = {}
        self._waiting_bytes = 0
        self._offered: dict[str, WaitingArtifact] = {}
        """Of these, what Redis is about to be given."""
        self._used: set[str] = set()
        """Artifacts in the table whose use is to be noted there."""
        self._failures = 0
        self._blind_until = 0.0
        self._reported: set[str] = set()
        """What fails at present, and has been told."""
        self._warned_chats: set[str] = set()
        self._closing = asyncio.Event()
        self._news = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._finder: asyncio.Task[None] | None = None
        self._hander: asyncio.Task[None] | None = None

    def attend(self, context: RequestContext) -> None:
        """Clean up from now on, also where nothing new is kept."""
        self._follow(context)

    def keep(self, context: RequestContext, kind: str, content: Any) -> str:
        """Take something for the context's chat and give its id; empty where that must keep it."""
        rules = context.settings.artifacts
        if not (rules.in_database and context.user_id and is_saved_chat(context.chat_id)):
            return ""
        if self._failures or not self._table.has_database:
            return ""
        self._follow(context)
        written = encode_json(content)
        if self._codec is None or self._waiting_bytes + len(written) > _MOST_WAITING_BYTES:
            return ""
        now = self._clock()
        artifact = WaitingArtifact(
            new_ulid(now),
            home_of(context),
            storable_text(context.message_id),
            kind,
            written,
            self._codec,
            now,
        )
        self._waiting[artifact.id] = artifact
        self._waiting_bytes += len(written)
        if self._behind.is_open(rules):
            self._offered[artifact.id] = artifact
            self._hander = self._hander or asyncio.create_task(self._hand_over_on())
        self._news.set()
        self._ensure_writer()
        return artifact.id

    async def settle(self, ids: Iterable[str]) -> None:
        """Wait until every worker finds them; not for long, in vain, while the database fails."""
        waiting = [self._waiting[each].written for each in ids if each in self._waiting]
        if waiting and not self._failures:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    for written in waiting:
                        await written.wait()

    async def load(self, context: RequestContext, ids: Sequence[str]) -> dict[str, Any]:
        """What was kept under these ids for the context's chat and user, as far as it opens."""
        self._follow(context)
        home = home_of(context)
        # The ids come from the chat: one that the database refuses would blind all for a while.
        wanted = [each for each in dict.fromkeys(ids) if each == storable_text(each)]
        found: dict[str, Any] = {
            each: decode_json(waiting.content)
            for each in wanted
            if (waiting := self._waiting.get(each)) is not None and waiting.home == home
        }
        problems: Counter[str] = Counter()
        if missing := [each for each in wanted if each not in found]:
            found |= await self._cached(home, missing[-_MOST_NAMED:])
        if missing := [each for each in missing if each not in found]:
            rows = await self._read(home, missing[-_MOST_NAMED:], problems)
            if rows:
                opened = await asyncio.to_thread(self._opened, home, rows, problems)
                await self._cache.keep((home, *row[:2]) for row in rows if row[0] in opened)
                found |= opened
            self._note_used(rows)
        self._warn_of(home.chat_id, len(wanted) - len(found), problems)
        return found

    async def close(self) -> None:
        """Write what waits, and end."""
        self._closing.set()
        self._news.set()
        others = [each for each in (self._sweeper, self._finder, self._hander) if each is not None]
        for task in others:
            task.cancel()
        if self._writer is not None:
            others.append(self._writer)
        if others:
            await asyncio.wait(others)

    async def sweep(self) -> None:
        """Delete what was not used for long, and what belongs to deleted chats."""
        now = self._clock()
        unused_since = now - self._rules.cleanup_days * 24 * 3_600.0
        async with only_worker("artifacts", _SWEEP_LOCK_SECONDS) as is_ours:
            if not (is_ours and await self._table.exists()):
                return
            await self._purge(lambda c: purge_unused(c, self._pipe_id, unused_since))
            await self._purge(lambda c: purge_orphans(c, now))

    async def _purge(self, purge_some: Callable[[Any], Awaitable[Places]]) -> None:
        gone: Places | None = None
        while gone is None or gone:
            async with self._table.begin() as connection:
                gone = await purge_some(connection)
            await self._cache.forget(gone)
            await asyncio.sleep(_BREATH_SECONDS)

    def _follow(self, context: RequestContext) -> None:
        """Work by the rules of the newest call."""
        rules = context.settings.artifacts
        self._pipe_id = context.function_id
        self._cache.seconds = rules.cache_seconds
        if self._sweeper is None and self._table.has_database:
            self._sweeper = asyncio.create_task(self._sweep_on())
            self._finder = asyncio.create_task(self._find_on())
        if self._rules == rules and self._codec is not None:
            return
        self._rules, self._codec = rules, None
        try:
            key, old_keys = rules.key.reveal(), split_list(rules.old_keys.reveal())
        except PipeError:
            self._report("writing", "a passphrase is lost: WEBUI_SECRET_KEY has changed")
            return
        self._codec = PayloadCodec(
            key, old_keys, compress_from=rules.compress_from, use_lz4=rules.use_lz4
        )

    def _ensure_writer(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_on())

    async def _write_on(self) -> None:
        """Write batch after batch until nothing waits; after a failure again, a while later."""
        try:
            while self._waiting or self._used or self._may_stray:
                self._news.clear()
                written = await self._write_batch(self._rules.batch_size)
                if written is None:
                    if self._closing.is_set() and self._failures >= _LAST_TRIES:
                        break
                    await self._pause()
                elif not written and self._waiting:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._news.wait(), _NEWS_SECONDS)
        finally:  # cancelled, too: the server stops
            everything = len(self._waiting)
            if everything and await self._write_batch(everything, is_last=True) is None:
                LOG.warning("artifacts: %d could not be written and are lost", len(self._waiting))
            self._writer = None

    async def _write_batch(self, size: int, is_last: bool = False) -> int | None:
        """How many were written; `None` where the database fails."""
        is_last = is_last or self._closing.is_set()  # without Redis, then
        ours = [a for a in self._waiting.values() if is_last or not self._is_elsewhere(a.id)]
        batch = ours[:size]
        used = list(islice(self._used, _MOST_NAMED))
        try:
            async with asyncio.timeout(_WRITE_SECONDS):
                rows = await asyncio.to_thread(lambda: [artifact.row() for artifact in batch])
                takes, self._may_stray = self._may_stray and not is_last, False
                taken = await self._behind.take(size) if takes else []
                await self._insert(rows + taken, used)
        except Exception as error:  # noqa: BLE001 - a database that fails costs no answer anything
            self._failures += 1
            self._may_stray = True
            self._behind.note_failure(self._rules.most_flush_failures)
            self._report("writing", describe_fault(error))
            return None
        self._drop(row["id"] for row in rows + taken)
        self._used.difference_update(used)
        self._failures = 0
        count = len(rows) + len(taken) + len(used)
        if count:
            self._report("writing", "")
        if takes:
            await self._behind.acknowledge()
            self._may_stray = self._may_stray or bool(taken)
        await self._cache.keep_rows(rows)
        return count

    def _is_elsewhere(self, artifact_id: str) -> bool:
        """Whether it is on its way through Redis."""
        return artifact_id in self._offered or self._behind.holds(artifact_id)

    async def _hand_over_on(self) -> None:
        """Give Redis what it may have, while the database may keep the writer waiting."""
        try:
            while batch := list(islice(self._offered.values(), self._rules.batch_size)):
                rows = await asyncio.to_thread(lambda some=batch: [each.row() for each in some])
                if await self._behind.hand_over(rows, self._rules):
                    self._may_stray = True
                    for artifact in batch:
                        artifact.written.set()
                for artifact in batch:
                    del self._offered[artifact.id]
                self._news.set()
                self._ensure_writer()
        finally:
            self._offered.clear()
            self._hander = None

    async def _insert(self, rows: Sequence[dict[str, Any]], used: Sequence[str]) -> None:
        if not (rows or used):
            return
        for is_last in (False, True):  # another worker may write the same row at the same moment
            try:
                async with self._table.begin() as connection:
                    if rows:
                        await insert_artifacts(connection, rows)
                    if used:
                        await note_use(connection, used, self._clock())
                return
            except IntegrityError:
                if is_last:
                    raise

    def _drop(self, ids: Iterable[str]) -> None:
        """They stand in the table."""
        for each in ids:
            self._behind.forget(each)
            if artifact := self._waiting.pop(each, None):
                self._waiting_bytes -= len(artifact.content)
                artifact.written.set()

    async def _pause(self) -> None:
        if self._closing.is_set():
            await asyncio.sleep(1.0)
            return
        doubled = 2 ** min(self._failures, 10)
        seconds = min(_FIRST_PAUSE_SECONDS * doubled, _LONGEST_PAUSE_SECONDS)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)

    async def _sweep_on(self) -> None:
        share = random.uniform(0.05, 0.25)  # a server that restarts every day cleans up as well
        while True:
            await asyncio.sleep(self._rules.cleanup_interval * share)
            share = random.uniform(0.75, 1.25)
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 - it is tried again
                LOG.warning("artifacts: the clean-up failed: %s", describe_fault(error))

    async def _find_on(self) -> None:
        """Write what workers that died have left in Redis."""
        while True:
            if self._cache.seconds and self._behind.may_take:
                self._may_stray = True
                self._ensure_writer()
            await asyncio.sleep(_STRAY_SECONDS * random.uniform(0.75, 1.25))

    async def _cached(self, home: ArtifactHome, ids: Sequence[str]) -> dict[str, Any]:
        """Those that Redis has and that open; the table has them all."""
        cached = await self._cache.read(home, ids)
        rows = [(each, payload, 0) for each, payload in cached]
        return await asyncio.to_thread(self._opened, home, rows, Counter()) if rows else {}

    async def _read(
        self, home: ArtifactHome, ids: Sequence[str], problems: Counter[str]
    ) -> list[tuple[str, bytes, int]]:
        if self._clock() < self._blind_until or not self._table.has_database:
            return []
        try:
            async with asyncio.timeout(_LOAD_SECONDS), self._table.begin() as connection:
                rows = await select_payloads(connection, home, ids)
        except Exception as error:  # noqa: BLE001 - the turn goes on without
            self._blind_until = self._clock() + _BLIND_SECONDS
            self._report("loading", describe_fault(error))
            return []
        self._report("loading", "")
        if len(rows) < len(ids):
            problems["not kept for this chat and user"] = len(ids) - len(rows)
        return rows

    def _opened(
        self, home: ArtifactHome, rows: Sequence[tuple[str, bytes, int]], problems: Counter[str]
    ) -> dict[str, Any]:
        opened: dict[str, Any] = {}
        codec = self._codec  # another call may have other rules by now
        for artifact_id, payload, _ in rows:
            try:
                if codec is None:
                    raise SealedPayloadError("Its passphrase cannot be read.")
                opened[artifact_id] = decode_json(codec.open(payload, home.identity(artifact_id)))
            except SealedPayloadError as error:
                problems[error.cause] += 1
            except ValueError:
                problems["It is not JSON."] += 1
        return opened

    def _note_used(self, rows: Sequence[tuple[str, bytes, int]]) -> None:
        before = self._clock() - _USE_IS_NEWS_SECONDS
        self._used.update(artifact_id for artifact_id, _, used_at in rows if used_at < before)
        if self._used:
            self._ensure_writer()

    def _warn_of(self, chat_id: str, lost: int, problems: Counter[str]) -> None:
        """Once for each chat: a copy of one has lost its thinking for good."""
        if not problems or chat_id in self._warned_chats:
            return
        if len(self._warned_chats) >= _MOST_WARNED_CHATS:
            self._warned_chats.clear()
        self._warned_chats.add(chat_id)
        reasons = "; ".join(
            f"{count} \N{MULTIPLICATION SIGN} {reason}" for reason, count in problems.items()
        )
        LOG.warning("artifacts: the turn goes on without %d earlier thoughts: %s", lost, reasons)

    def _report(self, what: str, fault: str) -> None:
        """Say once that it fails, and once that it works again."""
        if bool(fault) == (what in self._reported):
            return
        if fault:
            self._reported.add(what)
            LOG.warning("artifacts: %s fails, answers go on without: %s", what, fault)
        else:
            self._reported.discard(what)
            LOG.info("artifacts: %s works again", what)


def describe_fault(error: Exception) -> str:
    """The first line of what went wrong, without the values that SQLAlchemy adds."""
    cause = getattr(error, "orig", None) or error
    first = next(iter(str(cause).splitlines()), "")
    return f"{type(cause).__name__}: {first}" if first else type(cause).__name__


################################
# storage/kept_thinking.py
#
# Sealed thinking goes into the artifact store; the chat gets a reference in its place.
################################

async def keep_thinking(
    answer: AsyncGenerator[list[Event]], context: RequestContext, store: ArtifactStore
) -> AsyncGenerator[list[Event]]:
    """Pass the answer on with references; its end waits until what they stand for is written.

    Open WebUI saves the message only after that end, so a saved reference leads somewhere.
    """
    kept: list[str] = []
    async with aclosing(answer) as batches:
        async for batch in batches:
            referring = [_referring(event, context, store, kept) for event in batch]
            if isinstance(referring[-1], ResponseFinished | ResponseFailed) and kept:
                if referring[:-1]:
                    yield referring[:-1]
                await store.settle(kept)
                referring = referring[-1:]
            yield referring


def _referring(
    event: Event, context: RequestContext, store: ArtifactStore, kept: list[str]
) -> Event:
    """The event for the reader; the next round of this answer still needs the item as it is."""
    match event:
        case ItemFinished(_, ReasoningItem(details=details) as item) if details:
            # What was read out of a document is kept with the chat, also when thinking is not.
            parsed = [detail for detail in details if detail.get("type") == PARSED_DETAIL]
            thought = [detail for detail in details if detail not in parsed]
            artifact_id = store.keep(context, "reasoning", thought) if thought else ""
            if not artifact_id:
                return event
            kept.append(artifact_id)
            seals = sum(bool(detail.get("data") or detail.get("signature")) for detail in thought)
            reference = {"type": STORED_DETAIL, "id": artifact_id, "sealed": seals}
            return replace(event, item=replace(item, details=[reference, *parsed]))
        case _:
            return event


################################
# requests/allow_list.py
#
# Only what the API knows goes out.
################################

ALLOWED_FIELDS = frozenset(ResponsesBody.__annotations__)

# Fields that pass as they came, from a model's custom parameters; all others are built by a stage.
PASSED_FIELDS = (
    "models",
    "modalities",
    "image_config",
    "plugins",
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


################################
# requests/caching.py
#
# Prompt caches: kept warm by one provider a chat, asked for where a vendor wants that.
################################

def caching_fields(context: RequestContext) -> dict[str, Any]:
    """The request's `cache_control` and `session_id`."""
    settings = context.settings
    fields: dict[str, Any] = {}
    if settings.anthropic_cache_ttl and context.model.lstrip("~").startswith("anthropic/"):
        # On /responses only the automatic breakpoint of the top level is understood.
        fields["cache_control"] = {"type": "ephemeral", "ttl": settings.anthropic_cache_ttl}
    if session_id := _session_id(context.chat_id):
        fields["session_id"] = session_id
    return fields


def mark_breakpoints(
    messages: Sequence[JsonObject], tools: Sequence[JsonObject], cache_control: JsonObject
) -> None:
    """Mark where a chat request's cache may end early: after tools, system prompt and question.

    The automatic breakpoint of the top level is the fourth, and vendors take no more. It alone
    would lose everything when a question is edited or the answer made anew.
    """
    marked = [tool for tool in tools if tool["type"] == "function"][-1:]
    for role in ("system", "user"):
        of_role = [message for message in messages if message["role"] == role]
        marked += [part for message in of_role[-1:] for part in _last_text(message)]
    for block in marked:
        block.setdefault("cache_control", cache_control)


def _last_text(message: JsonObject) -> list[JsonObject]:
    """The last text of a message as a part, for only a part can carry a mark."""
    content = message["content"]
    if isinstance(content, str):
        content = message["content"] = [{"type": "text", "text": content}] if content else []
    return [part for part in content if part["type"] == "text"][-1:]


def _session_id(chat_id: str) -> str:
    """A name for the chat that keeps its provider, and tells OpenRouter nothing about the chat."""
    secret = os.environ.get("WEBUI_SECRET_KEY", "")
    if not secret or not chat_id:
        return ""
    return hmac.new(
        secret.encode("utf-8", "surrogateescape"), f"openrouter:{chat_id}".encode(), sha256
    ).hexdigest()


################################
# requests/content_parts.py
#
# The parts of a message (text, pictures, files, sound, video) in the words of either endpoint.
################################

_RESPONSES_AUDIO = frozenset({"mp3", "wav"})
"""The formats of sound that `/responses` takes (schema `InputAudio`); chat takes more."""


def input_parts(content: Any) -> list[JsonObject]:
    """Chat content as parts of a Responses message; what nobody could read is left out."""
    if isinstance(content, str):
        return [{"type": "input_text", "text": content}] if content else []
    parts = (_input_part(part) for part in objects_in(content))
    return [part for part in parts if part is not None]


def _input_part(part: Mapping[str, Any]) -> JsonObject | None:
    kind = part.get("type")
    if kind in ("text", "input_text"):
        text = text_of(part.get("text"))
        return {"type": "input_text", "text": text} if text else None
    if kind in ("image_url", "input_image"):
        url = _address(part, "image_url")
        return {"type": "input_image", "image_url": url, "detail": "auto"} if url else None
    if kind in ("video_url", "input_video"):
        url = _address(part, "video_url")
        return {"type": "input_video", "video_url": url} if url else None
    if kind == "input_audio":
        sound = as_object(part.get("input_audio"))
        return {"type": "input_audio", "input_audio": sound} if sound.get("data") else None
    if kind in ("file", "input_file"):
        file = as_object(part.get("file")) or part
        fields = {key: file[key] for key in _FILE_FIELDS if file.get(key)}
        return {"type": "input_file", **fields} if fields.keys() - {"filename"} else None
    return None


_FILE_FIELDS = ("filename", "file_data", "file_url", "file_id")


def _address(part: Mapping[str, Any], name: str) -> str:
    value = part.get(name)
    return text_of(value) or text_of(as_object(value).get("url"))


def chat_parts(parts: list[JsonObject]) -> str | list[JsonObject]:
    """The parts as chat content: plain text where there is nothing else."""
    if all(part.get("type") == "input_text" for part in parts):
        return "\n\n".join(text_of(part.get("text")) for part in parts)
    return [_chat_part(part) for part in parts]


def _chat_part(part: JsonObject) -> JsonObject:
    match part.get("type"):
        case "input_image":
            return {"type": "image_url", "image_url": {"url": part["image_url"]}}
        case "input_video":
            return {"type": "video_url", "video_url": {"url": part["video_url"]}}
        case "input_audio":
            return part
        case "input_file":
            file = {key: part[key] for key in ("filename", "file_data", "file_id") if key in part}
            if "file_url" in part:  # chat reads addresses in the place of the data
                file["file_data"] = part["file_url"]
            return {"type": "file", "file": file}
        case _:
            return {"type": "text", "text": text_of(part.get("text"))}


def parts_only_chat_takes(messages: list[JsonObject]) -> list[str]:
    """What stands in the messages that `/responses` cannot carry, in words for a person."""
    found: set[str] = set()
    for message in messages:
        for part in objects_in(message.get("content")):
            if part.get("type") in ("video_url", "input_video"):
                found.add("video")
            sound = as_object(part.get("input_audio"))
            if sound and text_of(sound.get("format")).lower() not in _RESPONSES_AUDIO:
                found.add(f"sound as {text_of(sound.get('format')) or 'an unnamed format'}")
    return sorted(found)


################################
# requests/fallbacks.py
#
# Further models, for when the first one fails.
################################

MOST_MODELS = 3
"""OpenRouter refuses a request with more entries in `models`."""


def fallback_fields(body: Mapping[str, Any]) -> JsonObject:
    """`models`, with the custom parameter `model_fallback`."""
    named = [*_entries(body.get("models")), *_entries(body.get("model_fallback"))]
    return {"models": list(dict.fromkeys(map(from_host_id, named)))[:MOST_MODELS]} if named else {}


def _entries(value: Any) -> list[str]:
    entries = cast("list[Any]", value) if isinstance(value, list) else split_list(text_of(value))
    return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]


################################
# requests/identifiers.py
#
# Who and what a request belongs to: told to OpenRouter only where the admin wants it.
################################

# The API's limits; `user` is documented with 128 and with 256 characters.
_LONGEST_USER = 128
_LONGEST_SESSION = 256
_MOST_PAIRS = 16
_LONGEST_KEY = 64
_LONGEST_VALUE = 512


def identifier_fields(body: Mapping[str, Any], context: RequestContext) -> dict[str, Any]:
    """The request's `user`, `session_id`, `metadata` and `trace`.

    What a caller puts under the first three never goes out; `trace` is the admin's, by a custom
    parameter of the model.
    """
    settings = context.settings
    user_id = context.user_id if settings.send_end_user_id else ""
    session_id = context.session_id if settings.send_session_id else ""
    told = {
        "user_id": user_id,
        "session_id": session_id,
        "chat_id": context.chat_id if settings.send_chat_id else "",
        "message_id": context.message_id if settings.send_message_id else "",
    }
    fields: dict[str, Any] = {}
    if user_id and len(user_id) <= _LONGEST_USER:
        fields["user"] = user_id
    if session_id and len(session_id) <= _LONGEST_SESSION:
        fields["session_id"] = session_id
    if metadata := allowed_metadata(told):
        fields["metadata"] = metadata
    if trace := {**as_object(body.get("trace")), **as_object(body.get("openrouter_trace"))}:
        fields["trace"] = trace
    return fields


def allowed_metadata(pairs: Mapping[str, Any]) -> dict[str, str]:
    """The pairs the API takes, as many as it takes; a cut id would name something else."""
    told = {name: text_of(value) for name, value in pairs.items()}
    allowed = [
        (name, value)
        for name, value in told.items()
        if 0 < len(name) <= _LONGEST_KEY
        and not set("[]") & set(name)
        and 0 < len(value) <= _LONGEST_VALUE
    ]
    return dict(allowed[:_MOST_PAIRS])


################################
# requests/modalities.py
#
# Pictures and sound are asked for where the model gives them.
################################

_VOICE = "alloy"


def modality_fields(family: ModelFamily | None, *, is_task: bool) -> dict[str, Any]:
    """The request's `modalities`; nothing for a model that only writes, and for a chore."""
    if family is None or is_task or "image" not in family.output_modalities:
        return {}
    # A model that only draws refuses to be asked for text.
    writes = "text" in family.output_modalities
    return {"modalities": ["image", "text"] if writes else ["image"]}


def drawing_fields(
    body: CompletionsBody, family: ModelFamily | None, context: RequestContext
) -> dict[str, Any]:
    """The request's `image_config`: what the model or the chat says, else what the user wants."""
    if family is None or context.task or "image" not in family.output_modalities:
        return {}
    wanted = dict(context.settings.drawing)
    if "size" in wanted:
        wanted["image_size"] = wanted.pop("size")
    config = {**wanted, **as_object(body.get("image_config"))}
    return {"image_config": config} if config else {}


def ask_for_sound(
    body: CompletionsBody, context: RequestContext, family: ModelFamily | None
) -> CompletionsBody:
    """The body, asking for sound where the model speaks or plays, and a person can listen.

    Only `/chat/completions` gives sound. OpenAI streams it in one format alone.
    """
    speaks = family is not None and "audio" in family.output_modalities
    if family is None or not speaks or not context.is_in_message or "modalities" in body:
        return body
    asked = {**body, "modalities": ["text", "audio"]}
    if family.vendor == "openai":
        voice = {"voice": context.settings.voice or _VOICE}
        asked["audio"] = {**voice, **as_object(body.get("audio")), "format": "pcm16"}
    return asked


################################
# requests/old_texts.py
#
# What stands in the texts of old answers and no model should read: players, others' marks.
################################

# Hidden Markdown definitions: an id of 20 to 26 Crockford digits, or the phase of a message.
_MARKER = re.compile(r" {0,3}\[(?:[0-9A-HJKMNP-TV-Z]{20,26}|P:\w+)\]: ?#[ \t]*")
_CODE_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_CARD = re.compile(r" {0,3}<details\b[^>]*\btype=[\"'](?:reasoning|tool_calls)[\"']")
# The player of a file that the answer made (`storage/keeping.py`).
_PLAYER = re.compile(r"\n*<(audio|video)>\n/api/v1/files/[\w-]+/content\n</\1>\n?")
_CARD_END = "</details>"


def clean_answer(message: JsonObject) -> JsonObject:
    """An earlier answer without what was never part of its text; code is left as it is."""
    content = message.get("content")
    if isinstance(content, str):
        cleaned = clean_text(content)
        return message if cleaned is content else {**message, "content": cleaned}
    if not isinstance(content, list):
        return message
    return {**message, "content": [_clean_part(part) for part in objects_in(content)]}


def _clean_part(part: Mapping[str, Any]) -> JsonObject:
    text = text_of(part.get("text"))
    return {**part, "text": clean_text(text)} if text else dict(part)


def clean_text(text: str) -> str:
    """The text without players, marker lines and the cards of Open WebUI before 0.10."""
    if "o>\n/api/v1/files/" in text:
        text = _PLAYER.sub("", text)
    if "]:" not in text and "<details" not in text:
        return text
    reader = AnswerLines()
    kept = [line for whole in text.split("\n") if (line := reader.read(whole)) is not None]
    cleaned = "\n".join(kept)
    # A card that nothing closes may be anything.
    return text if reader.in_card or cleaned == text else cleaned.strip("\n")


class AnswerLines:
    """Reads an answer line by line, and knows where code and where a card is."""

    __slots__ = ("_fence", "in_card")

    def __init__(self) -> None:
        self._fence = ""
        self.in_card = False

    def read(self, line: str) -> str | None:
        """What of the line belongs to the answer; `None` for nothing at all."""
        if not self.in_card and (self._fence or _CODE_FENCE.match(line)):
            self._read_code(line)
            return line
        if self.in_card or _CARD.match(line):
            _, end, rest = line.partition(_CARD_END)
            self.in_card = not end
            return rest.strip() or None
        return None if _MARKER.fullmatch(line) else line

    def _read_code(self, line: str) -> None:
        mark = line.strip()
        if not self._fence:
            opened = _CODE_FENCE.match(line)
            self._fence = opened[1] if opened else ""
        elif mark.startswith(self._fence) and not mark.strip(self._fence[0]):
            self._fence = ""


################################
# requests/parameters.py
#
# Sampling, length and format: chat-completions names become the Responses API's.
################################

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
    if text := _text_options(body):
        fields["text"] = text
    return fields


def _output_limit(body: Mapping[str, Any]) -> int | None:
    for name in ("max_output_tokens", "max_completion_tokens", "max_tokens"):
        limit = _number_in(body.get(name))
        if limit is not None and limit >= 1:
            return round(limit)
    return None


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


################################
# requests/parsed_files.py
#
# What OpenRouter has read out of documents goes back, so that nobody pays for it twice.
#
# Only `/chat/completions` knows it, as `annotations` of the answer that brought it.
################################

def parsed_items(
    message: Mapping[str, Any], chat_id: str, details: Sequence[JsonObject]
) -> list[dict[str, Any]]:
    """What an earlier answer of this chat brought, as an item of the input; a copy is no longer it.

    An API client sends it back as it got it.
    """
    files = [
        file
        for detail in details
        if (detail.get("type"), detail.get("chat")) == (PARSED_DETAIL, chat_id)
        for file in objects_in(detail.get("files"))
    ]
    files += [each for each in objects_in(message.get("annotations")) if each.get("type") == "file"]
    return [{"type": PARSED_DETAIL, "files": files}] if files else []


def bind_to_chat(details: Sequence[JsonObject], chat_id: str) -> None:
    """Say in which chat it was read."""
    for detail in details:
        if detail.get("type") == PARSED_DETAIL:
            detail["chat"] = chat_id


def without_parsed(request: ResponsesBody) -> ResponsesBody:
    """The request as the Responses API knows it."""
    items = request.get("input", [])
    if not any(item.get("type") == PARSED_DETAIL for item in items):
        return request
    kept = [item for item in items if item.get("type") != PARSED_DETAIL]
    return cast("ResponsesBody", {**request, "input": kept})


def files_to_name(
    files: Sequence[JsonObject], messages: Sequence[Mapping[str, Any]]
) -> list[JsonObject]:
    """Those whose document goes out too."""
    sent = {
        text_of(as_object(part.get("file")).get("filename"))
        for message in messages
        for part in objects_in(message.get("content"))
        if part.get("type") == "file"
    }
    return [each for each in files if text_of(as_object(each.get("file")).get("name")) in sent]


################################
# requests/plugins.py
#
# OpenRouter's plugins: what shortens chats that are too long, and what reads PDFs.
################################

def plugin_fields(
    body: Mapping[str, Any], conversation: Sequence[Mapping[str, Any]], settings: Settings
) -> dict[str, Any]:
    """The request's `plugins`: the chat's own, and what the admin wants besides."""
    own = objects_in(body.get("plugins"))
    wanted: list[JsonObject] = []
    if settings.auto_context_trimming:
        wanted.append({"id": COMPRESSION_PLUGIN, "engine": "middle-out"})
    if settings.attachments.pdf_engine and _holds_file(conversation):
        engine = {"engine": settings.attachments.pdf_engine}
        wanted.append({"id": "file-parser", "pdf": engine})
    # A chat's own word on a plugin stays.
    named = {plugin.get("id") for plugin in own}
    added = [plugin for plugin in wanted if plugin["id"] not in named]
    return {"plugins": [*own, *added]} if added else {}


def _holds_file(conversation: Sequence[Mapping[str, Any]]) -> bool:
    contents = (objects_in(item.get("content")) for item in conversation)
    return any(part.get("type") == "input_file" for parts in contents for part in parts)


################################
# requests/reasoning.py
#
# How hard the model thinks, and what is told of it.
################################

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""From least to most (schema `ReasoningEffort`)."""

_ENCRYPTED = "reasoning.encrypted_content"
# The first GPT that can be told to heed the thinking of earlier turns (`reasoning.context`).
_FIRST_WITH_CONTEXT = (5, 6)
_GPT = re.compile(r"~?openai/gpt-(\d+)(?:\.(\d+))?(?![\d.])")


def reasoning_fields(
    body: Mapping[str, Any], family: ModelFamily | None, settings: Settings, *, is_task: bool
) -> dict[str, Any]:
    """The request's `reasoning` and `include`; nothing for a model that does not reason.

    An effort is sent only when the chat, the user or the admin chose one. For a model the catalog
    does not know, what was asked for goes out as it is.
    """
    if family is not None and family.reasoning is None:
        return {}
    options = dict(as_object(body.get("reasoning")))
    effort = text_of(body.get("reasoning_effort")) or text_of(options.pop("effort", None))
    chosen = _chosen_effort(options, settings, is_task=is_task)
    effort = _lesser_effort(effort, chosen) if is_task else effort or chosen
    effort = _accepted_effort(effort, family.reasoning if family else None)
    if effort:
        options.pop("max_tokens", None)  # the API refuses the two together
        options["effort"] = effort
    if settings.reasoning_summary and not is_task and effort != "none" and _sums_up(family):
        options.setdefault("summary", settings.reasoning_summary)
    fields: dict[str, Any] = {"reasoning": options} if options else {}
    return fields if is_task else {**fields, "include": [_ENCRYPTED]}


def _sums_up(family: ModelFamily | None) -> bool:
    """Whether the vendor hides the thinking and sums it up on request; others show it unasked."""
    return family is not None and family.id.lstrip("~").startswith("openai/")


def heed_earlier_thinking(
    reasoning: Mapping[str, Any], model: str, conversation: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """The request's `reasoning`; it says so where thinking of earlier turns goes back.

    Without a word about it such a model drops what is older than the current turn.
    """
    version = _GPT.match(model)
    heeds = version is not None and (int(version[1]), int(version[2] or 0)) >= _FIRST_WITH_CONTEXT
    if heeds and reasoning.get("effort") != "none" and _replays_earlier_turns(conversation):
        return {"context": "all_turns", **reasoning}
    return dict(reasoning)


def _replays_earlier_turns(conversation: Sequence[Mapping[str, Any]]) -> bool:
    spoken = [place for place, item in enumerate(conversation) if item.get("role") == "user"]
    earlier = conversation[: spoken[-1]] if spoken else ()
    return any(item.get("encrypted_content") for item in earlier)


def _lesser_effort(asked: str, limit: str) -> str:
    """What a chore asks for, but never more than the settings grant chores."""
    if asked not in EFFORTS or limit not in EFFORTS:
        return limit or asked
    return min(asked, limit, key=EFFORTS.index)


def _chosen_effort(options: Mapping[str, Any], settings: Settings, *, is_task: bool) -> str:
    if is_task:
        return settings.task_reasoning_effort
    if number_of(options.get("max_tokens")):
        return ""  # the chat's own budget
    return settings.reasoning_effort if settings.enable_reasoning else "none"


def _accepted_effort(effort: str, ability: ReasoningAbility | None) -> str:
    """The nearest effort that the model takes; empty where it takes none."""
    if not effort or ability is None:
        return effort
    accepted = EFFORTS if ability.efforts is None else ability.efforts
    accepted = [name for name in accepted if name in EFFORTS]
    if ability.mandatory:
        accepted = [name for name in accepted if name != "none"]
    elif effort == "none":
        return effort
    if effort not in EFFORTS or not accepted:
        return effort if ability.efforts is None else ""
    wanted = EFFORTS.index(effort)
    return min(accepted, key=lambda name: (abs(EFFORTS.index(name) - wanted), EFFORTS.index(name)))


################################
# requests/references.py
#
# Thinking that the chat only refers to: which, and how it comes back to its place.
################################

def references_in(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """The ids of what is kept elsewhere, oldest first."""
    details = (
        detail for message in messages for detail in objects_in(message.get("reasoning_details"))
    )
    return [text_of(detail.get("id")) for detail in details if _refers(detail)]


def with_kept_details(messages: Sequence[JsonObject], kept: Mapping[str, Any]) -> list[JsonObject]:
    """The messages with the details themselves; a reference that leads nowhere is left out."""
    return [
        {**message, "reasoning_details": _details_for(message["reasoning_details"], kept)}
        if "reasoning_details" in message
        else message
        for message in messages
    ]


def _details_for(details: Any, kept: Mapping[str, Any]) -> list[JsonObject]:
    resolved: list[JsonObject] = []
    for detail in objects_in(details):
        if _refers(detail):
            resolved.extend(objects_in(kept.get(text_of(detail.get("id")))))
        else:
            resolved.append(detail)
    return resolved


def _refers(detail: JsonObject) -> bool:
    return detail.get("type") == STORED_DETAIL


################################
# requests/replay.py
#
# Reasoning of earlier answers goes back: `reasoning_details` become reasoning items.
################################

_NOT_THOUGHT = (LAYOUT_DETAIL, PARSED_DETAIL)

MADE_UP_ID = "rs_unnamed_"
"""Begins the id of an item that had none: the Responses API wants one, chat does not."""


def reasoning_items(details: Sequence[JsonObject]) -> list[dict[str, Any]]:
    """The items of one answer, in the order in which the model thought.

    Only what the vendor encrypted or signed is of use to it; the rest stays out.
    """
    items: list[dict[str, Any]] = []
    thoughts = [detail for detail in details if detail.get("type") not in _NOT_THOUGHT]
    for _, group in groupby(thoughts, key=_item_of_detail):
        pieces = list(group)
        if any(map(_is_sealed, pieces)):
            items.append(_reasoning_item(pieces, len(items)))
    return items


def in_their_order(
    layout: Sequence[JsonObject],
    thoughts: Sequence[JsonObject],
    text: str,
    calls: Sequence[JsonObject],
) -> list[dict[str, Any]] | None:
    """The parts of an answer as they stood; `None` where the layout tells of another answer."""
    texts = _texts_of(layout, text)
    sealed = sum(whole_of(part.get("sealed")) or 0 for part in layout)
    if texts is None or (thoughts and sealed != sum(map(_seals, thoughts))):
        return None
    messages, waiting = iter(texts), list(thoughts)
    open_calls = {call["call_id"]: call for call in calls}
    items: list[dict[str, Any]] = []
    for part in layout:
        match part.get("kind"):
            case "message":
                phase = {"phase": part["phase"]} if text_of(part.get("phase")) else {}
                items.append({"role": "assistant", "content": next(messages), **phase})
            case "call" if call := open_calls.pop(text_of(part.get("call_id")), None):
                items.append(call)
            case "reasoning":
                items.extend(_next_thoughts(waiting, whole_of(part.get("sealed")) or 0))
            case _:
                pass
    return [*items, *open_calls.values()]


def _texts_of(layout: Sequence[JsonObject], text: str) -> list[str] | None:
    """The texts that Open WebUI joined with line breaks; `None` when they were edited since."""
    texts: list[str] = []
    start = 0
    for part in layout:
        if part.get("kind") == "message":
            end = start + (whole_of(part.get("length")) or 0)
            texts.append(text[start:end])
            if text[end : end + 1] not in ("", "\n"):
                return None
            start = end + 1
    return texts if start == len(text) + bool(texts) else None


def _next_thoughts(waiting: list[JsonObject], sealed: int) -> list[JsonObject]:
    """Take so many seals' worth of items from the beginning of the list."""
    taken: list[JsonObject] = []
    while waiting and sealed > 0:
        sealed -= _seals(waiting[0])
        taken.append(waiting.pop(0))
    return taken


def _seals(item: JsonObject) -> int:
    return bool(item.get("encrypted_content")) + bool(item.get("signature"))


def _is_sealed(detail: JsonObject) -> bool:
    return bool(text_of(detail.get("data")) or text_of(detail.get("signature")))


def _item_of_detail(detail: JsonObject) -> tuple[str, str]:
    """What tells two items apart: their id, or their place where they have none."""
    return text_of(detail.get("id")), "" if detail.get("id") else text_of(detail.get("index"))


def _reasoning_item(pieces: Sequence[JsonObject], position: int) -> dict[str, Any]:
    item: dict[str, Any] = {
        "type": "reasoning",
        "id": text_of(pieces[0].get("id")) or f"{MADE_UP_ID}{position}",
        "summary": [],
    }
    for piece in pieces:
        if summary := text_of(piece.get("summary")):
            item["summary"].append({"type": "summary_text", "text": summary})
        if text := text_of(piece.get("text")):
            item.setdefault("content", []).append({"type": "reasoning_text", "text": text})
        if data := text_of(piece.get("data")):
            item["encrypted_content"] = data
        for key in ("signature", "format"):
            if value := text_of(piece.get(key)):
                item[key] = value
    return item


def unsigned_reasoning_item(item: ReasoningItem) -> list[dict[str, Any]]:
    """Thinking that the vendor neither encrypts nor signs, for the rounds of the same answer.

    A summary alone stays out: for its vendor it names an item that nobody has kept.
    """
    content = [{"type": "reasoning_text", "text": text} for text in item.content if text]
    if not content:
        return []
    return [{"type": "reasoning", "id": f"{MADE_UP_ID}0", "summary": [], "content": content}]


def call_arguments(text: str) -> str:
    """The arguments of a call, as they were where they are a JSON object, else an empty one.

    Providers refuse a conversation that holds any other; what was wrong with them stands in the
    call's output.
    """
    try:
        return text if isinstance(decode_json(text), dict) else "{}"
    except ValueError:
        return "{}"


################################
# requests/chat_body.py
#
# The same request as a chat-completions body, for what the Responses API cannot carry.
################################

CHAT_ONLY_FIELDS = (
    "stop",
    "seed",
    "min_p",
    "top_a",
    "repetition_penalty",
    "logit_bias",
    "logprobs",
    "prediction",
    "audio",
)
"""Parameters that only `/chat/completions` takes (schema `ChatRequest`)."""

_SAME_FIELDS = (
    "model",
    "models",
    "temperature",
    "top_p",
    "top_k",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "reasoning",
    "modalities",
    "image_config",
    "plugins",
    "provider",
    "service_tier",
    "prompt_cache_key",
    "cache_control",
    "session_id",
    "user",
    "metadata",
    "trace",
    "parallel_tool_calls",
    "stop_server_tools_when",
)


def needs_chat_endpoint(body: CompletionsBody) -> list[str]:
    """What the caller asks for and `/responses` would refuse or ignore."""
    needed = [name for name in CHAT_ONLY_FIELDS if body.get(name) not in (None, "", [], {})]
    modalities = body.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities and "audio" not in needed:
        needed.append("audio")
    return [*needed, *parts_only_chat_takes(objects_in(body.get("messages")))]


def build_chat_body(request: ResponsesBody, body: CompletionsBody) -> ChatBody:
    """Derive the chat request from the Responses request and the caller's chat-only parameters."""
    sent = cast("Mapping[str, Any]", request)
    fields: dict[str, Any] = {name: sent[name] for name in _SAME_FIELDS if name in sent}
    fields |= {name: body[name] for name in CHAT_ONLY_FIELDS if body.get(name) is not None}
    fields["messages"] = build_messages(request.get("input", []))
    if "max_output_tokens" in request:
        fields["max_tokens"] = request["max_output_tokens"]
    text = request.get("text", {})
    if "format" in text:
        fields["response_format"] = _nested_format(as_object(text["format"]))
    if "verbosity" in text:
        fields["verbosity"] = text["verbosity"]
    if "tools" in request:
        fields["tools"] = [_nested_function(tool) for tool in request["tools"]]
    if "tool_choice" in request:
        fields["tool_choice"] = _nested_choice(request["tool_choice"])
    if cache_control := fields.get("cache_control"):
        mark_breakpoints(fields["messages"], fields.get("tools", ()), cache_control)
    return cast("ChatBody", fields)


def build_messages(items: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """Turn input items into chat messages; what one answer consists of becomes one message."""
    messages: list[JsonObject] = []
    for item in items:
        match item.get("type"):
            case kind if kind == PARSED_DETAIL:
                if files := files_to_name(objects_in(item["files"]), messages):
                    _last_answer(messages).setdefault("annotations", []).extend(files)
            case "function_call_output":
                output = item["output"]
                content = output if isinstance(output, str) else chat_parts(objects_in(output))
                answered = {"tool_call_id": item["call_id"], "content": content}
                messages.append({"role": "tool", **answered})
            case "function_call":
                _last_answer(messages).setdefault("tool_calls", []).append(_nested_call(item))
            case "reasoning":
                details = _last_answer(messages).setdefault("reasoning_details", [])
                details.extend(_details(item, len(details)))
            case _ if item.get("role") == "assistant":
                message = _last_answer(messages)
                message["content"] = (message["content"] or "") + text_of(item.get("content"))
            case _:
                content = chat_parts(objects_in(item.get("content")))
                messages.append({"role": item.get("role"), "content": content})
    return messages


def _last_answer(messages: list[JsonObject]) -> JsonObject:
    """The assistant message that is being put together."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    return messages[-1]


def _nested_call(item: Mapping[str, Any]) -> JsonObject:
    function = {"name": item["name"], "arguments": item["arguments"]}
    return {"id": item["call_id"], "type": "function", "function": function}


def _details(item: Mapping[str, Any], first_index: int) -> list[JsonObject]:
    """A reasoning item as the details it came from."""
    tag = {key: item[key] for key in ("id", "format") if item.get(key)}
    if text_of(tag.get("id")).startswith(MADE_UP_ID):
        del tag["id"]
    details: list[JsonObject] = [
        {"type": "reasoning.summary", "summary": part["text"], **tag}
        for part in objects_in(item.get("summary"))
    ]
    if item.get("signature") or item.get("content"):
        text = "".join(text_of(part.get("text")) for part in objects_in(item.get("content")))
        signed = {"signature": item["signature"]} if item.get("signature") else {}
        details.append({"type": "reasoning.text", "text": text, **signed, **tag})
    if item.get("encrypted_content"):
        details.append({"type": "reasoning.encrypted", "data": item["encrypted_content"], **tag})
    return [{**detail, "index": first_index + n} for n, detail in enumerate(details)]


def _nested_function(tool: JsonObject) -> JsonObject:
    if tool.get("type") != "function":
        return tool
    function = {key: value for key, value in tool.items() if key not in ("type", "cache_control")}
    caching = {"cache_control": tool["cache_control"]} if tool.get("cache_control") else {}
    return {"type": "function", "function": function, **caching}


def _nested_choice(choice: str | JsonObject) -> str | JsonObject:
    if isinstance(choice, str) or choice.get("type") != "function":
        return choice
    return {"type": "function", "function": {"name": choice.get("name")}}


def _nested_format(answer_format: JsonObject) -> JsonObject:
    if answer_format.get("type") != "json_schema":
        return answer_format
    schema = {key: value for key, value in answer_format.items() if key != "type"}
    return {"type": "json_schema", "json_schema": schema}


################################
# requests/history.py
#
# Chat messages become input items.
################################

InputItem = dict[str, Any]

_ROLES = frozenset({"system", "developer", "user"})


def build_input(
    messages: Sequence[Mapping[str, Any]], *, keep_results: bool = True, chat_id: str = ""
) -> list[InputItem]:
    """Turn the messages Open WebUI sends into the `input` of a Responses request, in order.

    Messages that say nothing, such as the place of an answer that failed, are left out;
    so are tool calls without their result and results without their call. `keep_results` says
    whether tools' results of earlier turns go out too, `chat_id` which chat they are of.
    """
    pairs = _find_pairs(messages)
    if not keep_results:
        begin = _newest_turn(messages)
        pairs = {place: call_ids for place, call_ids in pairs.items() if place > begin}
    items: list[InputItem] = []
    for place, message in enumerate(messages):
        role = text_of(message.get("role"))
        if role in _ROLES:
            items.extend(_spoken_item(role, message))
        elif role == "assistant":
            details = objects_in(message.get("reasoning_details"))
            items.extend(parsed_items(message, chat_id, details))
            items.extend(_assistant_items(message, pairs.get(place, set())))
        elif place in pairs:
            items.append(_tool_output(message))
    return items


def call_ids_in(body: Mapping[str, Any]) -> set[str]:
    """The ids of the calls that earlier answers made."""
    messages = objects_in(body.get("messages"))
    return {call_id for message in messages for call_id, _ in _calls_in(message)}


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


def _newest_turn(messages: Sequence[Mapping[str, Any]]) -> int:
    """Where the person spoke last; what follows a result directly is a picture the host moved."""
    roles = [message.get("role") for message in messages]
    places = (place for place, role in enumerate(roles) if role == "user")
    return max((place for place in places if "tool" not in roles[place - 1 : place]), default=-1)


def _calls_in(message: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The calls of tools that can be told apart, each with its function.

    What OpenRouter did itself is shown as a call too, but nobody has a tool of that name.
    """
    calls: dict[str, dict[str, Any]] = {}
    for call in objects_in(message.get("tool_calls")):
        call_id, function = text_of(call.get("id")), as_object(call.get("function"))
        is_shown_only = not call_id or call_id.startswith(SERVER_TOOL_CALL_PREFIX)
        if text_of(function.get("name")) and not is_shown_only:
            calls.setdefault(call_id, function)
    return list(calls.items())


def _spoken_item(role: str, message: Mapping[str, Any]) -> list[InputItem]:
    parts = input_parts(message.get("content"))
    return [{"type": "message", "role": role, "content": parts}] if parts else []


def _assistant_items(message: Mapping[str, Any], answered: set[str]) -> list[InputItem]:
    details = objects_in(message.get("reasoning_details"))
    thoughts = reasoning_items(details)
    text = _plain_text(message.get("content"))
    calls = [_call_item(*call) for call in _calls_in(message) if call[0] in answered]
    layouts = [detail for detail in details if detail.get("type") == LAYOUT_DETAIL]
    if layouts:
        parts = objects_in(layouts[-1].get("parts"))
        if (items := in_their_order(parts, thoughts, text, calls)) is not None:
            return items
    # The short form: it needs no item id, and ids of earlier answers mean nothing upstream.
    spoken = [{"role": "assistant", "content": text}] if text else []
    # Reasoning stands before what it led to.
    return [*thoughts, *spoken, *calls]


def _call_item(call_id: str, function: Mapping[str, Any]) -> InputItem:
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": api_tool_name(text_of(function.get("name"))),
        "arguments": call_arguments(text_of(function.get("arguments"))),
    }


def _tool_output(message: Mapping[str, Any]) -> InputItem:
    parts = input_parts(message.get("content"))
    has_images = any(part["type"] == "input_image" for part in parts)
    return {
        "type": "function_call_output",
        "call_id": text_of(message.get("tool_call_id")),
        "output": parts if has_images else _plain_text(message.get("content")),
    }


def _plain_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(filter(None, (text_of(part.get("text")) for part in objects_in(content))))


################################
# requests/next_round.py
#
# The request of another round: the one before, and what came of it.
################################

def add_round(
    request: ResponsesBody, items: Sequence[OutputItem], outputs: Sequence[ToolOutputItem]
) -> ResponsesBody:
    """The request with what the model gave, in its order, and behind it the calls' outputs.

    Calls without an output are left out, and a tool that had to be called need not be again.
    """
    answered = {output.call_id for output in outputs}
    added = [entry for item in items for entry in _replayed(item, answered)]
    added += map(tool_output, outputs)
    fields = {**request, "input": [*request.get("input", []), *added]}
    if fields.get("tool_choice") not in (None, "auto", "none"):
        fields["tool_choice"] = "auto"
    return cast("ResponsesBody", fields)


def ask_for_words(
    request: ResponsesBody, family: ModelFamily | None, reminder: str = ""
) -> ResponsesBody:
    """The request in a form that calls no tools, with a reminder to the model at its end.

    The definitions stay where the model can be told not to use them: some providers refuse
    calls of tools that are not defined, and the prompt cache begins with them.
    """
    fields: dict[str, Any] = {**request}
    heeds_it = family is None or "tool_choice" in family.supported_parameters
    if heeds_it and "tools" in fields:  # a refusal may have taken them out
        fields["tool_choice"] = "none"
    else:
        fields = {name: fields[name] for name in fields if name not in TOOL_FIELDS}
    if reminder:
        message = {"type": "message", "role": "user"}
        message |= {"content": [{"type": "input_text", "text": reminder}]}
        fields["input"] = [*request.get("input", []), message]
    return cast("ResponsesBody", fields)


def question_in(request: ResponsesBody) -> str:
    """What the person said last; empty where that is nothing in words."""
    asked = [item for item in request.get("input", []) if item.get("role") == "user"]
    parts = objects_in(asked[-1].get("content")) if asked else []
    return "\n".join(filter(None, (text_of(part.get("text")) for part in parts)))


def say_before_question(request: ResponsesBody, words: str) -> ResponsesBody:
    """The request with these words where Open WebUI puts its own: before the person's."""
    items = [*request.get("input", [])]
    for place in reversed(range(len(items))):
        if items[place].get("role") == "user":
            content = [{"type": "input_text", "text": words}, *items[place]["content"]]
            items[place] = {**items[place], "content": content}
            break
    return cast("ResponsesBody", {**request, "input": items})


TOOL_FIELDS = frozenset({"tools", "tool_choice", "parallel_tool_calls", "stop_server_tools_when"})
"""What only a request with tools may hold."""


def tool_output(output: ToolOutputItem) -> dict[str, Any]:
    """What a call brought back, as an item of the input."""
    content: str | list[dict[str, Any]] = output.text
    if output.images:
        content = [{"type": "input_text", "text": output.text}] if output.text else []
        content += [
            {"type": "input_image", "image_url": url, "detail": "auto"} for url in output.images
        ]
    return {"type": "function_call_output", "call_id": output.call_id, "output": content}


def _replayed(item: OutputItem, answered: set[str]) -> list[dict[str, Any]]:
    match item:
        case ReasoningItem():
            parsed = [each for each in item.details if each.get("type") == PARSED_DETAIL]
            return [*parsed, *(reasoning_items(item.details) or unsigned_reasoning_item(item))]
        case MessageItem() if item.text:
            phase = {"phase": item.phase} if item.phase else {}
            return [{"role": "assistant", "content": item.text, **phase}]
        case FunctionCallItem() if item.call_id in answered:
            call = {"call_id": item.call_id, "name": api_tool_name(item.name)}
            return [{"type": "function_call", **call, "arguments": call_arguments(item.arguments)}]
        case _:
            return []


################################
# requests/recovery.py
#
# A refused request, changed so that it may pass: each repair once, before the first word.
################################

Repair = Callable[[ResponsesBody, str], ResponsesBody]

_QUOTED = re.compile(r"[\"'`]([A-Za-z_.]+)[\"'`]")
# For an answer: where a request may go, and what it may cost.
_NEVER_GIVEN_UP = {"model", "input", "stream", "provider", "stop_server_tools_when"}


def repair_request(
    request: ResponsesBody, error: OpenRouterAPIError, tried: set[str]
) -> ResponsesBody | None:
    """The request without what was refused; `None` when there is nothing left to try.

    `tried` remembers the repairs already made for this turn.
    """
    failure = error.failure
    complaint = " ".join((failure.code, failure.message, failure.upstream_message))
    for name, pattern, repair in _REPAIRS:
        if name in tried or not pattern.search(complaint):
            continue
        tried.add(name)
        repaired = repair(request, complaint)
        if repaired != request:
            return repaired
    return None


def _without_reasoning_items(request: ResponsesBody, complaint: str) -> ResponsesBody:
    kept = [item for item in request.get("input", []) if item.get("type") != "reasoning"]
    return cast("ResponsesBody", {**request, "input": kept})


def _with_some_reasoning(request: ResponsesBody, complaint: str) -> ResponsesBody:
    reasoning = {key: value for key, value in request.get("reasoning", {}).items()}
    reasoning.pop("enabled", None)
    if reasoning.get("effort") == "none":
        reasoning["effort"] = "low"
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _with_accepted_effort(request: ResponsesBody, complaint: str) -> ResponsesBody:
    """The nearest effort among those the answer names, or none when it names none."""
    reasoning = dict(as_object(request.get("reasoning")))
    refused = text_of(reasoning.pop("effort", None))
    named = [word for word in EFFORTS if re.search(rf"\b{word}\b", complaint) and word != refused]
    if named and refused in EFFORTS:
        wanted = EFFORTS.index(refused)
        reasoning["effort"] = min(named, key=lambda word: abs(EFFORTS.index(word) - wanted))
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _without_token_budget(request: ResponsesBody, complaint: str) -> ResponsesBody:
    reasoning = dict(as_object(request.get("reasoning")))
    reasoning.pop("max_tokens", None)
    return cast("ResponsesBody", {**request, "reasoning": reasoning})


def _without_named_fields(request: ResponsesBody, complaint: str) -> ResponsesBody:
    named = {word.split(".")[0] for word in _QUOTED.findall(complaint)}
    refused = (named & ALLOWED_FIELDS) - _NEVER_GIVEN_UP
    return cast("ResponsesBody", {k: v for k, v in request.items() if k not in refused})


def _without_tools(request: ResponsesBody, complaint: str) -> ResponsesBody:
    kept = {name: value for name, value in request.items() if name not in TOOL_FIELDS}
    return cast("ResponsesBody", kept)


_REPAIRS: tuple[tuple[str, re.Pattern[str], Repair], ...] = (
    (
        "encrypted reasoning",
        re.compile(
            r"invalid_encrypted_content|encrypted content .*could not be verified|"
            r"item with id .*not found",
            re.I,
        ),
        _without_reasoning_items,
    ),
    ("tools", re.compile(r"no endpoints found that support tool use", re.I), _without_tools),
    (
        "mandatory reasoning",
        re.compile(r"reasoning is mandatory|cannot be disabled", re.I),
        _with_some_reasoning,
    ),
    (
        "one of effort and budget",
        re.compile(r"only one of .*effort.*max_tokens", re.I),
        _without_token_budget,
    ),
    (
        "effort",
        re.compile(
            r"effort.*(invalid|unsupported|not supported|expected one of)|"
            r"(invalid|unsupported|not supported).*effort",
            re.I,
        ),
        _with_accepted_effort,
    ),
    (
        "parameter",
        re.compile(
            r"(unknown|unsupported|unrecognized|unexpected) (parameter|argument|field)|"
            r"(parameter|argument|field)s? .*not (supported|permitted|allowed)",
            re.I,
        ),
        _without_named_fields,
    ),
)


################################
# requests/retention.py
#
# What of earlier turns goes back to the model: its thinking, and the results of its tools.
################################

# A result up to this length (characters) is never shortened; of a longer one these ends stay.
LONGEST_OLD_OUTPUT = 2_000
_HEAD = 1_200
_TAIL = 600


def remember(messages: Sequence[JsonObject], settings: Settings) -> list[JsonObject]:
    """The messages with what the settings let the model keep; the host's own stay as they are."""
    turns = turn_numbers(messages)
    current = turns[-1] if turns else 0
    oldest_thinking = _first_turn_with_thinking(current, settings.reasoning_retention)
    oldest_whole = first_whole_turn(current, settings.tool_output_retention)
    kept: list[JsonObject] = []
    for message, turn in zip(messages, turns, strict=True):
        match message.get("role"):
            case "assistant":
                answer = clean_answer(message)
                kept.append(answer if turn >= oldest_thinking else _without_thinking(answer))
            case "tool" if turn < oldest_whole:
                kept.append(_shortened_output(message))
            case _:
                kept.append(message)
    return kept


def turn_numbers(messages: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each message how many times a person had spoken; 0 before the first time.

    The pictures a tool brought come from Open WebUI as a message of the user: that is no turn.
    """
    numbers: list[int] = []
    before: Any = None
    for message in messages:
        role = message.get("role")
        spoke = role == "user" and not (before == "tool" and _shows_pictures(message))
        numbers.append((numbers[-1] if numbers else 0) + spoke)
        before = role
    return numbers


def _shows_pictures(message: Mapping[str, Any]) -> bool:
    """Whether Open WebUI has written it (`flush_tool_images` in its `utils/misc.py`)."""
    words = next(iter(objects_in(message.get("content"))), {})
    return text_of(words.get("text")).startswith("Here are the images from the tool results")


def first_whole_turn(current: int, kept_turns: int) -> int:
    """The oldest turn whose results stay whole.

    It moves in steps: a step changes the prompt's beginning, and the cache of it is lost.
    """
    return (current // kept_turns - 1) * kept_turns + 1 if kept_turns else 0


def _first_turn_with_thinking(current: int, retention: str) -> int:
    # Within a turn a model needs its thinking to go on from the results of its tools.
    return {"disabled": current, "next_reply": current - 1}.get(retention, 0)


def _without_thinking(message: JsonObject) -> JsonObject:
    if "reasoning_details" not in message:
        return message
    details = objects_in(message["reasoning_details"])
    kept = [each for each in details if each.get("type") in (LAYOUT_DETAIL, PARSED_DETAIL)]
    return {**message, "reasoning_details": kept}


def _shortened_output(message: JsonObject) -> JsonObject:
    content = message.get("content")
    if isinstance(content, list):
        parts = objects_in(content)
        return {**message, "content": [{**part, **_shortened_text(part)} for part in parts]}
    return {**message, "content": shorten_old_result(text_of(content))}


def _shortened_text(part: JsonObject) -> JsonObject:
    return {"text": shorten_old_result(text_of(part["text"]))} if "text" in part else {}


def shorten_old_result(output: str) -> str:
    """Head and tail of a long result, with a note between them."""
    if len(output) <= LONGEST_OLD_OUTPUT:
        return output
    left_out = len(output) - _HEAD - _TAIL
    note = f"[{left_out:,} characters of this older tool result are left out]"
    return f"{output[:_HEAD]}\n\n{note}\n\n{output[-_TAIL:]}"


################################
# requests/attachments.py
#
# What people attach: found, checked, and put into their messages as the model takes it.
################################

_GONE = "it is no longer there, or not yours to read"
# How a part is called on either endpoint, and where its file stands.
_PLACES = {
    "image_url": "image_url",
    "input_image": "image_url",
    "video_url": "video_url",
    "input_video": "video_url",
    "input_audio": "data",
    "file": "file_data",
    "input_file": "file_data",
}
_PICTURES = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_SOUND_FORMATS = {"audio/mpeg": "mp3", "audio/mp4": "m4a"}
_PART_WORDS = {"image": "image", "audio": "audio", "video": "video", "application": "file"}
_MODALITIES = {"image": "pictures", "audio": "sound", "video": "video"}
# Vendors know these films; nobody downloads them.
_YOUTUBE = re.compile(r"https://(www\.|m\.)?(youtube\.com|youtu\.be)/", re.IGNORECASE)
_FILE_ADDRESS = re.compile(r"(?:https?://[^/]+)?/api/v1/files/([\w-]+)(?:/content)?")
_LINK = re.compile(r"https?://", re.IGNORECASE)
_HEAD_CHARACTERS = 5_600
_DOWNLOADS_AT_ONCE = 4


async def attach_files(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    files: EncodedFiles,
    room: LargeFiles,
) -> tuple[CompletionsBody, list[str]]:
    """The body with its files as the model takes them, and what to tell of those left out.

    `room` is left by the caller, once the request is on its way.
    """
    intake = _Intake(context, family, files, room)
    messages = objects_in(body.get("messages"))
    turns = turn_numbers(messages)
    extras = await intake.files_of_turns(turns, _pictures_sent_back(messages))
    fitted: list[JsonObject] = []
    # The newest first: they get what is limited.
    for message, turn, extra in zip(messages[::-1], turns[::-1], extras[::-1], strict=True):
        intake.is_newest = turn == turns[-1]
        fitted.append(await intake.fit_message(message, extra))
    return cast("CompletionsBody", {**body, "messages": fitted[::-1]}), intake.left_out


@dataclass(frozen=True, slots=True)
class _Attachment:
    """A part of a message that is a file."""

    part: JsonObject
    name: str
    address: str
    """A data URL, a link, the id of a file, or the base64 of sound."""


class _Intake:
    """The files of one request."""

    def __init__(
        self,
        context: RequestContext,
        family: ModelFamily | None,
        files: EncodedFiles,
        room: LargeFiles,
    ) -> None:
        self._room = room
        self._context = context
        self._rules = context.settings.attachments
        self._modalities = family.input_modalities if family else frozenset(_MODALITIES)
        self._files = files
        self._uploads = {file["id"]: file for file in context.hand_over.uploads}
        self._pictures_left = self._rules.max_images
        # Few words can name one large file a hundred times.
        self._bytes_in_all = 2 * max(self._rules.max_bytes, self._rules.max_video_bytes)
        self._bytes_left = self._bytes_in_all
        self.is_newest = True
        self.left_out: list[str] = []
        """What the person is told. Of earlier turns' files they have been told."""

    async def files_of_turns(
        self, turns: Sequence[int], sent_back: list[JsonObject]
    ) -> list[list[JsonObject]]:
        """For each message the files that Open WebUI has not put into it itself.

        `sent_back` are the last answer's pictures where no saved chat has them.
        """
        extras: list[list[JsonObject]] = [[] for _ in turns]
        placed: set[str] = set()
        chain = await self._read_chain()
        starts = [place for place, turn in enumerate(turns) if turn and turn not in turns[:place]]
        asked = [files for role, files in chain if role == "user"]
        for start, files in zip(starts[::-1], asked[::-1], strict=False):
            own = [file for file in files if file.get("type") == "file" and not _is_picture(file)]
            extras[start] = list(map(_as_part, own))
            placed.update(text_of(file.get("id")) for file in own)
        if starts and not any(map(_is_picture, chain[-1][1])) and self._reuses_pictures:
            answers = (files for role, files in chain[::-1] if role == "assistant")
            drawn = [file for file in next(answers, []) if _is_picture(file)]
            extras[starts[-1]] += map(_as_part, drawn) if drawn else sent_back
        if starts:
            # Of a temporary chat only the newest message is known, of an API client's none.
            strays = (file for key, file in self._uploads.items() if key not in placed)
            extras[starts[-1]] += map(_as_part, strays)
        return extras

    async def _read_chain(self) -> list[tuple[str, list[JsonObject]]]:
        try:
            return await read_message_files(self._context)
        except Exception:  # noqa: BLE001 - a database that fails costs the files, not the answer
            LOG.exception("attachments: the files of a chat could not be listed")
            self.left_out.append("The files of this chat could not be read.")
            return [("user", [])]

    @property
    def _reuses_pictures(self) -> bool:
        return self._rules.reuses_answers_images and "image" in self._modalities

    async def fit_message(self, message: JsonObject, extra: list[JsonObject]) -> JsonObject:
        """The message with its files, each as the model takes it."""
        content = message.get("content")
        if not isinstance(content, list):
            if not extra:
                return message
            content = [{"type": "text", "text": content}] if content else []
        parts = [*objects_in(cast("Any", content)), *extra]
        fitted = await self._fit_all(parts[::-1])
        return {**message, "content": [part for part in fitted[::-1] if part]}

    async def _fit_all(self, parts: list[JsonObject]) -> list[JsonObject]:
        """One part after another, for the first get what is limited; downloads run ahead."""
        fitted: list[JsonObject] = []
        begun: deque[ExitStack] = deque()
        try:
            for place, part in enumerate(parts):
                ahead = min(_DOWNLOADS_AT_ONCE, self._pictures_left or _DOWNLOADS_AT_ONCE)
                begun.extend(map(self._begin, parts[place + len(begun) : place + max(ahead, 1)]))
                fitted.append(await self._fit(part))
                begun.popleft().close()
        finally:
            for rest in begun:
                rest.close()
        return fitted

    def _begin(self, part: JsonObject) -> ExitStack:
        """Have the part's download on its way until the stack is closed, where it is a link."""
        stack = ExitStack()
        file = _read_attachment(part)
        if file is None or not _LINK.match(file.address) or _FILE_ADDRESS.fullmatch(file.address):
            return stack
        kind = _kind_of_part(part)
        if not (kind == "video" and _YOUTUBE.match(file.address)):
            with suppress(UnsupportedInputError):
                self._check_place(kind)
                stack.enter_context(self._files.begun(file.address, self._rules.downloads))
        return stack

    async def _fit(self, part: JsonObject) -> JsonObject:
        file = _read_attachment(part)
        if file is None:
            return part
        try:
            return await self._replace(file)
        except PipeError as error:
            reason = error.cause.rstrip(".")
        except (OSError, ImportError):
            reason = _GONE
        except ValueError:
            reason = "it is damaged"
        except Exception:  # noqa: BLE001 - a cloud's storage fails in ways of its own
            LOG.exception("attachments: a file could not be read")
            reason = "it could not be read"
        words = f"{file.name} was left out: {reason}."
        LOG.info("attachments: %s", words)
        if self.is_newest:
            self.left_out.append(words)
        return {"type": "text", "text": f"[{words}]"}

    async def _replace(self, file: _Attachment) -> JsonObject:
        address = file.address
        if file.part["type"] == "input_audio" or address.startswith("data:"):
            return await self._check_inline(file)
        stored = _FILE_ADDRESS.fullmatch(address)
        if stored is None and "://" in address:
            if _YOUTUBE.match(address) and "video" in file.part["type"]:
                return file.part
            self._check_place(_kind_of_part(file.part))
            linked = self._files.linked(address, self._rules.downloads, self._check, self._room)
            return _part_of(await linked, file.name)
        found = await find_file(self._context, stored[1] if stored else address)
        if found is None:
            raise UnsupportedInputError(_GONE)
        if "file" in file.part and found.id not in self._uploads and self._is_read(found):
            why = text_of(self._context.hand_over.kept_uploads.get(found.id))
            if why and self.is_newest:
                self.left_out.append(f"{file.name} stayed in Open WebUI's retrieval: {why}.")
            return {}  # its text is in the message already
        try:
            return _part_of(await self._files.stored(found, self._check, self._room), file.name)
        except UnsupportedInputError:
            if found.id not in self._uploads or not found.text:
                raise
        # It was taken out of retrieval, so what Open WebUI has read there would be lost.
        self._check("text/plain", len(found.text))
        if self.is_newest:
            self.left_out.append(f"{file.name} went out as the text that Open WebUI read in it.")
        return _part_of(EncodedFile("text/plain", len(found.text), found.text), file.name)

    def _is_read(self, found: FoundFile) -> bool:
        """Whether Open WebUI gives the model the text of the file.

        Not where the filter has taken it from there: an approved call goes on without its word.
        """
        if not found.text or not reads_documents(self._context.host):
            return False
        metadata = self._context.host.metadata
        if f"{self._context.function_id}_direct_uploads" not in (metadata.get("filter_ids") or ()):
            return True
        return any(file.get("id") == found.id for file in objects_in(metadata.get("files")))

    async def _check_inline(self, file: _Attachment) -> JsonObject:
        """Look at the beginning; only what claims to be something else is decoded."""
        claim, _, _ = file.address[:200].rpartition(",")
        start = len(claim) + 1 if claim else 0
        head = file.address[start : start + _HEAD_CHARACTERS]
        media_type = sniff_media_type(base64.b64decode(head[: len(head) // 4 * 4]))
        size = (len(file.address) - start) * 3 // 4
        kind = media_type.partition("/")[0]
        is_meant_so = _PART_WORDS.get(kind, "?") in file.part["type"]
        if is_meant_so and claim in ("", f"data:{media_type};base64"):
            self._check(media_type, size)
            return file.part if claim else _part_of(EncodedFile(media_type, size, file.address), "")
        self._check_size(kind, size)
        content = BytesIO(base64.b64decode(file.address[start:]))
        encoded = await asyncio.to_thread(encode_file, content, size, self._check)
        return _part_of(encoded, file.name)

    def _check(self, media_type: str, size: int) -> None:
        kind = media_type.partition("/")[0]
        if not media_type or (kind == "image" and media_type not in _PICTURES):
            raise UnsupportedInputError("it is no kind of file that models read")
        self._check_place(kind)
        self._check_size(kind, size)
        if size > self._bytes_left:
            most = self._bytes_in_all // 1024**2
            raise UnsupportedInputError(f"with the others it is larger than {most} MB")
        self._bytes_left -= size
        if kind == "image":
            self._pictures_left -= 1

    def _check_place(self, kind: str) -> None:
        """Refuse what has no place, before any of it is fetched."""
        if kind in _MODALITIES and kind not in self._modalities:
            raise UnsupportedInputError(f"this model takes no {_MODALITIES[kind]}")
        if kind == "image" and not self._pictures_left:
            most = self._rules.max_images
            raise UnsupportedInputError(f"only the {most} newest pictures go out")

    def _check_size(self, kind: str, size: int) -> None:
        limit = self._rules.max_video_bytes if kind == "video" else self._rules.max_bytes
        if size > limit:
            raise UnsupportedInputError(f"it is larger than {limit // 1024**2} MB")


def _pictures_sent_back(messages: list[JsonObject]) -> list[JsonObject]:
    """The last answer's `images`, for a message that has no picture of its own."""
    newest = objects_in(messages[-1].get("content")) if messages else []
    if any("image" in text_of(part.get("type")) for part in newest):
        return []
    answers = [each for each in messages if each.get("role") == "assistant"]
    return objects_in(answers[-1].get("images")) if answers else []


def _kind_of_part(part: JsonObject) -> str:
    return text_of(part["type"]).removeprefix("input_").partition("_")[0]


def _is_picture(file: JsonObject) -> bool:
    # As Open WebUI does (`is_raster_image_content_type`): these it puts into the message itself.
    media_type = text_of(file.get("content_type"))
    return file.get("type") == "image" or (
        media_type.startswith("image/") and not media_type.startswith("image/svg")
    )


def _as_part(file: JsonObject) -> JsonObject:
    """A file of a message as a part of its content."""
    address = text_of(file.get("id")) or text_of(file.get("url"))
    if _is_picture(file):
        return {"type": "image_url", "image_url": {"url": address}}
    return {"type": "file", "file": {"filename": text_of(file.get("name")), "file_data": address}}


def _read_attachment(part: JsonObject) -> _Attachment | None:
    kind = text_of(part.get("type"))
    place = _PLACES.get(kind, "")
    inner = part.get("file") or part.get("input_audio") or part.get(place)
    fields = as_object(inner) or part
    address = next(
        filter(None, (text_of(fields.get(key)) for key in (place, "url", "file_url"))), ""
    )
    if not place or not address:
        return None
    names = {"image": "A picture", "audio": "A recording", "video": "A video"}
    spoken = next((words for word, words in names.items() if word in kind), "A file")
    name = text_of(fields.get("filename"))
    return _Attachment(part, f"\u201c{name}\u201d" if name else spoken, address)


def _part_of(file: EncodedFile, name: str) -> JsonObject:
    name = name.strip("\u201c\u201d")
    kind, _, subtype = file.media_type.partition("/")
    match kind:
        case "image" | "video":
            return {"type": f"{kind}_url", f"{kind}_url": {"url": file.text}}
        case "audio":
            sound = {"data": file.text, "format": _SOUND_FORMATS.get(file.media_type, subtype)}
            return {"type": "input_audio", "input_audio": sound}
        case "text":
            return {"type": "text", "text": f'<file name="{name}">\n{file.text}\n</file>'}
        case _:
            return {"type": "file", "file": {"filename": name, "file_data": file.text}}


################################
# requests/routing_table.py
#
# The admin's table of provider preferences: one line for each pattern of model ids.
################################

RoutingRule = tuple[str, JsonObject]


@lru_cache(maxsize=8)
def read_routing_table(text: str) -> tuple[RoutingRule, ...]:
    """Read lines of `pattern: {json}`; what cannot be read is left out, with one warning."""
    rules: list[RoutingRule] = []
    unread: list[int] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        head, brace, rest = line.partition("{")
        pattern = head.strip().removesuffix(":").strip()
        preferences = _read_preferences(brace + rest)
        if pattern and preferences:
            rules.append((pattern, preferences))
        else:
            unread.append(number)
    if unread:
        lines = ", ".join(map(str, unread))
        LOG.warning("settings: PROVIDER_ROUTING: these lines cannot be read: %s", lines)
    return tuple(rules)


def rules_for(model: str, table: Sequence[RoutingRule]) -> dict[str, Any]:
    """What the table says of a model; of two lines the later one counts."""
    found: dict[str, Any] = {}
    for pattern, preferences in table:
        if fnmatchcase(model, pattern):
            found |= preferences
    return found


def _read_preferences(text: str) -> JsonObject:
    try:
        return as_object(decode_json(text))
    except ValueError:
        return {}


################################
# requests/routing.py
#
# Which providers may serve a request: wishes, the admin's table, the model's parameters.
################################

_LISTS = ("order", "only", "ignore")


def provider_fields(body: Mapping[str, Any], context: RequestContext) -> dict[str, Any]:
    """The request's `provider`; nothing where nobody has a preference.

    Of each preference the admin's word counts above the user's, and of the admin's the model's
    own parameters above the table. Privacy counts whoever asks for it.
    """
    settings, wishes = context.settings, context.hand_over.provider
    table = rules_for(context.model, read_routing_table(settings.provider_routing))
    layers = (wishes, table, _object_in(body.get("provider")), _named_lists(body))
    provider = {name: value for layer in layers for name, value in layer.items()}
    if any(layer.get("data_collection") == "deny" for layer in layers):
        provider["data_collection"] = "deny"
    if settings.catalog.zdr_enforced or any(layer.get("zdr") is True for layer in layers):
        provider["zdr"] = True
    return {"provider": provider} if provider else {}


def _named_lists(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters `openrouter_provider_order`, `..._only` and `..._ignore`."""
    named = {name: _names_in(body.get(f"openrouter_provider_{name}")) for name in _LISTS}
    return {name: names for name, names in named.items() if names}


def _names_in(value: Any) -> list[str]:
    entries = value if isinstance(value, list) else text_of(value).split(",")
    return [name for entry in entries if (name := text_of(entry).strip())]


def _object_in(value: Any) -> dict[str, Any]:
    """An object, also where a settings form made text of it."""
    if isinstance(value, str):
        try:
            value = decode_json(value)
        except ValueError:
            return {}
    return as_object(value)


################################
# requests/tasks.py
#
# Open WebUI's own chores: a plain question, a plain and cheap answer.
################################

ANSWER_OF_MANY = "moa_response_generation"
"""Joins the answers of several models: it is read as an answer, so it is asked for as one."""

# What a chat may want and a chore does not; where a request may go (`provider`, `models`) stays.
_NOT_FOR_CHORES = (
    "plugins",
    "modalities",
    "image_config",
    "text",
    "service_tier",
    "cache_control",
    "prompt_cache_key",
    "session_id",
)
# OpenAI's models refuse a smaller limit, and Open WebUI asks for an emoji with four tokens.
_LEAST_OUTPUT_TOKENS = 16


def is_chore(task: str) -> bool:
    """Whether this is a chore of Open WebUI, not an answer for a person."""
    return bool(task) and task != ANSWER_OF_MANY


def as_chore(fields: Mapping[str, Any]) -> JsonObject:
    """The request without tools, plugins, pictures and caches.

    A cache would be written for a text that never comes again, and a session would move the chat
    to the provider that happened to serve its title.
    """
    left_out = TOOL_FIELDS.union(_NOT_FOR_CHORES)
    kept = {name: value for name, value in fields.items() if name not in left_out}
    limit = whole_of(kept.get("max_output_tokens"))
    if limit is not None:
        kept["max_output_tokens"] = max(limit, _LEAST_OUTPUT_TOKENS)
    return kept


################################
# requests/studio.py
#
# What is asked of a model that only draws or films: a prompt, pictures to go by, wishes.
################################

# What a model's or a chat's custom parameters may say (schemas `ImageGenerationRequest`,
# `VideoGenerationRequest`).
_COMMON_WISHES = ("aspect_ratio", "resolution", "size", "seed")
_WISHES = {
    "images": ("n", "quality", "output_format", "output_compression", "background"),
    "videos": ("duration", "generate_audio", "creativity", "upscale_factor"),
}
_PREFERENCES = {
    "images": ("allow_fallbacks", "ignore", "only", "options", "order", "sort"),
    "videos": ("options",),
}
_MOST_PICTURES = 16


def build_studio_body(
    body: CompletionsBody, context: RequestContext, family: ModelFamily
) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` where there is no prompt.

    A chore is refused: its picture would cost, and nobody would see it. So is what demands
    privacy: these endpoints cannot be told.
    """
    if is_chore(context.task):
        raise UnsupportedInputError(f"{context.model} does not write.")
    messages = [each for each in objects_in(body.get("messages")) if each.get("role") == "user"]
    parts = input_parts(messages[-1].get("content")) if messages else []
    prompt = "\n\n".join(text_of(p.get("text")) for p in parts if p["type"] == "input_text")
    if not prompt:
        raise UnsupportedInputError(
            "There is nothing to go by: the message has no words.", "Say what you want to see."
        )
    fields: dict[str, Any] = {"model": context.model, "prompt": prompt, **_pictures(parts, family)}
    if family.studio == "images":
        fields |= _drawing_wishes(body, context)
    wishes = (*_COMMON_WISHES, *_WISHES[family.studio])
    fields |= {name: body[name] for name in wishes if body.get(name) is not None}
    provider = as_object(provider_fields(body, context).get("provider"))
    if provider.get("zdr") or provider.get("data_collection") == "deny":
        raise UnsupportedInputError(
            f"{context.model} cannot be kept to providers that keep no data, which is demanded.",
            f"Choose another model; behind `/{family.studio}` neither is known.",
        )
    preferences = _PREFERENCES[family.studio]
    if kept := {name: provider[name] for name in provider if name in preferences}:
        fields["provider"] = kept
    return cast("ResponsesBody", fields)


def _drawing_wishes(body: CompletionsBody, context: RequestContext) -> JsonObject:
    """The same wishes as in a chat, under the names of this endpoint."""
    wanted = dict(context.settings.drawing)
    said = as_object(body.get("image_config"))
    wanted |= {"size": said["image_size"]} if said.get("image_size") else {}
    wanted |= {name: said[name] for name in ("aspect_ratio", "quality") if said.get(name)}
    if "size" in wanted:
        wanted["resolution"] = wanted.pop("size")
    # An exact size excludes both.
    return {} if body.get("size") else wanted


def _pictures(parts: list[JsonObject], family: ModelFamily) -> JsonObject:
    """The message's pictures: the first and the last frame of a video, else what to go by."""
    pictures = [
        {"type": "image_url", "image_url": {"url": part["image_url"]}}
        for part in parts
        if part["type"] == "input_image"
    ][:_MOST_PICTURES]
    known = family.supported_parameters
    frames = [name for name in ("first_frame", "last_frame") if name in known]
    if pictures and len(pictures) <= len(frames):
        named = zip(pictures, frames, strict=False)
        return {"frame_images": [{**each, "frame_type": name} for each, name in named]}
    return {"input_references": pictures} if pictures else {}


################################
# requests/tools.py
#
# What governs the tools of a request: which must be used, and how far OpenRouter's own may go.
################################

def tool_fields(
    body: Mapping[str, Any], definitions: Sequence[JsonObject], settings: Settings
) -> dict[str, Any]:
    """The request's `tools` and what governs their use; nothing where there are none."""
    if not definitions:
        return {}
    fields: dict[str, Any] = {"tools": list(definitions)}
    if choice := _tool_choice(body.get("tool_choice")):
        fields["tool_choice"] = choice
    if isinstance(body.get("parallel_tool_calls"), bool):
        fields["parallel_tool_calls"] = body["parallel_tool_calls"]
    if any(entry.get("type") != "function" for entry in definitions):
        fields |= _server_tool_limits(body, settings)
    return fields


def _tool_choice(choice: Any) -> str | JsonObject:
    """The choice in the Responses API's flat form."""
    if isinstance(choice, str):
        return choice
    named = as_object(choice)
    if named.get("type") != "function":
        return named
    name = text_of(as_object(named.get("function")).get("name")) or text_of(named.get("name"))
    return {"type": "function", "name": api_tool_name(name)} if name else {}


def _server_tool_limits(body: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Where OpenRouter's tools stop: a chat may ask for less than the admin allows, not for more.

    `max_tool_calls` becomes a condition: beside others the API ignores it, and so does the chat
    endpoint.
    """
    conditions = objects_in(body.get("stop_server_tools_when"))
    if cost := settings.server_tools_max_cost:
        conditions.append({"type": "max_cost", "max_cost_in_dollars": cost})
    asked = whole_of(body.get("max_tool_calls")) or 0
    limits = [most for most in (asked, settings.server_tools_max_calls) if most > 0]
    if limits:
        conditions.append({"type": "step_count_is", "step_count": min(limits)})
    return {"stop_server_tools_when": conditions} if conditions else {}


################################
# requests/web_search.py
#
# The search that a person has switched on in the chat: as a tool, or for the model.
################################

_TOOL = "openrouter:web_search"
_PLUGIN = "web"
# What the plugin takes of the tool's parameters, under its own names.
_IN_PLUGIN = {
    "engine": "engine",
    "max_results": "max_results",
    "max_uses": "max_uses",
    "user_location": "user_location",
    "allowed_domains": "include_domains",
    "excluded_domains": "exclude_domains",
}


@dataclass(frozen=True, slots=True)
class WebSearch:
    """What a request needs for it: one of the two, or nothing."""

    tools: tuple[JsonObject, ...] = ()
    plugins: tuple[JsonObject, ...] = ()


def plan_search(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    definitions: Sequence[JsonObject],
) -> WebSearch:
    """The search as the model can use it; nothing where the request may not, or does already.

    A model that takes tools decides for itself whether and what to search and read, and learns
    what day it is; for any other OpenRouter searches once, before it answers.
    """
    wish = context.hand_over.search
    if wish is None or any(is_switched_on(body.get(name)) for name in SEARCH_OPT_OUTS):
        return WebSearch()
    if _searches_already(body, context.model, definitions):
        return WebSearch()
    if takes_tools(family):
        search = {"type": _TOOL, "parameters": wish}
        return WebSearch(tools=(search, _page_reader(wish), {"type": "openrouter:datetime"}))
    return WebSearch(plugins=(_search_plugin(wish),))


def _page_reader(wish: JsonObject) -> JsonObject:
    """What opens the pages found, within the same sites; this engine costs nothing."""
    sites = {"allowed_domains": "allowed_domains", "excluded_domains": "blocked_domains"}
    within = {sites[name]: wish[name] for name in sites if name in wish}
    return {"type": "openrouter:web_fetch", "parameters": {"engine": "openrouter", **within}}


def _searches_already(body: CompletionsBody, model: str, definitions: Sequence[JsonObject]) -> bool:
    return (
        "online" in model.split(":")[1:]
        or any(plugin.get("id") == _PLUGIN for plugin in objects_in(body.get("plugins")))
        or any("web_search" in text_of(entry.get("type")) for entry in definitions)
    )


def _search_plugin(wish: JsonObject) -> JsonObject:
    """The plugin; to leave the engine open it must not be named."""
    told = {name: value for name, value in wish.items() if value != "auto"}
    return {"id": _PLUGIN, **{_IN_PLUGIN[name]: told[name] for name in told if name in _IN_PLUGIN}}


################################
# requests/normalise.py
#
# From the body Open WebUI sends to the body OpenRouter takes: the stages, in order.
################################

def build_responses_body(
    body: CompletionsBody,
    context: RequestContext,
    family: ModelFamily | None,
    definitions: Sequence[JsonObject] = (),
) -> ResponsesBody:
    """Build the request; raises `UnsupportedInputError` when there is nothing to send.

    `family` is what the catalog says of the model, where it knows it; `definitions` are the tools
    that somebody on this side runs.
    """
    messages = remember(objects_in(body.get("messages")), context.settings)
    keep_results = context.settings.persist_tool_results
    conversation = build_input(messages, keep_results=keep_results, chat_id=context.chat_id)
    if not conversation:
        raise UnsupportedInputError(
            "There is nothing to send: the message is empty.", "Write something and try again."
        )
    is_task = is_chore(context.task)
    search = plan_search(body, context, family, definitions)
    if search.plugins:
        body = {**body, "plugins": [*objects_in(body.get("plugins")), *search.plugins]}
    fields: dict[str, Any] = {
        "model": context.model,
        "input": conversation,
        **caching_fields(context),
        **modality_fields(family, is_task=is_task),
        **passed_fields(body),
        **drawing_fields(body, family, context),
        **fallback_fields(body),
        **provider_fields(body, context),
        **plugin_fields(body, conversation, context.settings),
        **identifier_fields(body, context),
        **translate_parameters(body),
        **reasoning_fields(body, family, context.settings, is_task=is_task),
        **tool_fields(body, [*definitions, *search.tools], context.settings),
    }
    if is_task:
        return keep_allowed(as_chore(fields))
    if reasoning := heed_earlier_thinking(
        as_object(fields.get("reasoning")), context.model, conversation
    ):
        fields["reasoning"] = reasoning
    return keep_allowed(fields)


################################
# streaming/collector.py
#
# Events put in order: every item opens once, its deltas add up to its text, and it closes once.
################################

class Collector:
    """Repairs one stream, so that the renderers need no doubt.

    Streams leave deltas out, open an item late or never close it; items may overlap.
    State is kept by `output_index`, for ids change between events. Text whose place holds
    something else, or is closed already, gets an item of its own: nothing received is lost.
    No two items have the same id, no two calls the same call id, and a call that will never be
    run gets an output that says so: without one Open WebUI would run it.
    """

    __slots__ = (
        "_call_ids",
        "_item_ids",
        "_open",
        "_own_places",
        "_seen",
        "_shown",
        "_strays",
        "_unanswered",
        "ended",
    )

    def __init__(self, taken_call_ids: Iterable[str] = ()) -> None:
        self._open: dict[int, OutputItem] = {}
        self._seen: set[int] = set()
        self._shown: dict[int, str] = {}
        """The words of the items that are closed."""
        self._strays: dict[tuple[int, type[OutputItem]], int] = {}
        """Where the text went that found no room at its place."""
        self._own_places = 0
        self._item_ids: set[str] = set()
        self._call_ids: dict[str, int | None] = dict.fromkeys(taken_call_ids)
        """At which place each call id is used; at none in this answer, where it is an older one."""
        self._unanswered: dict[str, FunctionCallItem] = {}
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
            case ArgumentsDelta():
                self._take_arguments(event, ordered)
            case CitationFound():
                self._take_citation(event, ordered)
            case ItemStarted():
                self._start(event.output_index, event.item, ordered)
            case ItemFinished():
                self._finish(event, ordered)
            case ResponseFinished():
                self._end(event, ordered, is_cut=bool(event.incomplete_reason))
            case ResponseFailed():
                self._end(event, ordered, is_cut=True)
            case _:
                ordered.append(event)

    def _start(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        if index in self._seen:
            return
        self._seen.add(index)
        opened = self._open[index] = self._with_own_ids(index, _without_text(item))
        ordered.append(ItemStarted(index, _without_text(opened)))

    def _with_own_ids(self, index: int, item: OutputItem) -> OutputItem:
        if item.id in self._item_ids:
            item = replace(item, id=new_item_id("item"))
        self._item_ids.add(item.id)
        if isinstance(item, FunctionCallItem):
            item.call_id = self._call_id_for(index, item.call_id, new_item_id("call"))
        return item

    def _call_id_for(self, index: int, call_id: str, instead: str) -> str:
        """The call id, if no other call has it; some vendors count anew in every round."""
        free = call_id and self._call_ids.setdefault(call_id, index) == index
        return call_id if free else instead

    def _take_text(self, event: TextDelta, ordered: list[Event]) -> None:
        if not isinstance(self._open.get(event.output_index), MessageItem):
            event = replace(event, output_index=self._room_for(event, MessageItem(""), ordered))
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.text += event.text
            ordered.append(event)

    def _take_reasoning(self, event: ReasoningDelta, ordered: list[Event]) -> None:
        if not isinstance(self._open.get(event.output_index), ReasoningItem):
            event = replace(event, output_index=self._room_for(event, ReasoningItem(""), ordered))
        item = self._open.get(event.output_index)
        if isinstance(item, ReasoningItem):
            part = _add_to_part(item.summary if event.is_summary else item.content, event)
            moved = part != event.part_index
            ordered.append(replace(event, part_index=part) if moved else event)

    def _room_for(
        self, event: TextDelta | ReasoningDelta, empty: OutputItem, ordered: list[Event]
    ) -> int:
        """The place of the item that takes this text; of a closed one that has it already."""
        index = event.output_index
        self._start(index, empty, ordered)
        if type(self._open.get(index)) is type(empty) or event.text in self._shown.get(index, ""):
            return index
        if (index, type(empty)) not in self._strays:
            self._strays[index, type(empty)] = self._own_place()
        stray = self._strays[index, type(empty)]
        self._start(stray, empty, ordered)
        return stray

    def _own_place(self) -> int:
        """A place that nobody has: an even number below zero; the odd ones are for think tags."""
        self._own_places += 1
        return -2 * self._own_places

    def _take_arguments(self, event: ArgumentsDelta, ordered: list[Event]) -> None:
        item = self._open.get(event.output_index)
        if isinstance(item, FunctionCallItem):
            item.arguments += event.text
            ordered.append(event)

    def _take_citation(self, event: CitationFound, ordered: list[Event]) -> None:
        self._start(event.output_index, MessageItem(""), ordered)
        item = self._open.get(event.output_index)
        if isinstance(item, MessageItem):
            item.citations.append(event.citation)

    def _finish(self, event: ItemFinished, ordered: list[Event]) -> None:
        index, finished = event.output_index, event.item
        self._start(index, finished, ordered)
        opened = self._open.pop(index, None)
        if opened is None:
            return
        if type(finished) is not type(opened):
            finished = opened  # what was shown as one kind cannot end as another
        match finished, opened:
            case MessageItem(), MessageItem():
                missing = _missing_text(index, opened.text, finished.text)
                self._shown[index] = opened.text + "".join(delta.text for delta in missing)
                ordered.extend(missing)
                _complete_message(finished, opened)
            case ReasoningItem(), ReasoningItem():
                ordered.extend(_missing_reasoning(index, opened, finished))
                finished.summary = _fuller(finished.summary, opened.summary)
                finished.content = _fuller(finished.content, opened.content)
                self._shown[index] = "".join([*finished.summary, *finished.content])
            case FunctionCallItem(), FunctionCallItem():
                finished.arguments = finished.arguments or opened.arguments
                finished.call_id = self._call_id_for(index, finished.call_id, opened.call_id)
                finished.name = finished.name or opened.name
            case _:
                pass
        finished.id = opened.id
        self._close(index, finished, ordered)

    def _close(self, index: int, item: OutputItem, ordered: list[Event]) -> None:
        ordered.append(ItemFinished(index, item))
        if isinstance(item, ToolOutputItem):
            self._unanswered.pop(item.call_id, None)
        elif isinstance(item, FunctionCallItem):
            self._unanswered[item.call_id] = item
            if item.status != "completed":
                self._refuse(item, ordered)

    def _refuse(self, call: FunctionCallItem, ordered: list[Event]) -> None:
        words = "The call was cut off and not run."
        if call.status == "completed":
            words = "The answer broke off before this call was answered."
        output = ToolOutputItem("", call.call_id, words, status="failed")
        self._finish(ItemFinished(self._own_place(), output), ordered)

    def _end(self, event: Event, ordered: list[Event], *, is_cut: bool) -> None:
        for index, item in sorted(self._open.items(), key=lambda entry: entry[0]):
            if not isinstance(item, OtherItem):
                item.status = "incomplete" if is_cut else "completed"
            self._close(index, item, ordered)
        self._open.clear()
        if is_cut:
            for call in list(self._unanswered.values()):
                self._refuse(call, ordered)
        self.ended = True
        ordered.append(event)

    def add(self, index: int, item: OutputItem) -> list[Event]:
        """Put in a whole item of the pipe's own; it may stand between two rounds."""
        ordered: list[Event] = []
        self._finish(ItemFinished(index, item), ordered)
        return ordered

    def open_calls(self) -> list[FunctionCallItem]:
        """The calls that have no output yet."""
        return list(self._unanswered.values())

    def go_on(self) -> None:
        """Take another round: what looked like the end was none."""
        self.ended = False


def _without_text(item: OutputItem) -> OutputItem:
    match item:
        case MessageItem():
            return MessageItem(item.id or new_item_id("msg"), phase=item.phase)
        case ReasoningItem():
            return ReasoningItem(item.id or new_item_id("rs"))
        case FunctionCallItem():
            call_id = item.call_id or new_item_id("call")
            return FunctionCallItem(item.id or new_item_id("fc"), call_id, item.name)
        case ServerToolItem() | ImageItem() | MediaItem():
            return replace(item, id=item.id or new_item_id("st"))
        case ToolOutputItem():
            return replace(item, id=item.id or new_item_id("fco"))
        case _:
            return item


def _complete_message(finished: MessageItem, opened: MessageItem) -> None:
    if opened.text.startswith(finished.text):
        finished.text = opened.text
    finished.is_refusal = finished.is_refusal or opened.is_refusal
    finished.phase = finished.phase or opened.phase
    finished.citations = _each_once([*opened.citations, *finished.citations])


def _each_once(citations: list[Citation]) -> list[Citation]:
    """One citation a page; the one that quotes it is worth more than the one that does not."""
    by_url: dict[str, Citation] = {}
    for citation in citations:
        known = by_url.get(citation.url)
        if known is None or (citation.excerpt and not known.excerpt):
            by_url[citation.url] = citation
    return list(by_url.values())


def _add_to_part(parts: list[str], event: ReasoningDelta) -> int:
    # An index is the API's word, not a reason to make room for a billion parts.
    position = min(event.part_index, len(parts))
    if position == len(parts):
        parts.append("")
    parts[position] += event.text
    return position


def _fuller(finished: list[str], opened: list[str]) -> list[str]:
    """The words the item closes with, unless fewer than those that were shown."""
    return finished if len("".join(finished)) >= len("".join(opened)) else opened


def _missing_text(index: int, shown: str, whole: str) -> list[TextDelta]:
    missing = whole.removeprefix(shown) if whole.startswith(shown) else ""
    return [TextDelta(index, missing)] if missing else []


def _missing_reasoning(index: int, opened: ReasoningItem, finished: ReasoningItem) -> list[Event]:
    if opened.summary or opened.content:
        return []
    parts = [(number, text, True) for number, text in enumerate(finished.summary)]
    if not any(finished.summary):
        parts = [(number, text, False) for number, text in enumerate(finished.content)]
    return [ReasoningDelta(index, *part) for part in parts if part[1]]


################################
# streaming/completion_notes.py
#
# What an API client gets beside the words: the pages cited, and the thinking to send back.
################################

class CompletionNotes:
    """Gathers it over the answer, in chat completions' form."""

    __slots__ = ("_citations", "_details", "_files")

    def __init__(self) -> None:
        self._citations: dict[str, Citation] = {}
        self._details: list[JsonObject] = []
        self._files: list[JsonObject] = []

    def take(self, item: OutputItem) -> None:
        """Note what a finished item carries."""
        match item:
            case MessageItem():
                for citation in item.citations:
                    self._citations.setdefault(citation.url, citation)
            case ReasoningItem():
                for detail in item.details:
                    is_parsed = detail.get("type") == PARSED_DETAIL
                    self._files.extend(objects_in(detail.get("files")) if is_parsed else [])
                    self._details.extend([] if is_parsed else [detail])
            case ToolOutputItem():
                # Thinking belongs to the calls it led to, and those run here are not shown.
                self._details.clear()
            case _:
                pass

    def of_completion(self) -> dict[str, Any]:
        """The fields of the message, or of the last delta; empty where there is nothing."""
        notes: dict[str, Any] = {}
        if self._details:
            notes["reasoning_details"] = [
                {"index": place, **detail} for place, detail in enumerate(self._details)
            ]
        if self._citations or self._files:
            cited = [_annotation(found) for found in self._citations.values()]
            notes["annotations"] = [*cited, *self._files]
        return notes


def _annotation(citation: Citation) -> JsonObject:
    # Where in the text it stands the search engines often do not say: zeros, as OpenRouter sends.
    cited = {"url": citation.url, "title": citation.title, "start_index": 0, "end_index": 0}
    if citation.excerpt:
        cited["content"] = citation.excerpt
    return {"type": "url_citation", "url_citation": cited}


################################
# streaming/open_calls.py
#
# The calls an API client has to run itself: those that nobody here has answered.
################################

class OpenCalls:
    """Keeps the calls of an answer until their output comes."""

    __slots__ = ("_calls",)

    def __init__(self) -> None:
        self._calls: dict[str, FunctionCallItem] = {}

    def take(self, item: FunctionCallItem | ToolOutputItem) -> None:
        """Note a call, or that it has its output."""
        if isinstance(item, FunctionCallItem):
            self._calls[item.call_id] = item
        else:
            self._calls.pop(item.call_id, None)

    def of_completion(self) -> list[dict[str, Any]]:
        """What is left, in chat completions' form."""
        return [
            {
                "id": call.call_id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments or "{}"},
            }
            for call in self._calls.values()
        ]


################################
# streaming/renderer.py
#
# What the three renderers have in common: Events in, pieces for one kind of reader out.
################################

HostEvent = dict[str, Any]
"""A dictionary that Open WebUI understands in a pipe's stream."""

Piece = TypeVar("Piece")
"""What one kind of reader takes: a dictionary or bytes."""


class Renderer(Protocol[Piece]):
    """Turns the Events of one answer into what its reader takes."""

    def render(self, batch: list[Event]) -> list[Piece]:
        """The pieces that this batch adds."""
        ...


################################
# streaming/citations.py
#
# The pages an answer leans on, as Open WebUI's sources.
################################

_CITED: JsonObject = {"name": "OpenRouter", "id": "openrouter"}


class Sources:
    """Gathers what an answer leans on, each once, in the order it was found.

    Open WebUI numbers sources as they come, and takes those of one address for one. Only those
    that tools found are cited by number, so they come before those the model itself named.
    """

    __slots__ = ("_by_origin", "_known")

    def __init__(self) -> None:
        self._by_origin: dict[bytes, HostEvent] = {}
        self._known: set[tuple[str, str]] = set()

    def add(self, citations: Iterable[Citation]) -> None:
        """Take a message's citations in: each page counts once, whoever found it."""
        for citation in citations:
            if any(citation.url == address for address, _ in self._known):
                continue
            metadata = {
                "source": citation.url,
                "url": citation.url,
                "name": citation.title or citation.url,
            }
            self._take(_CITED, citation.excerpt or citation.title or citation.url, metadata)

    def add_found(self, sources: Iterable[JsonObject]) -> None:
        """Take in what a tool leaned on: each passage counts once."""
        for source in sources:
            notes = objects_in(source.get("metadata"))
            documents = source.get("document")
            passages = cast("list[Any]", documents) if isinstance(documents, list) else []
            for place, passage in enumerate(passages):
                note = notes[place] if place < len(notes) else {}
                self._take(as_object(source.get("source")), text_of(passage), note)

    def events(self) -> list[HostEvent]:
        """One event for each origin, for each one costs a write of the whole chat."""
        found = sorted(self._by_origin.values(), key=lambda data: data["source"] is _CITED)
        return [{"event": {"type": "source", "data": data}} for data in found]

    def _take(self, origin: JsonObject, passage: str, metadata: JsonObject) -> None:
        address = _address_of(origin, metadata)
        if (address, passage) in self._known:
            return
        self._known.add((address, passage))
        empty: HostEvent = {"source": origin, "document": [], "metadata": []}
        data = self._by_origin.setdefault(encode_json(origin), empty)
        data["document"].append(passage)
        data["metadata"].append(metadata)


def _address_of(origin: JsonObject, metadata: JsonObject) -> str:
    named = (metadata.get("source"), metadata.get("url"), origin.get("url"), origin.get("id"))
    return next((address for name in named if (address := text_of(name))), "")


################################
# streaming/layout.py
#
# How the parts of an answer stood, where Open WebUI's next-turn messages would not tell.
#
# Between two results of tools Open WebUI makes one message of everything: the texts joined, then
# the calls, the reasoning beside them (`utils/misc.py`, `convert_output_to_messages`). Where an
# answer had another order, several texts or a `phase`, a private detail of its reasoning says so.
################################

@dataclass(slots=True)
class Segment:
    """What stands between two results of tools, and where its reasoning is stored."""

    items: dict[int, OutputItem] = field(default_factory=dict[int, OutputItem])
    """By their place in the message's output."""
    reasoning_place: int | None = None
    stored_reasoning: HostEvent = field(default_factory=dict[str, object])

    def add(self, place: int, item: OutputItem, stored: HostEvent) -> None:
        """Note a finished item and the form in which it was stored."""
        self.items[place] = item
        if isinstance(item, ReasoningItem):
            self.reasoning_place, self.stored_reasoning = place, stored

    def close(self) -> tuple[int, HostEvent] | None:
        """The reasoning that must be stored once more, with the layout; then begin anew."""
        layout = _layout_of([item for _, item in sorted(self.items.items(), key=lambda e: e[0])])
        place, stored = self.reasoning_place, self.stored_reasoning
        self.items, self.reasoning_place = {}, None
        if place is None or _is_plain(layout):
            return None
        detail = {"type": LAYOUT_DETAIL, "parts": layout}
        return place, {
            **stored,
            "reasoning_details": [*stored.get("reasoning_details", []), detail],
        }


def _layout_of(items: list[OutputItem]) -> list[JsonObject]:
    layout: list[JsonObject] = []
    for item in items:
        match item:
            case ReasoningItem(details=details) if sealed := sum(map(seals_of_detail, details)):
                layout.append({"kind": "reasoning", "sealed": sealed})
            case MessageItem(text=text, phase=phase) if text:
                named = {"phase": phase} if phase else {}
                layout.append({"kind": "message", "length": len(text), **named})
            case FunctionCallItem(call_id=call_id):
                layout.append({"kind": "call", "call_id": call_id})
            case _:
                pass
    return layout


def seals_of_detail(detail: JsonObject) -> int:
    """How much a detail holds, or stands for, of what the vendor encrypted or signed."""
    if detail.get("type") == STORED_DETAIL:
        return whole_of(detail.get("sealed")) or 0
    return int(bool(detail.get("data") or detail.get("signature")))


def _is_plain(layout: list[JsonObject]) -> bool:
    """Whether it is the order that a reader assumes: reasoning, one text, calls."""
    kinds = [part["kind"] for part in layout]
    assumed = sorted(kinds, key=("reasoning", "message", "call").index)
    return (
        kinds == assumed
        and kinds.count("message") <= 1
        and not any("phase" in part for part in layout)
    )


################################
# streaming/output_items.py
#
# Items of the answer as Open WebUI stores them in a message's `output` list.
################################

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


def image_part(item: ImageItem, index: int) -> HostEvent:
    """A picture as chat completions carry it, in `images`."""
    return {"type": "image_url", "image_url": {"url": item.data_url}, "index": index}


def audio_part(item: MediaItem) -> HostEvent:
    """Sound as chat completions carry it, in `audio`."""
    data = base64.b64encode(item.content).decode()
    return {"id": item.id, "data": data, "transcript": item.transcript, "expires_at": 0}


def reasoning_output(item: ReasoningItem) -> HostEvent:
    """A reasoning item; its details come back in the next turn's history."""
    reasoning: HostEvent = {
        "type": "reasoning",
        "id": item.id,
        "status": item.status,
        "summary": [{"type": "summary_text", "text": text} for text in _summary_to_show(item)],
    }
    if item.content:
        reasoning["content"] = [{"type": "reasoning_text", "text": text} for text in item.content]
    if item.details:
        reasoning["reasoning_details"] = item.details
    return reasoning


def _summary_to_show(item: ReasoningItem) -> list[str]:
    """The summary; where there was no thinking, what the card is there for."""
    files = [
        text_of(as_object(file.get("file")).get("name"))
        for detail in item.details
        if detail.get("type") == PARSED_DETAIL
        for file in objects_in(detail.get("files"))
    ]
    if not files or item.is_visible:
        return item.summary
    return [f"OpenRouter read {', '.join(filter(None, files)) or 'a document'} for this model."]


def function_call_output_item(call_id: str, text: str) -> HostEvent:
    """What a call brought back."""
    return {
        "type": "function_call_output",
        "id": f"fco_{call_id}",
        "call_id": call_id,
        "output": [{"type": "input_text", "text": text}],
        "status": "completed",
    }


def tool_output_item(item: ToolOutputItem) -> HostEvent:
    """What a call of one of our tools brought back, pictures, files and pages included."""
    stored = function_call_output_item(item.call_id, item.text) | {"status": item.status}
    # The chat keeps the address of a picture, not the picture itself.
    kept = [text_of(file.get("url")) for file in item.files if file.get("type") == "image"]
    images = [{"type": "input_image", "image_url": url} for url in kept or item.images]
    stored["output"] = [*stored["output"], *images]
    shown = {"files": item.files, "embeds": item.embeds}
    return stored | {name: entries for name, entries in shown.items() if entries}


def function_call_item(item: FunctionCallItem) -> HostEvent:
    """A call of a tool; without an output Open WebUI runs it when the stream ends."""
    return {
        "type": "function_call",
        "id": item.id,
        "call_id": item.call_id,
        "name": item.name,
        "arguments": item.arguments or ("{}" if item.status == "completed" else ""),
        "status": item.status,
    }


################################
# streaming/server_tools.py
#
# What OpenRouter did for the answer, as cards a person can open.
################################

_SEARCHES = frozenset({"web_search_call", "openrouter:web_search"})
_PAGE_ACTIONS = ("open_page", "find_in_page")
_RESULT_FIELDS = ("result", "content", "output", "outcome", "advice", "datetime", "stdout", "error")


def server_tool_cards(item: ServerToolItem) -> list[HostEvent]:
    """The items to store for it: Open WebUI draws searches itself, the rest looks like a tool."""
    if item.type in _SEARCHES:
        return [_search_card(item, _search_action(item))]
    if item.type == "openrouter:web_fetch":
        url = text_of(item.details.get("url"))
        return [_search_card(item, {"type": "open_page", "url": url})]
    call_id = SERVER_TOOL_CALL_PREFIX + item.id
    details = without_files(item.details)
    result = {key: details[key] for key in _RESULT_FIELDS if details.get(key)}
    arguments = {key: value for key, value in details.items() if key not in result}
    call = FunctionCallItem(
        id=item.id,
        call_id=call_id,
        name=item.type.removeprefix("openrouter:").removesuffix("_call"),
        arguments=encode_json(arguments).decode(),
    )
    text = "\n".join(_readable(value) for value in result.values()) or item.status
    return [function_call_item(call), function_call_output_item(call_id, text)]


def _search_card(item: ServerToolItem, action: HostEvent) -> HostEvent:
    return {"type": "web_search_call", "id": item.id, "status": item.status, "action": action}


def _search_action(item: ServerToolItem) -> HostEvent:
    action = as_object(item.details.get("action"))
    if action.get("type") in _PAGE_ACTIONS:
        told = {key: text_of(action.get(key)) for key in ("url", "pattern") if action.get(key)}
        return {"type": action["type"], **told}
    sources = [
        {"type": "url", "url": text_of(s.get("url"))} for s in objects_in(action.get("sources"))
    ]
    search = {"type": "search", "query": text_of(action.get("query")), "sources": sources}
    queries = action.get("queries")
    several = list(map(text_of, cast("list[Any]", queries))) if isinstance(queries, list) else []
    return search | {"queries": several} if several else search


def _readable(value: object) -> str:
    return value if isinstance(value, str) else encode_json(value).decode()


################################
# streaming/status.py
#
# The status line of an answer: few words, all of them true.
################################

def status_event(description: str, *, done: bool) -> HostEvent:
    """A status line of the message; `done` ends its animation."""
    return {"event": {"type": "status", "data": {"description": description, "done": done}}}


def describe_usage(usage: Usage | None, seconds: float) -> str:
    """Time, tokens, speed and cost: `4.2 s - 1,204 tokens in (900 cached), 350 out - $0.0012`."""
    parts = [f"{seconds:.1f} s"]
    if usage is not None:
        parts += [_tokens(usage), _speed(usage, seconds), _cost(usage)]
    return _join_parts(parts)


def describe_spending(spending: SpendingKnown) -> str:
    """What the chat has cost, and what is left: `chat $0.0345 - $3.20 left on the key`."""
    parts: list[str] = []
    if spending.chat_cost is not None:
        bound = "" if spending.is_whole else "at least "
        parts.append(f"chat {bound}{dollars(spending.chat_cost)}")
    if spending.credit_left is not None:
        parts.append(f"\N{WARNING SIGN} ${spending.credit_left:.2f} left on the API key")
    return _join_parts(parts)


def _join_parts(parts: list[str]) -> str:
    return " \N{MIDDLE DOT} ".join(filter(None, parts))


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is None or usage.output_tokens is None:
        return ""
    taken = f"{usage.input_tokens:,} tokens in{_of_it(usage.cached_tokens, 'cached')}"
    return f"{taken}, {usage.output_tokens:,} out{_of_it(usage.reasoning_tokens, 'reasoning')}"


def _of_it(count: int | None, name: str) -> str:
    return f" ({count:,} {name})" if count else ""


def _speed(usage: Usage, seconds: float) -> str:
    if not usage.output_tokens or seconds < 0.1:
        return ""
    return f"{usage.output_tokens / seconds:.0f} tokens/s"


def _cost(usage: Usage) -> str:
    return "cost unknown" if usage.charged is None else dollars(usage.charged)


################################
# streaming/think_tags.py
#
# Thinking that a model prints as `<think>` text, told apart from its answer.
################################

_TAGS = ("think", "thinking", "reasoning", "thought")
_OPENINGS = tuple(f"<{tag}>" for tag in _TAGS)
_BLOCK = re.compile(rf"\s*<({'|'.join(_TAGS)})>(.*?)(?:</\1>\n*|\Z)", re.DOTALL)


@dataclass(slots=True)
class _Message:
    """One message: what of its text is held back, and the tag that is open."""

    started: ItemStarted | None = None
    held: str = ""
    closing: str = ""
    """The closing tag that is awaited; empty outside of thinking."""
    decided: bool = False
    trims: bool = False
    """Whether the line breaks between thinking and answer are still to be dropped."""

    @property
    def is_plain(self) -> bool:
        """Whether the text passes as it is."""
        return self.decided and not self.closing and not self.trims


class ThinkTags:
    """Turns a block of thinking at the beginning of a message into reasoning.

    Only the beginning counts: a tag further on is part of the answer.
    """

    __slots__ = ("_messages",)

    def __init__(self) -> None:
        self._messages: dict[int, _Message] = {}

    def split(self, batch: list[Event]) -> list[Event]:
        """The batch, with the thinking as deltas of reasoning items of its own."""
        events: list[Event] = []
        for event in batch:
            match event:
                case ItemStarted(index, MessageItem()):
                    self._messages.setdefault(index, _Message(event))
                case TextDelta(index, text):
                    message = self._messages.setdefault(index, _Message())
                    if message.is_plain:
                        events.append(event)
                    else:
                        self._take(index, message, message.held + text, events)
                case ItemFinished(index, MessageItem() as item):
                    self._finish(index, item, events)
                    events.append(event)
                case ResponseFinished() | ResponseFailed():
                    for index, message in self._messages.items():
                        self._release(index, message, events)
                    events.append(event)
                case _:
                    events.append(event)
        return events

    def _take(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        """Read on in a message whose thinking may begin, or has begun."""
        message.held = ""
        if not message.decided:
            beginning = text.lstrip()
            if any(tag.startswith(beginning) for tag in _OPENINGS):
                message.held = text  # it may still become a tag
                return
            message.decided = True
            opening = next((tag for tag in _OPENINGS if beginning.startswith(tag)), "")
            if opening:
                message.closing = opening.replace("<", "</")
                text = beginning.removeprefix(opening)
        if message.closing:
            self._think(index, message, text, events)
        else:
            self._speak(index, message, text, events)

    def _think(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        thought, closed, answer = text.partition(message.closing)
        if not closed:
            thought, message.held = _hold_back(text, message.closing)
        if thought:
            events.append(ReasoningDelta(_reasoning_index(index), 0, thought, is_summary=False))
        if closed:
            message.closing = ""
            message.trims = True
            events.append(ItemFinished(_reasoning_index(index), ReasoningItem("")))
            self._speak(index, message, answer, events)

    def _speak(self, index: int, message: _Message, text: str, events: list[Event]) -> None:
        if message.trims:
            text = text.lstrip("\n")
        if not text:
            return
        message.trims = False
        if message.started is not None:
            events.append(message.started)
            message.started = None
        events.append(TextDelta(index, text))

    def _finish(self, index: int, item: MessageItem, events: list[Event]) -> None:
        message = self._messages.pop(index, None)
        if message is not None and (message.decided or message.held):
            self._release(index, message, events)
        elif block := _BLOCK.match(item.text):
            place = _reasoning_index(index)
            events.append(ItemFinished(place, ReasoningItem("", content=[block.group(2)])))
        item.text = _BLOCK.sub("", item.text, count=1) if _BLOCK.match(item.text) else item.text
        if message is not None and message.started is not None:
            events.append(message.started)

    def _release(self, index: int, message: _Message, events: list[Event]) -> None:
        """Give out what was held back: nothing more can come."""
        held, message.held = message.held, ""
        if message.closing:
            if held:
                events.append(ReasoningDelta(_reasoning_index(index), 0, held, is_summary=False))
            events.append(ItemFinished(_reasoning_index(index), ReasoningItem("")))
            message.closing = ""
        elif held:
            message.decided = True
            self._speak(index, message, held, events)


def _reasoning_index(index: int) -> int:
    """A place of its own: the odd numbers below zero; the even ones are the collector's."""
    return -1 - 2 * index


def _hold_back(text: str, tag: str) -> tuple[str, str]:
    """The text, and the end of it that may be the beginning of the tag."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return text[:-length], text[-length:]
    return text, ""


################################
# streaming/thinking_status.py
#
# Thinking told in status lines: the model's own sentences, few of them.
################################

# Open WebUI writes the whole chat to its database with every line.
PAUSE_SECONDS = 4.0
_LONGEST_LINE = 160
_SHORTEST_LINE = 12
# What follows a complete sentence or a heading; languages without spaces need none.
_BORDER = re.compile(r"(?<=[.!?\u2026])[\"')\]*]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
_DECORATION = re.compile(r"^[\s#>*_`-]+|[\s*_`]+$")


class ThinkingStatus:
    """Picks the newest complete sentence whenever a line is due."""

    __slots__ = ("_clock", "_due_at", "_is_open", "_text")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._text = ""
        self._due_at = float("-inf")
        self._is_open = False

    def take(self, text: str) -> list[HostEvent]:
        """The next piece of thinking; a status line, if one is due."""
        self._text += text
        if self._clock() < self._due_at:
            return []
        *complete, self._text = _BORDER.split(self._text)
        return self._line(complete)

    def finish(self, seconds: float) -> list[HostEvent]:
        """The end of the thought; it closes what was shown, for the answer's words come now."""
        complete, self._text = _BORDER.split(self._text), ""
        lines = [] if self._is_open or self._clock() < self._due_at else self._line(complete)
        if not self._is_open:
            return lines
        self._is_open = False
        return [*lines, status_event(f"Thought for {seconds:.0f} s", done=True)]

    def _line(self, sentences: list[str]) -> list[HostEvent]:
        for sentence in reversed(sentences):
            words = _DECORATION.sub("", sentence)
            if len(words) >= _SHORTEST_LINE:
                self._due_at = self._clock() + PAUSE_SECONDS
                self._is_open = True
                return [status_event(_shortened(words), done=False)]
        return []


def _shortened(sentence: str) -> str:
    """At most a line of it, cut between words."""
    if len(sentence) <= _LONGEST_LINE:
        return sentence
    head = sentence[: _LONGEST_LINE - 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:") + "\N{HORIZONTAL ELLIPSIS}"


################################
# streaming/usage.py
#
# What an answer took and cost, under the names its reader knows.
################################

# What Open WebUI says when the API gives no reason for the end.
_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}


Figure = TypeVar("Figure", int, float)


def finish_reason(incomplete_reason: str) -> str:
    """Chat completions' word for why an answer ended."""
    return _FINISH_REASONS.get(incomplete_reason, "length" if incomplete_reason else "stop")


def usage_of_response(usage: Usage) -> dict[str, Any]:
    """The usage under the Responses API's names; what was not said is left out."""
    # Open WebUI measures the chat's length by these two, and sums the others over rounds.
    last = {
        "prompt_tokens": usage.last_input_tokens,
        "completion_tokens": usage.last_output_tokens,
    }
    return _name(usage, "input", "output") | _said(last)


def usage_of_completion(usage: Usage) -> dict[str, Any]:
    """The usage under chat completions' names; what was not said is left out."""
    return _name(usage, "prompt", "completion")


def sum_usage(rounds: Sequence[Usage | None]) -> Usage | None:
    """What several rounds took together; what one of them did not say is unknown of all."""
    if len(rounds) < 2 or not any(rounds):
        return rounds[0] if rounds else None
    said = [usage or Usage() for usage in rounds]
    return Usage(
        input_tokens=_sum_known([usage.input_tokens for usage in said]),
        output_tokens=_sum_known([usage.output_tokens for usage in said]),
        total_tokens=_sum_known([usage.total_tokens for usage in said]),
        # Of these, silence means none.
        cached_tokens=_sum_said([usage.cached_tokens for usage in said]),
        cache_write_tokens=_sum_said([usage.cache_write_tokens for usage in said]),
        reasoning_tokens=_sum_said([usage.reasoning_tokens for usage in said]),
        cost=_sum_known([usage.cost for usage in said]),
        is_byok=any(usage.is_byok for usage in said) or said[-1].is_byok,
        cost_details=_sum_details(said),
        last_input_tokens=said[-1].input_tokens,
        last_output_tokens=said[-1].output_tokens,
    )


def _sum_known(figures: list[Figure | None]) -> Figure | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known[1:], known[0]) if len(known) == len(figures) else None


def _sum_said(counts: list[int | None]) -> int | None:
    said = [count for count in counts if count is not None]
    return sum(said) if said else None


def _sum_details(rounds: list[Usage]) -> dict[str, float]:
    """The parts of the cost. Where one round had a key of one's own, upstream's price is spent
    on top of `cost` in that round alone; in the others it is contained."""
    some_byok = any(usage.is_byok for usage in rounds)
    total: dict[str, float] = {}
    for usage in rounds:
        for name, part in usage.cost_details.items():
            if usage.is_byok or not some_byok or not name.startswith("upstream_"):
                total[name] = total.get(name, 0) + part
    return total


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


################################
# streaming/completion_chunks.py
#
# An API client that streams: `chat.completion.chunk` objects, as server-sent events.
################################

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
        self._calls = OpenCalls()
        self._notes = CompletionNotes()
        self._images = 0

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
                case ItemFinished(_, item):
                    chunks.extend(self._finish(item))
                case ResponseFinished():
                    chunks.extend(self._end(event))
                case ResponseFailed(error, usage):
                    chunks.extend(self._failure(error, usage))
                case _:
                    pass
        return chunks

    def _finish(self, item: OutputItem) -> list[bytes]:
        self._notes.take(item)
        match item:
            case FunctionCallItem() | ToolOutputItem():
                self._calls.take(item)
            case ImageItem() if item.data_url:
                self._images += 1
                return [self._delta({"images": [image_part(item, self._images - 1)]})]
            case MediaItem():
                return [self._delta({"audio": audio_part(item)})]
            case _:
                pass
        return []

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
        calls = self._calls.of_completion()
        reason = "tool_calls" if calls else finish_reason(event.incomplete_reason)
        chunks = [
            self._delta({"tool_calls": [{"index": place, **call}]})
            for place, call in enumerate(calls)
        ]
        if notes := self._notes.of_completion():
            chunks.append(self._delta(notes))
        chunks.append(self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}]))
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


################################
# streaming/completion_dict.py
#
# A caller that wants the whole answer at once: one `chat.completion` object.
################################

_KeptItem = MessageItem | ReasoningItem | FunctionCallItem | ToolOutputItem


class CompletionDict:
    """Gathers one answer; its only piece is the finished object.

    `model` is the id the caller asked for. In a chat the object also carries the `output` items,
    from which Open WebUI draws the reasoning. A chore gets the plain result and no reasoning.
    """

    def __init__(self, model: str, *, with_output: bool, with_reasoning: bool = True) -> None:
        self._model = model
        self._with_output = with_output
        self._with_reasoning = with_reasoning
        self._response_id = new_item_id("chatcmpl")
        self._items: list[_KeptItem] = []
        self._calls = OpenCalls()
        self._images: list[ImageItem] = []
        self._sound: MediaItem | None = None

    def render(self, batch: list[Event]) -> list[dict[str, Any]]:
        """The finished object, once its end is in the batch."""
        for event in batch:
            match event:
                case ResponseStarted(response_id):
                    self._response_id = response_id or self._response_id
                case ItemFinished(_, MessageItem() as item):
                    self._items.append(item)
                case ItemFinished(_, FunctionCallItem() | ToolOutputItem() as item):
                    self._items.append(item)
                    self._calls.take(item)
                case ItemFinished(_, ReasoningItem() as item) if item.is_visible or item.details:
                    self._items.append(item)
                case ItemFinished(_, ImageItem() as item) if item.data_url:
                    self._images.append(item)
                case ItemFinished(_, MediaItem() as item):
                    self._sound = item
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
        partial = self._completion("error") if self._items or self._images else {}
        return partial | failure | _usage(usage)

    def _answer(self, event: ResponseFinished) -> dict[str, Any]:
        has_calls = bool(self._calls.of_completion())
        reason = "tool_calls" if has_calls else finish_reason(event.incomplete_reason)
        return self._completion(reason) | _usage(event.usage)

    def _completion(self, reason: str) -> dict[str, Any]:
        completion: dict[str, Any] = {
            "id": self._response_id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self._model,
            "choices": [{"index": 0, "message": self._message(), "finish_reason": reason}],
        }
        if self._with_output:
            # The pictures of a chat are files of its message; with nothing at all in `output`
            # Open WebUI would not end the message.
            items = self._items or [MessageItem(new_item_id("msg")) for _ in self._images[:1]]
            ends = {item.call_id: item.status for item in items if isinstance(item, ToolOutputItem)}
            completion["output"] = [_output_of(item, ends) for item in items]
        return completion

    def _message(self) -> dict[str, Any]:
        texts = [item.text for item in self._items if isinstance(item, MessageItem)]
        thoughts = [
            "\n\n".join(filter(None, item.summary or item.content))
            for item in self._items
            if isinstance(item, ReasoningItem)
        ]
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts)}
        if calls := self._calls.of_completion():
            message["tool_calls"] = calls
        reasoning = "\n\n".join(filter(None, thoughts))
        if reasoning and self._with_reasoning:
            message["reasoning"] = reasoning
        if self._with_reasoning and not self._with_output:
            notes = CompletionNotes()
            for item in self._items:
                notes.take(item)
            message |= notes.of_completion()
        if self._images and not self._with_output:
            message["images"] = [image_part(item, n) for n, item in enumerate(self._images)]
        if self._sound is not None:
            message["audio"] = audio_part(self._sound)
        return message


def _usage(usage: Usage | None) -> dict[str, Any]:
    return {} if usage is None else {"usage": usage_of_completion(usage)}


def _output_of(item: _KeptItem, ends: Mapping[str, str]) -> dict[str, Any]:
    match item:
        case MessageItem():
            return message_output(item, item.status, [output_text_part(item.text)])
        case ReasoningItem():
            return reasoning_output(item)
        case FunctionCallItem():
            # The card of a call that came to nothing says so.
            status = ends.get(item.call_id) if item.status == "completed" else None
            return function_call_item(item) | ({"status": status} if status else {})
        case ToolOutputItem():
            return tool_output_item(item)


################################
# streaming/response_events.py
#
# A chat in Open WebUI: Responses events, which its reducer stores and its page draws.
################################

_CUT_NOTICES = {
    "max_output_tokens": "The answer was cut off at its length limit.",
    "content_filter": "The answer was cut off by a content filter.",
}


class ResponseEvents:
    """Renders one answer as items of the message's `output` list.

    Items are counted anew, for Open WebUI keeps only those it is shown. `thinking` says where
    the model's thinking appears: in its own box (`open_webui`), in the `status`, or in `both`.
    Where the reader sees text alone, as in a channel, it `speaks_errors`.
    """

    def __init__(
        self,
        *,
        show_usage: bool = False,
        thinking: str = "open_webui",
        speaks_errors: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._show_usage = show_usage
        self._speaks_errors = speaks_errors
        self._asked_at = clock()
        self._status_is_open = False
        self._working = ""
        self._spending = SpendingKnown()
        self._closing_words = ""
        self._places: dict[int, int] = {}
        self._ids: dict[int, str] = {}
        self._started_at: dict[int, float] = {}
        self._shows_box = thinking != "status"
        self._thinking = ThinkingStatus(clock) if thinking != "open_webui" else None
        self._segment = Segment()
        self._summary_parts: set[tuple[int, int]] = set()
        self._sources = Sources()
        self._outputs: list[int] = []
        self._calls: dict[str, tuple[int, FunctionCallItem]] = {}
        self._answered: set[str] = set()
        self._count = 0

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
                    shown.extend([*self._end_waiting(), *self._start(index, item)])
                case ItemFinished(index, item):
                    shown.extend(self._finish(index, item))
                case ArgumentsDelta(index, text):
                    shown.append(self._arguments_delta(index, text))
                case ResponseFinished():
                    shown.extend(self._end(event))
                case ResponseFailed(error, usage):
                    shown.extend([*self._close_segment(), *self._sources.events()])
                    shown.extend([*self._closing_status(usage), *self._fail(error, usage)])
                case _:
                    shown.extend(self._aside(event))
        return shown

    def _aside(self, event: Event) -> list[HostEvent]:
        """What stands beside the answer."""
        match event:
            case RetryScheduled():
                self._status_is_open = True
                words = f"{event.error.cause} Trying again in {event.wait:.0f} s."
                return [status_event(words, done=False)]
            case Working(words) if words != self._working:
                self._working, self._status_is_open = words, True
                return [status_event(words, done=False)]
            case SpendingKnown():
                self._spending = event
            case Notice(words, in_closing_line=True):
                self._closing_words = words
            case Notice(words):
                self._status_is_open = False
                return [status_event(words, done=True)]
            case SourcesFound(sources):
                self._sources.add_found(sources)
            case _:
                pass
        return []

    def _start(self, index: int, item: OutputItem) -> list[HostEvent]:
        self._started_at[index] = self._clock()
        self._ids[index] = item.id
        match item:
            case MessageItem():
                return self._open_message(index, item)
            case FunctionCallItem():
                opened = function_call_item(item) | {"status": "in_progress", "arguments": ""}
                return [_item_added(self._take_place(index), opened)]
            case ServerToolItem():
                cards = server_tool_cards(item)
                # One card can be seen under way; a call and its result come together at the end.
                return [_item_added(self._take_place(index), cards[0])] if len(cards) == 1 else []
            case _:
                # Reasoning opens with its first word: without one its card would be empty.
                return []

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
        shown = self._thinking.take(event.text) if self._thinking else []
        if not self._shows_box:
            return shown
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

    def _arguments_delta(self, index: int, text: str) -> HostEvent:
        return {
            "type": "response.function_call_arguments.delta",
            "output_index": self._places[index],
            "delta": text,
        }

    def _finish(self, index: int, item: OutputItem) -> list[HostEvent]:
        before: list[HostEvent] = []
        match item:
            case MessageItem():
                self._sources.add(item.citations)
                content = [output_text_part(item.text)]
                stored = [message_output(item, item.status, content)]
            case ReasoningItem():
                seconds = self._clock() - self._started_at[index]
                before = self._thinking.finish(seconds) if self._thinking else []
                if index not in self._places and not item.details:
                    return before
                kept = item if self._shows_box else replace(item, summary=[], content=[])
                stored = [reasoning_output(kept) | {"duration": round(seconds)}]
            case FunctionCallItem():
                self._calls[item.call_id] = self._take_place(index), item
                stored = [function_call_item(item)]
            case ToolOutputItem():
                self._answered.add(item.call_id)
                output = _item_added(self._make_place(index), tool_output_item(item))
                return [*self._close_segment(), output, *self._failed_call(item)]
            case ServerToolItem():
                stored = server_tool_cards(item)
                # A call with its result ends a message of the next turn's history.
                before = self._close_segment() if len(stored) > 1 else []
            case _:
                return []
        place = self._take_place(index)
        self._segment.add(place, item, stored[0])
        more = [_item_done(self._next_place(), card) for card in stored[1:]]
        return [*before, _item_done(place, stored[0]), *more]

    def _close_segment(self) -> list[HostEvent]:
        """Store how the parts stood, where that would be forgotten."""
        again = self._segment.close()
        return [_item_done(*again)] if again else []

    def _end(self, event: ResponseFinished) -> list[HostEvent]:
        # An `output` of the API's own would replace all that was shown.
        response: HostEvent = {"id": event.response_id, "output": []}
        if event.usage is not None:
            response["usage"] = usage_of_response(event.usage)
        notice = _CUT_NOTICES.get(event.incomplete_reason, "The answer is incomplete.")
        return [
            *self._close_segment(),
            *self._calls_left_open(),
            *self._sources.events(),
            *([status_event(notice, done=True)] if event.incomplete_reason else []),
            *self._closing_status(event.usage),
            {"type": "response.completed", "response": response},
        ]

    def _fail(self, error: PipeError, usage: Usage | None) -> list[HostEvent]:
        failure = _failure_event(error, usage)
        if not self._speaks_errors:
            return [failure]
        words = MessageItem(new_item_id("msg"), error.for_person())
        spoken = message_output(words, "completed", [output_text_part(words.text)])
        return [_item_added(self._next_place(), spoken), failure]

    def _closing_status(self, usage: Usage | None) -> list[HostEvent]:
        parts = [self._closing_words]
        if self._show_usage and usage is not None:
            own = describe_usage(usage, self._clock() - self._asked_at)
            parts += [own, describe_spending(self._spending)]
        line = " \N{MIDDLE DOT} ".join(filter(None, parts))
        return [status_event(line, done=True)] if line else self._end_waiting()

    def _end_waiting(self) -> list[HostEvent]:
        """A status that said "trying again" must not go on saying it."""
        was_open, self._status_is_open = self._status_is_open, False
        return [status_event("", done=True)] if was_open else []

    def _take_place(self, index: int) -> int:
        if index not in self._places:
            self._places[index] = self._next_place()
        return self._places[index]

    def _failed_call(self, output: ToolOutputItem) -> list[HostEvent]:
        """The call anew, where it came to nothing: its card says so."""
        place, call = self._calls.get(output.call_id, (0, None))
        if call is None or call.status != "completed" or output.status == "completed":
            return []
        return [_item_done(place, function_call_item(call) | {"status": output.status})]

    def _calls_left_open(self) -> list[HostEvent]:
        """The calls anew that Open WebUI is to run: 0.11 asks only about those in progress."""
        return [
            _item_done(place, function_call_item(call) | {"status": "in_progress"})
            for call_id, (place, call) in self._calls.items()
            if call_id not in self._answered and call.status == "completed"
        ]

    def _make_place(self, index: int) -> int:
        """The place of an output, before those of later calls that came sooner."""
        place = self._count - sum(1 for known in self._outputs if known > index)
        self._outputs.append(index)
        self._count += 1
        return place

    def _next_place(self) -> int:
        self._count += 1
        return self._count - 1


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


def _failure_event(error: PipeError, usage: Usage | None) -> HostEvent:
    # Not `response.failed`: Open WebUI would overlook the usage in that.
    failure: HostEvent = {"error": {"message": error.for_person()}}
    return failure | {"usage": usage_of_response(usage)} if usage is not None else failure


################################
# streaming/transcript.py
#
# One answer over all its rounds: numbered through, in order, with what it has cost.
################################

class Transcript:
    """Reads what comes of each round, and adds what the pipe itself has to say.

    `taken_call_ids` are those of the conversation so far: the API wants each of them once.
    """

    def __init__(self, taken_call_ids: Iterable[str] = ()) -> None:
        self._tags = ThinkTags()
        self._collector = Collector(taken_call_ids)
        self._has_started = False
        self._first_place = 0
        """Where this round begins; the API counts from zero in each."""
        self._next_place = 0
        """Behind the last item that came of this round."""
        self._order: list[int] = []
        """The places of this round's items, as they opened."""
        self._items: dict[int, OutputItem] = {}
        """The finished items of this round, by place."""
        self._is_uncounted = False
        """Whether this round gave something of which the cost is not known yet."""
        self._usages: list[Usage | None] = []
        self.last_usage: Usage | None = None
        """What the newest round has taken."""

    @property
    def ended(self) -> bool:
        """Whether the answer is over, as far as it looks."""
        return self._collector.ended

    @property
    def has_answer(self) -> bool:
        """Whether this round said, drew or played anything for the reader."""
        return any(
            isinstance(item, ImageItem | MediaItem)
            or (isinstance(item, MessageItem) and item.text.strip())
            for item in self._items.values()
        )

    def go_on(self) -> None:
        """The end of this round is not the end of the answer."""
        self._collector.go_on()

    def begin_round(self) -> None:
        """Take what comes now as another round, behind the outputs of this one's calls."""
        self._next_place += len(self._calls())
        self._first_place = self._next_place
        self._order.clear()
        self._items.clear()

    def take(self, batch: list[Event]) -> list[Event]:
        """Put a batch of this round in order; its end tells what all rounds have taken."""
        events = [self._placed(event) for event in batch if self._is_new(event)]
        ordered = self._collector.take(self._tags.split(events))
        self._keep(ordered)
        for event in ordered:
            if isinstance(event, ResponseFinished | ResponseFailed):
                self._count(event)
        return ordered

    def taken(self) -> Usage | None:
        """What the rounds that are over have taken."""
        return sum_usage(self._usages)

    def charge(self, usage: Usage) -> None:
        """Count what a refused request has cost."""
        self._usages.insert(0, usage)

    def answer_call(self, call: FunctionCallItem, output: ToolOutputItem) -> list[Event]:
        """Put a call's output behind this round's items, in the order of their calls."""
        return self._collector.add(self._next_place + self._calls().index(call), output)

    def say(self, text: str) -> list[Event]:
        """Add words of the pipe's own, behind all that is there."""
        self.begin_round()
        return self._collector.add(self._next_place, MessageItem("", text))

    def open_calls(self) -> list[FunctionCallItem]:
        """The calls that wait for their output, in the order the model made them."""
        waiting = {call.call_id for call in self._collector.open_calls()}
        return [call for call in self._calls() if call.call_id in waiting]

    def round_items(self) -> list[OutputItem]:
        """The items of this round, in the order the model gave.

        Thinking told apart from a message's text is left out: the API never gave such an item.
        """
        return [
            self._items[place]
            for place in self._order
            if place in self._items
            and not (place < 0 and isinstance(self._items[place], ReasoningItem))
        ]

    def _calls(self) -> list[FunctionCallItem]:
        return [item for item in self.round_items() if isinstance(item, FunctionCallItem)]

    def _is_new(self, event: Event) -> bool:
        """Whether the reader does not know it yet: an answer starts once, however many rounds."""
        if not isinstance(event, ResponseStarted):
            return True
        is_first, self._has_started = not self._has_started, True
        return is_first

    def _placed(self, event: Event) -> Event:
        """The event at its place in the whole answer; its reader may go on from it as it is."""
        if self._first_place and isinstance(event, PlacedEvent):
            return replace(event, output_index=event.output_index + self._first_place)
        return event

    def _keep(self, events: list[Event]) -> None:
        for event in events:
            if not isinstance(event, ItemStarted | ItemFinished):
                continue
            place, item = event.output_index, event.item
            if isinstance(item, ToolOutputItem):
                continue
            self._next_place = max(self._next_place, place + 1)
            if isinstance(event, ItemStarted):
                self._order.append(place)
                self._is_uncounted = True
            else:
                self._items[place] = item

    def _count(self, end: ResponseFinished | ResponseFailed) -> None:
        """Let the end tell what all rounds took; a request that gave nothing took nothing."""
        if end.usage is not None or self._is_uncounted or isinstance(end, ResponseFinished):
            self._usages.append(end.usage)
            self.last_usage = end.usage
        self._is_uncounted = False
        end.usage = sum_usage(self._usages)


################################
# tools/policy.py
#
# Who runs a round of calls: what Open WebUI must do itself, and what nobody may run unasked.
################################

# They wait for a person, or work as long as an answer of its own.
HOSTS_OWN_TOOLS = frozenset({"ask_user", "delegate_task"})
"""Built-in tools that Open WebUI runs itself wherever it can."""


def host_can_run(context: RequestContext, body: CompletionsBody) -> bool:
    """Whether Open WebUI takes up calls that the stream leaves open: in a streamed chat only."""
    return bool(context.chat_id and context.message_id and body.get("stream"))


def needs_approval(context: RequestContext) -> bool:
    """Whether a person must allow each call of this chat."""
    params = as_object(context.host.metadata.get("params"))
    return params.get("tool_approval_mode") == "ask"


def takes_its_time(tool: HostTool) -> bool:
    """Whether the tool waits for a person or for a whole answer, so that no time limit fits it."""
    return tool.is_builtin and tool.name in HOSTS_OWN_TOOLS


def asks_the_person(tool: HostTool) -> bool:
    """Whether the tool is itself a question to the person, so that none need stand before it."""
    return tool.is_builtin and tool.name == "ask_user"


def can_ask_here(context: RequestContext) -> bool:
    """Whether the pipe itself may ask that person: where no better question is to be had."""
    is_ours = context.settings.tool_execution_mode == "Pipeline" or _must_ask_here(context)
    return is_ours and bool(context.session_id) and context.host.event_call is not None


def _must_ask_here(context: RequestContext) -> bool:
    """Whether only the pipe asks: Open WebUI 0.11 runs tools unasked in chats it does not save."""
    return needs_approval(context) and not is_saved_chat(context.chat_id)


def host_should_run(context: RequestContext, called: Iterable[HostTool]) -> bool:
    """Whether Open WebUI is to run a round that calls these tools, if it can."""
    called = list(called)
    if _must_ask_here(context):
        return len(called) == 1 and asks_the_person(called[0])
    return (
        context.settings.tool_execution_mode == "Open-WebUI"
        or (needs_approval(context) and not can_ask_here(context))
        or any(map(takes_its_time, called))
    )


################################
# tools/results.py
#
# What a model is told of its calls: results no longer than the chat has room for, and failures.
################################

_CHARACTERS_PER_TOKEN = 4
_UNKNOWN_ROOM = 100_000
"""Tokens: for a model of which nobody says how much it can read."""
_LEAST_CHARACTERS = 400
_NOTE_LENGTH = 150
_SHOWN_ARGUMENTS = 500
_SHOWN_NAMES = 30


class OutputRoom:
    """The tokens that are left for a round's outputs, shared fairly as the calls finish."""

    def __init__(self, tokens: int | None, calls: int) -> None:
        self._characters = (_UNKNOWN_ROOM if tokens is None else tokens) * _CHARACTERS_PER_TOKEN
        self._calls = calls

    def fit(self, text: str) -> str:
        """The text of the next call, shortened where it is longer than its share."""
        share = max(self._characters // max(self._calls, 1), _LEAST_CHARACTERS)
        fitting = shorten(text, share)
        self._calls -= 1
        self._characters -= len(fitting)
        return fitting


def shorten(text: str, limit: int) -> str:
    """Beginning and end of a text that is too long, with a note between them."""
    if len(text) <= limit:
        return text
    room = max(limit - _NOTE_LENGTH, 0)
    tail = room // 3
    note = (
        f"\n\n[{len(text) - room} characters are left out here: the result was longer than this "
        "chat has room for. Ask for a part of it, or for less.]\n\n"
    )
    return text[: room - tail] + note + text[len(text) - tail :]


def failed(text: str) -> ToolResult:
    """A call that came to nothing, in words the model can act on."""
    return ToolResult(text=f"Error: {text}", failed=True)


def cut_off(name: str) -> ToolResult:
    """The answer ended in the middle of the call."""
    return failed(
        f"The call of `{name}` was cut off before it was complete, so it was not run. "
        "If it is still needed, call it again with all its arguments."
    )


def unknown_tool(name: str, known: Sequence[str]) -> ToolResult:
    """There is no such tool."""
    listed = ", ".join(f"`{entry}`" for entry in sorted(known)[:_SHOWN_NAMES])
    choice = f"The tools are: {listed}." if listed else "There are no tools in this chat."
    return failed(f"There is no tool named `{name}`. {choice}")


def unreadable_arguments(name: str, sent: str) -> ToolResult:
    """What was sent is no JSON object, nor anything that can only mean one."""
    return failed(
        f"The arguments of `{name}` are not a JSON object, so it was not run. "
        f"Call it again with one JSON object. This was sent: {shorten(sent, _SHOWN_ARGUMENTS)}"
    )


def not_approved(name: str) -> ToolResult:
    """The chat asks a person before a tool runs, and here nobody can be asked."""
    return failed(
        f"`{name}` was not run: in this chat a person must approve each call, and none has "
        "approved this one."
    )


def paused(name: str, seconds: float) -> ToolResult:
    """The breaker is open."""
    return failed(
        f"`{name}` has failed several times in a row and was not run. It can be tried again in "
        f"{seconds:.0f} seconds; until then go on without it, and say so."
    )


def not_begun(name: str) -> ToolResult:
    """The round's time was over before the call's turn came."""
    return failed(
        f"`{name}` was not run: the other calls of this round took all the time there was. "
        "Call it again, with fewer calls at once."
    )


def timed_out(name: str, seconds: float) -> ToolResult:
    """The tool did not come back in time."""
    return failed(
        f"`{name}` did not finish within {seconds:.0f} seconds and was stopped. What it had begun "
        "may have been done. Do not simply repeat the call; ask for less, or go on without it."
    )


def raised(name: str, cause: str) -> ToolResult:
    """The tool raised an exception."""
    return failed(f"`{name}` failed: {cause}")


def join_results(results: Sequence[tuple[JsonObject, ToolResult]]) -> ToolResult:
    """One output for a call that held several argument objects, each of which was run."""
    joined = ToolResult(text="", failed=all(result.failed for _, result in results))
    parts: list[str] = []
    for number, (arguments, result) in enumerate(results, 1):
        shown = shorten(encode_json(arguments).decode(), _SHOWN_ARGUMENTS)
        parts.append(f"Result {number} of {len(results)}, for {shown}:\n{result.text}")
        joined.images += result.images
        joined.files += result.files
        joined.embeds += result.embeds
        joined.sources += result.sources
    joined.text = "\n\n".join(parts)
    return joined


################################
# tools/schema.py
#
# Strict schemas: what OpenAI's models can be held to, letter by letter.
#
# Every object is closed and asks for all of its properties; what was optional may be null instead
# (https://platform.openai.com/docs/guides/structured-outputs, "Supported schemas").
################################

_MOST_LEVELS = 10
"""Deeper than this OpenAI takes no schema."""

_KEPT = frozenset(
    {
        "type",
        "title",
        "description",
        "enum",
        "items",
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
        "pattern",
        "format",
    }
)
# Read elsewhere, or a refinement that the tool itself checks: leaving it out breaks nothing.
_LEFT_OUT = frozenset(
    {
        "$schema",
        "$id",
        "$anchor",
        "$comment",
        "$defs",
        "definitions",
        "$ref",
        "properties",
        "required",
        "additionalProperties",
        "anyOf",
        "oneOf",
        "allOf",
        "const",
        "nullable",
        "default",
        "example",
        "examples",
        "deprecated",
        "readOnly",
        "writeOnly",
        "minLength",
        "maxLength",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "discriminator",
        "xml",
        "externalDocs",
        "contentEncoding",
        "contentMediaType",
    }
)
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
_SHAPES = frozenset({"type", "properties", "items", "enum", "const"})
_UNIONS = ("anyOf", "oneOf")
_NULL: JsonObject = {"type": "null"}


class _NotStrictError(Exception):
    """The schema says something that the strict form cannot say."""


def strict_schema(schema: JsonObject) -> JsonObject | None:
    """The strict form of a tool's parameters; `None` where there is none."""
    try:
        text = _strict_text(encode_json(schema))
    except (TypeError, ValueError, RecursionError):
        return None
    return None if text is None else decode_json(text)


@lru_cache(maxsize=256)
def _strict_text(text: bytes) -> bytes | None:
    root = as_object(decode_json(text))
    try:
        return encode_json(_StrictWriter(root).write_root())
    except _NotStrictError:
        return None


class _StrictWriter:
    """Rewrites one schema, and of its definitions those that are used."""

    def __init__(self, root: JsonObject) -> None:
        self._root = root
        self._definitions: JsonObject = {}

    def write_root(self) -> JsonObject:
        """A tool's parameters are one object; without properties it takes nothing."""
        if _types_of(self._root) not in ([], ["object"]) or any(
            name in self._root for name in (*_UNIONS, "allOf", "$ref", "enum", "const")
        ):
            raise _NotStrictError
        if not self._root.get("properties") and not _is_open(self._root):
            empty: JsonObject = {"type": "object", "properties": {}, "required": []}
            return {**empty, "additionalProperties": False}
        strict = self._write({**self._root, "type": "object"}, 1)
        return {**strict, "$defs": self._definitions} if self._definitions else strict

    def _write(self, value: Any, level: int) -> JsonObject:
        schema = _known(value)
        if level > _MOST_LEVELS:
            raise _NotStrictError
        if "allOf" in schema:
            schema = _without_all_of(schema)
        if "$ref" in schema:
            strict = self._reference(schema, level)
        elif any(name in schema for name in _UNIONS):
            strict = self._union(schema, level)
        else:
            strict = self._plain(schema, level)
        return _or_null(strict) if schema.get("nullable") is True else strict

    def _plain(self, schema: JsonObject, level: int) -> JsonObject:
        types = _types_of(schema)
        if not types:
            raise _NotStrictError
        strict = {name: schema[name] for name in _KEPT if name in schema and _is_sent(name, schema)}
        strict["type"] = types[0] if len(types) == 1 else types
        if "const" in schema:
            strict["enum"] = [schema["const"]]
        if "enum" in strict and not _are_plain(strict["enum"]):
            raise _NotStrictError
        if "array" in types:
            strict["items"] = self._write(schema.get("items"), level + 1)
        if "object" in types:
            strict |= self._object(schema, level)
        return strict

    def _object(self, schema: JsonObject, level: int) -> JsonObject:
        properties = as_object(schema.get("properties"))
        if not properties or _is_open(schema):
            raise _NotStrictError  # it takes any key
        required = _entries_of(schema.get("required"))
        return {
            "properties": {
                name: self._write(inner, level + 1)
                if name in required
                else _or_null(self._write(inner, level + 1))
                for name, inner in properties.items()
            },
            "required": list(properties),
            "additionalProperties": False,
        }

    def _union(self, schema: JsonObject, level: int) -> JsonObject:
        if _SHAPES & schema.keys() or all(name in schema for name in _UNIONS):
            raise _NotStrictError
        branches = _entries_of(schema.get("anyOf", schema.get("oneOf")))
        if not branches:
            raise _NotStrictError
        strict = _words_of_schema(schema)
        strict["anyOf"] = [self._write(branch, level) for branch in branches]
        return strict

    def _reference(self, schema: JsonObject, level: int) -> JsonObject:
        if (_SHAPES | set(_UNIONS)) & schema.keys():
            raise _NotStrictError
        name, definition = definition_of(schema["$ref"], self._root)
        if definition is None:
            raise _NotStrictError
        if name not in self._definitions:
            self._definitions[name] = {}  # a definition may lead back to itself
            self._definitions[name] = self._write(definition, level)
        words = _words_of_schema(schema)
        reference: JsonObject = {"$ref": f"#/$defs/{name}"}
        # Beside a reference nothing else may stand.
        return {**words, "anyOf": [reference]} if words else reference


def definition_of(reference: Any, root: JsonObject) -> tuple[str, Any]:
    """The name and schema behind `#/$defs/name`; no schema for any other reference."""
    for place in ("$defs", "definitions"):
        prefix = f"#/{place}/"
        if isinstance(reference, str) and reference.startswith(prefix):
            name = reference.removeprefix(prefix)
            return name, as_object(root.get(place)).get(name)
    return "", None


def accepts_null(value: Any, root: JsonObject, level: int = 0) -> bool:
    """Whether null is a value of the schema, as far as can be seen; unsure means yes."""
    schema = as_object(value)
    if schema.get("nullable") is True or level > _MOST_LEVELS:
        return True
    if "$ref" in schema:
        definition = definition_of(schema["$ref"], root)[1]
        return definition is None or accepts_null(definition, root, level + 1)
    if not all(accepts_null(part, root, level + 1) for part in _entries_of(schema.get("allOf"))):
        return False
    branches = [branch for name in _UNIONS for branch in _entries_of(schema.get(name))]
    if branches:
        return any(accepts_null(branch, root, level + 1) for branch in branches)
    if "const" in schema:
        return schema["const"] is None
    if "enum" in schema:
        return None in _entries_of(schema["enum"])
    types = _types_of(schema)
    return not types or "null" in types


def _known(value: Any) -> JsonObject:
    schema = as_object(value)
    if not schema or any(
        name not in _KEPT and name not in _LEFT_OUT and not name.startswith("x-") for name in schema
    ):
        raise _NotStrictError
    return schema


def _without_all_of(schema: JsonObject) -> JsonObject:
    """`allOf` around one schema is only a way to put words beside a reference."""
    parts = _entries_of(schema["allOf"])
    others = {name: value for name, value in schema.items() if name != "allOf"}
    if len(parts) != 1 or (_SHAPES | {"$ref", *_UNIONS}) & others.keys():
        raise _NotStrictError
    return {**_known(parts[0]), **_words_of_schema(others)}


def _types_of(schema: JsonObject) -> list[str]:
    """The named types, or those that the rest of the schema implies."""
    named = schema.get("type")
    if isinstance(named, str):
        named = [named]
    if isinstance(named, list):
        types = list(dict.fromkeys(str(entry) for entry in _entries_of(cast("Any", named))))
        return types if set(types) <= _TYPES else []
    if "properties" in schema:
        return ["object"]
    if "items" in schema:
        return ["array"]
    values = [schema["const"]] if "const" in schema else _entries_of(schema.get("enum"))
    return list(dict.fromkeys(_type_of_value(value) for value in values))


def _type_of_value(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case _:
            raise _NotStrictError


def _is_sent(name: str, schema: JsonObject) -> bool:
    value = schema[name]
    if name == "format":
        return value in _FORMATS
    if name == "pattern":
        return isinstance(value, str) and "(?" not in value  # no looking around
    return not (name.startswith("exclusive") and isinstance(value, bool))


def _is_open(schema: JsonObject) -> bool:
    return schema.get("additionalProperties", False) is not False


def _entries_of(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def _are_plain(values: Any) -> bool:
    entries = _entries_of(values)
    return bool(entries) and not any(isinstance(entry, dict | list) for entry in entries)


def _words_of_schema(schema: JsonObject) -> JsonObject:
    return {name: schema[name] for name in ("title", "description") if name in schema}


def _or_null(strict: JsonObject) -> JsonObject:
    """The same schema, which null satisfies too."""
    if "$ref" in strict:
        return {"anyOf": [strict, _NULL]}
    if "anyOf" in strict:
        branches = cast("list[JsonObject]", strict["anyOf"])
        return strict if _NULL in branches else {**strict, "anyOf": [*branches, _NULL]}
    types = cast("list[str] | str", strict["type"])
    types = [types] if isinstance(types, str) else types
    widened = dict(strict) if "null" in types else {**strict, "type": [*types, "null"]}
    if None not in strict.get("enum", [None]):
        widened["enum"] = [*strict["enum"], None]
    return widened


################################
# tools/arguments.py
#
# The arguments of a call: read, repaired where they can only mean one thing, fitted.
################################

_FENCE = re.compile(r"\A\s*```[\w-]*\s*\n?(.*?)\n?\s*```\s*\Z", re.DOTALL)
# A string, which stays as it is, or a comma before the end of an object or list.
_STRING_OR_LAST_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])', re.DOTALL)
_MOST_LEVELS_READ = 50


def read_arguments(text: str) -> list[JsonObject] | None:
    """The objects a call was sent: one, or several that stand in a row; `None` when unreadable.

    The same object twice counts once: a tool must not act twice on a slip of the stream.
    """
    if not text.strip():
        return [{}]
    fenced = _FENCE.match(text)
    inner = fenced[1] if fenced else text
    for candidate in (inner, _without_last_commas(inner)):
        objects = _objects_in_a_row(candidate)
        if objects is not None:
            return objects
    literal = _python_literal(inner)
    return None if literal is None else [literal]


def fit_arguments(arguments: JsonObject, schema: JsonObject, *, keep_unknown: bool) -> JsonObject:
    """What the tool takes of it: no key it does not name, no null it does not accept.

    In a strict schema null stands for an argument that is left out.
    """
    known = as_object(schema.get("properties"))
    fitting = {name: value for name, value in arguments.items() if keep_unknown or name in known}
    return cast("JsonObject", _without_nulls(fitting, schema, schema, 0))


def _objects_in_a_row(text: str) -> list[JsonObject] | None:
    decoder = json.JSONDecoder(strict=False)  # models leave line breaks in strings as they are
    objects: list[JsonObject] = []
    position = 0
    while (position := _skip_space(text, position)) < len(text):
        try:
            value, position = decoder.raw_decode(text, position)
        except (ValueError, RecursionError):
            return None
        found = _as_arguments(value)
        if found is None:
            return None
        if found not in objects:
            objects.append(found)
    return objects or None


def _skip_space(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


def _as_arguments(value: Any) -> JsonObject | None:
    """An object; null, which some models send for none; or an object written as a JSON string."""
    if value is None:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value, strict=False)
        except (ValueError, RecursionError):
            return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _without_last_commas(text: str) -> str:
    return _STRING_OR_LAST_COMMA.sub(lambda found: found[0].removeprefix(","), text)


def _python_literal(text: str) -> JsonObject | None:
    """A dict as Python prints it, which some models send; sets, bytes and the like are none."""
    try:
        value = json.loads(json.dumps(ast.literal_eval(text.strip()), allow_nan=False))
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return cast("JsonObject", value) if isinstance(value, dict) else None


def _without_nulls(value: Any, schema: JsonObject, root: JsonObject, level: int) -> Any:
    schema = _resolved(schema, root)
    if level > _MOST_LEVELS_READ:
        return value
    if isinstance(value, list):
        items = as_object(schema.get("items"))
        entries = cast("list[Any]", value)
        return [_without_nulls(entry, items, root, level + 1) for entry in entries]
    if not isinstance(value, dict):
        return value
    properties = as_object(schema.get("properties"))
    required: Any = schema.get("required")
    return {
        name: _without_nulls(inner, as_object(properties.get(name)), root, level + 1)
        for name, inner in cast("JsonObject", value).items()
        if inner is not None
        or (isinstance(required, list) and name in required)
        or accepts_null(properties.get(name), root)
    }


def _resolved(schema: JsonObject, root: JsonObject) -> JsonObject:
    """The schema behind a reference, or behind the one branch that is more than null."""
    if "$ref" in schema:
        return as_object(definition_of(schema["$ref"], root)[1])
    for union in ("anyOf", "oneOf", "allOf"):
        branches: Any = schema.get(union)
        if isinstance(branches, list):
            typed = [as_object(branch) for branch in cast("list[Any]", branches)]
            shaped = [branch for branch in typed if branch.get("type") != "null"]
            return _resolved(shaped[0], root) if len(shaped) == 1 else {}
    return schema


################################
# tools/definitions.py
#
# The `tools` of a request: what the chat offers, in the Responses API's words.
################################

def define_host_tools(
    body: CompletionsBody, model: str, loose: Container[str] | None
) -> list[JsonObject]:
    """The tools Open WebUI offers, under names the API takes, in the order of their names.

    Their schemas become strict where they can and the model follows them, except for the `loose`
    ones; `None` leaves all as they are.
    """
    definitions = _flat_definitions(body, model)
    for definition in definitions:
        if definition["type"] != "function":
            continue
        name = text_of(definition["name"])
        definition["name"] = api_tool_name(name)
        if loose is not None and name not in loose and _follows_schemas(model):
            _make_strict(definition)
    return _in_order(definitions)


def define_callers_tools(body: CompletionsBody, model: str) -> list[JsonObject]:
    """The tools an API client has sent: its own words, in the Responses API's form."""
    return _in_order(_flat_definitions(body, model))


def _follows_schemas(model: str) -> bool:
    """Whether the vendor holds its models to a strict schema: OpenAI does, others vary."""
    return model.removeprefix("~").startswith("openai/")


def _flat_definitions(body: CompletionsBody, model: str) -> list[JsonObject]:
    definitions: list[JsonObject] = []
    for entry in objects_in(body.get("tools")):
        definition = _flat_definition(entry)
        if definition is None:
            continue
        if definition["type"] == "function" and _follows_schemas(model):
            definition.setdefault("strict", False)  # unsaid, the Responses API supposes it
        definitions.append(definition)
    return definitions


def _flat_definition(entry: JsonObject) -> JsonObject | None:
    """Chat completions nest a function's fields; what is no function goes out as it came."""
    kind = text_of(entry.get("type")) or "function"
    if kind != "function":
        return dict(entry)
    function = as_object(entry.get("function")) or entry
    name = text_of(function.get("name"))
    if not name:
        return None
    flat: JsonObject = {"type": "function", "name": name}
    if description := text_of(function.get("description")):
        flat["description"] = description
    flat["parameters"] = as_object(function.get("parameters")) or _no_parameters()
    if isinstance(function.get("strict"), bool):
        flat["strict"] = function["strict"]
    return flat


def _no_parameters() -> JsonObject:
    return {"type": "object", "properties": {}}


def _make_strict(definition: JsonObject) -> None:
    strict = strict_schema(definition["parameters"])
    definition["strict"] = strict is not None
    if strict is not None:
        definition["parameters"] = strict


def _in_order(definitions: list[JsonObject]) -> list[JsonObject]:
    """One definition for each type and name, the last: the same chat gives the same list."""
    unique = {
        (text_of(entry.get("name")), text_of(entry.get("type"))): entry for entry in definitions
    }
    return [unique[key] for key in sorted(unique)]


################################
# tools/executor.py
#
# One call of a tool, contained: in its turn, once, within its time, and with an answer always.
################################

_NO_QUEUE_LIMIT = 1_000_000_000


@dataclass(slots=True)
class ToolLimits:
    """What all copies of the pipe in one process share. Copies of other ages read it."""

    gate: Gate = field(default_factory=Gate)
    failures: FailureLog = field(default_factory=FailureLog)
    running: set[asyncio.Task[Any]] = field(default_factory=set[asyncio.Task[Any]])
    """Tools at work; one that does not heed its cancellation stays until it ends."""


def tool_limits() -> ToolLimits:
    """The one of this process."""
    return shared_by_process("tool_limits", ToolLimits)


class Executor:
    """Runs the calls of one turn."""

    def __init__(
        self,
        context: RequestContext,
        tools: Mapping[str, Any],
        messages: Sequence[Any],
        limits: ToolLimits,
    ) -> None:
        self._context = context
        self._handles = context.host
        self._tools = tools
        self._names = {api_tool_name(name): name for name in tools}
        self._messages = messages
        self._limits = limits
        self._asking = asyncio.Lock()
        self._slots = asyncio.Semaphore(context.settings.max_parallel_tools_per_request)
        self._lanes: dict[str, asyncio.Lock] = {}

    def host_name(self, name: str) -> str:
        """Open WebUI's name of a tool, from the one the API knows it under."""
        return self._names.get(name, name)

    def tools_called_by(self, call: FunctionCallItem) -> list[HostTool]:
        """The tools behind a call; none for one that names none."""
        name = self.host_name(call.name)
        targets = [self._resolve(name, sent) for sent in read_arguments(call.arguments) or [{}]]
        return [target[0] for target in targets if not isinstance(target, ToolResult)]

    async def answer(self, call: FunctionCallItem, deadline: float) -> ToolResult:
        """What the call brings back, or why it brings nothing; raises only when cancelled."""
        try:
            return await self._answer(call, deadline)
        except Exception as error:  # noqa: BLE001 - a tool is contained
            LOG.error("tools: %s could not be answered: %s", call.name, trace_of(error))
            return failed(f"`{call.name}` could not be run, through a fault of the pipe.")

    async def _answer(self, call: FunctionCallItem, deadline: float) -> ToolResult:
        name = self.host_name(call.name)
        if call.status != "completed":
            return cut_off(name)
        if name not in self._tools:
            return unknown_tool(name, list(self._tools))
        objects = read_arguments(call.arguments)
        if objects is None:
            return unreadable_arguments(name, call.arguments)
        results: list[tuple[JsonObject, ToolResult]] = []
        for sent in objects:
            target = self._resolve(name, sent)
            results.append((sent, await self._run_target(call, target, deadline)))
        return results[0][1] if len(results) == 1 else join_results(results)

    def _resolve(self, name: str, sent: JsonObject) -> tuple[HostTool, JsonObject] | ToolResult:
        tools = self._tools
        if read_tool(name, tools.get(name)).tool_id == CALL_TOOL_ID:
            sent = _with_params_as_text(sent)
        resolved = resolve_hidden_call(name, sent, tools)
        if isinstance(resolved, str):
            return ToolResult(text=resolved, failed=True)
        target, arguments = resolved
        if target not in tools:
            return unknown_tool(target, list(tools))
        return read_tool(target, tools[target]), arguments

    async def _run_target(
        self,
        call: FunctionCallItem,
        target: tuple[HostTool, JsonObject] | ToolResult,
        deadline: float,
    ) -> ToolResult:
        if isinstance(target, ToolResult):
            return target
        tool, sent = target
        if (wait := self._pause_left(tool)) > 0:
            return paused(tool.name, wait)
        arguments = fit_arguments(sent, tool.parameters, keep_unknown=tool.kind == "mcp")
        if needs_approval(self._context) and not asks_the_person(tool):
            asked_at = _loop_time()
            if not await self._is_approved(tool, call.call_id, arguments):
                return not_approved(tool.name)
            deadline += _loop_time() - asked_at  # the tool does not pay for the person's time
        if takes_its_time(tool):  # nor may it keep a place from the tools of its own sub-agent
            return await self._run(tool, arguments, None)
        return await self._run_in_turn(tool, arguments, deadline)

    async def _is_approved(self, tool: HostTool, call_id: str, arguments: JsonObject) -> bool:
        if not can_ask_here(self._context):
            return False
        async with self._asking:  # the page shows one question at a time
            return await ask_for_approval(self._handles, tool, call_id, arguments)

    async def _run_in_turn(
        self, tool: HostTool, arguments: JsonObject, deadline: float
    ) -> ToolResult:
        try:
            # The time to wait is bounded here, the tool's own while it runs.
            async with asyncio.timeout_at(deadline) as waiting, self._turn(tool):
                waiting.reschedule(None)
                seconds = min(self._context.settings.tool_timeout, deadline - _loop_time())
                if seconds <= 0:
                    return not_begun(tool.name)
                return await self._run(tool, arguments, seconds)
        except TimeoutError:
            return not_begun(tool.name)

    @asynccontextmanager
    async def _turn(self, tool: HostTool) -> AsyncGenerator[None]:
        """A place in the tool's lane, then one among this answer's tools and the process's."""
        lane = self._lanes.setdefault(tool.lane, asyncio.Lock()) if tool.lane else asyncio.Lock()
        gate, limit = self._limits.gate, self._context.settings.max_parallel_tools_global
        async with lane, self._slots:
            await enter_gate(gate, limit, _NO_QUEUE_LIMIT)
            try:
                yield
            finally:
                leave_gate(gate)

    async def _run(
        self, tool: HostTool, arguments: JsonObject, seconds: float | None
    ) -> ToolResult:
        """Run it in a task of its own: one that ignores its end must not hold up the answer."""
        task = asyncio.ensure_future(self._contained(tool, arguments))
        self._limits.running.add(task)
        task.add_done_callback(self._limits.running.discard)
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            task.cancel()
        if not task.done():
            self._note_failure(tool)
            return timed_out(tool.name, seconds or 0.0)
        if task.cancelled():
            self._note_failure(tool)
            return raised(tool.name, "it was cancelled.")
        return task.result()

    async def _contained(self, tool: HostTool, arguments: JsonObject) -> ToolResult:
        try:
            returned = await call_tool(self._handles, tool, arguments, self._messages)
        except (Exception, BaseExceptionGroup, SystemExit) as error:  # noqa: BLE001 - a tool is contained
            self._note_failure(tool)
            LOG.info("tools: %s failed: %s", tool.name, type(error).__name__)
            return raised(tool.name, redact_text(str(error)) or type(error).__name__)
        note_success(self._limits.failures, self._breaker_key(tool))
        try:
            return await read_result(self._handles, tool, arguments, returned)
        except Exception as error:  # noqa: BLE001 - so is what it returns
            LOG.warning("tools: the result of %s: %s", tool.name, trace_of(error))
            return raised(tool.name, "it was run, but its result could not be read.")

    def _breaker_key(self, tool: HostTool) -> BreakerKey:
        return (self._context.user_id, tool.tool_id, tool.name)

    def _pause_left(self, tool: HostTool) -> float:
        settings = self._context.settings
        limit = BreakerLimit(settings.breaker_max_failures, settings.breaker_window)
        return pause_left(self._limits.failures, self._breaker_key(tool), limit, time.monotonic())

    def _note_failure(self, tool: HostTool) -> None:
        note_failure(self._limits.failures, self._breaker_key(tool), time.monotonic())


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _with_params_as_text(sent: JsonObject) -> JsonObject:
    """`call_tool` wants its target's arguments as JSON text; an object can only mean that."""
    params = sent.get("params")
    if params is None:
        return sent
    objects = [params] if isinstance(params, dict) else read_arguments(str(params))
    if objects is None or len(objects) != 1:
        return sent
    return {**sent, "params": encode_json(objects[0]).decode()}


################################
# tools/toolbox.py
#
# The tools of one turn: what the model is offered, who runs its calls, what they bring back.
################################

class CallOwner(Enum):
    """Who runs a round of calls."""

    PIPE = "the pipe"
    HOST = "Open WebUI"
    """The stream ends with the calls open; Open WebUI runs them and calls the pipe again."""
    CALLER = "the API client"
    """The tools are the client's own: it is told of the calls, and nothing is run."""


@dataclass(slots=True)
class CallOutcome:
    """What one call brought back."""

    output: ToolOutputItem
    sources: list[JsonObject] = field(default_factory=list[JsonObject])
    """What the person may look up, each as the `data` of Open WebUI's `source` event.

    Only an answer that streams into a chat shows any.
    """


class Toolbox:
    """The tools of one turn."""

    def __init__(
        self,
        definitions: list[JsonObject],
        executor: Executor,
        context: RequestContext,
        body: CompletionsBody,
    ) -> None:
        self.definitions = definitions
        """The `tools` of the request, in an order that does not change."""
        self._executor = executor
        self._context = context
        self._host_can_run = host_can_run(context, body)
        self._are_callers = _are_callers_tools(context, body)
        self._known_ids: set[str] = set()

    def host_name(self, name: str) -> str:
        """Open WebUI's name of a tool, from the one the API knows it under."""
        return self._executor.host_name(name)

    def owner_of(self, calls: Sequence[FunctionCallItem]) -> CallOwner:
        """Who runs this round. Half a call is nobody's: the pipe answers it without running it."""
        if self._are_callers:
            return CallOwner.CALLER
        if not self._host_can_run or any(call.status != "completed" for call in calls):
            return CallOwner.PIPE
        called = [tool for call in calls for tool in self._executor.tools_called_by(call)]
        return CallOwner.HOST if host_should_run(self._context, called) else CallOwner.PIPE

    async def run(
        self, calls: Sequence[FunctionCallItem], context_left: int | None
    ) -> AsyncGenerator[CallOutcome]:
        """Run a round's calls at once; one outcome for each call, as each finishes.

        `context_left` says how many tokens all outputs together may take. A call without an id,
        or with the id of an earlier one, is given one of its own. Closing this, or cancelling
        what waits in it, cancels every tool that runs.
        """
        room = OutputRoom(context_left, len(calls))
        deadline = asyncio.get_running_loop().time() + self._context.settings.tool_batch_timeout
        tasks: dict[asyncio.Task[ToolResult], FunctionCallItem] = {}
        try:
            for call in calls:
                self._name_call(call)
                tasks[asyncio.create_task(self._executor.answer(call, deadline))] = call
            waiting = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in filter(done.__contains__, tasks):
                    outcome = _outcome(tasks[task], task.result(), room)
                    yield outcome if self._host_can_run else replace(outcome, sources=[])
        finally:
            open_tasks = [task for task in tasks if not task.done()]
            for task in open_tasks:
                task.cancel()
            if open_tasks:
                await asyncio.wait(open_tasks)

    def _name_call(self, call: FunctionCallItem) -> None:
        if not call.call_id or call.call_id in self._known_ids:
            call.call_id = new_item_id("call")
        self._known_ids.add(call.call_id)


def open_toolbox(
    context: RequestContext,
    body: CompletionsBody,
    family: ModelFamily | None,
    limits: ToolLimits | None = None,
) -> Toolbox:
    """The tools of this turn; none for Open WebUI's chores and for models that take none."""
    definitions = _definitions_for(context, body, family)
    tools = context.host.tools if definitions else {}  # a call of what was not offered runs nothing
    executor = Executor(context, tools, body.get("messages") or [], limits or tool_limits())
    return Toolbox(definitions, executor, context, body)


def _definitions_for(
    context: RequestContext, body: CompletionsBody, family: ModelFamily | None
) -> list[JsonObject]:
    if context.task or not takes_tools(family):
        return []
    if _are_callers_tools(context, body):
        return define_callers_tools(body, context.model)
    # Open WebUI would hand the nulls of a strict call to the tool in place of its defaults.
    host_runs = host_can_run(context, body) and host_should_run(context, ())
    is_strict = context.settings.enable_strict_tool_calling and not host_runs
    return define_host_tools(body, context.model, HOSTS_OWN_TOOLS if is_strict else None)


def _are_callers_tools(context: RequestContext, body: CompletionsBody) -> bool:
    """Open WebUI adds none of its own where the request brings tools (`process_chat_payload`)."""
    return not context.host.tools and bool(objects_in(body.get("tools")))


def _outcome(call: FunctionCallItem, result: ToolResult, room: OutputRoom) -> CallOutcome:
    output = ToolOutputItem(
        id=new_item_id("fco"),
        call_id=call.call_id,
        text=room.fit(result.text or "The tool returned nothing."),
        images=result.images,
        files=result.files,
        embeds=result.embeds,
        status="failed" if result.failed else "completed",
    )
    return CallOutcome(output, result.sources)


################################
# runtime.py
#
# The services of the process: made when first needed, replaced on reload, gone when idle.
################################

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
        self._key_limit: KeyLimit | None = None
        self._artifacts: ArtifactStore | None = None
        self._session_archive: SessionArchive | None = None
        self._ledger: SpendLedger | None = None
        self._account: tuple[str, str, bool] | None = None
        self._redis = SharedRedis()
        self.files = EncodedFiles()
        self._function_id = ""
        self._sync: MetadataSync | None = None
        self._leases = 0
        self._retired = False
        self.video_jobs = VideoJobs()
        self.look_at = 0.0
        """When to look again for videos that another worker left behind (monotonic seconds)."""
        self._beside: set[asyncio.Task[None]] = set()

    @property
    def gate(self) -> Gate:
        """The slots shared by every copy in the process."""
        return self._process.gate

    @contextmanager
    def lease(self, function_id: str, settings: Settings) -> Generator[None]:
        """Keep the services for one call."""
        self._function_id = function_id
        self._claim(function_id)
        if settings.log_level != logging.getLevelName(LOG.level):
            LOG.setLevel(settings.log_level)
        TIMING.follow(settings.timing_file, archiving=settings.archives.enabled)
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
        self._follow_account(settings)
        if self._registry is None:
            client = self.client()
            self._registry = OpenRouterModelRegistry(
                lambda settings, kept: fetch_models(client, settings, kept),
                fetch_zdr_ids=lambda settings: fetch_zdr_ids(client, settings),
                shelf=self._open_shelf(),
            )
        return self._registry

    def _open_shelf(self) -> CatalogShelf:
        account = sha256(repr(self._account).encode()).hexdigest()
        path = own_file("catalog.json", self._function_id)
        return CatalogShelf(path, account, self._redis)

    def vendors(self) -> list[str]:
        """Whose models the catalog in memory lists."""
        families = self._registry.known.families if self._registry is not None else ()
        return sorted({family.vendor for family in families if family.answers_chats})

    def key_limit(self, settings: Settings) -> KeyLimit:
        """What is left of the limit of the key that the settings name."""
        self._follow_account(settings)
        if self._key_limit is None:
            client = self.client()
            self._key_limit = KeyLimit(lambda settings: fetch_credit_left(client, settings))
        return self._key_limit

    def artifacts(self) -> ArtifactStore:
        """What keeps parts of answers for later turns, where the chats do not."""
        if self._artifacts is None:
            self._loop = asyncio.get_running_loop()
            self._artifacts = ArtifactStore(redis=self._redis)
        return self._artifacts

    def session_archive(self) -> SessionArchive:
        """What keeps the log of each answer, where the admin wants it kept."""
        if self._session_archive is None:
            self._loop = asyncio.get_running_loop()
            self._session_archive = SessionArchive()
        return self._session_archive

    def ledger(self) -> SpendLedger:
        """Where this copy writes down what was spent."""
        if self._ledger is None:
            self._loop = asyncio.get_running_loop()
            self._ledger = SpendLedger()
        return self._ledger

    def metadata_sync(self, function_id: str, settings: Settings) -> MetadataSync:
        """What keeps Open WebUI's rows of this function's models up to date."""
        self._follow_account(settings)
        if self._sync is None:
            client = self.client()
            self._sync = MetadataSync(
                function_id,
                FILTER_SOURCES,
                lambda settings, models: fetch_provider_slugs(client, settings, models),
                lambda address: Downloads().fetch(address, ICON_DOWNLOAD),
            )
        return self._sync

    @property
    def is_newest(self) -> bool:
        """Whether no newer copy has taken this one's place."""
        return not self._retired

    def retire(self) -> None:
        """Make way for a newer copy: close as soon as no call is left."""
        self._retired = True
        self._close_when_done()

    def run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that no call waits for."""
        task = asyncio.create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def close(self) -> None:
        """Retire, and wait until the connections are closed."""
        for task in self._beside:
            task.cancel()
        if self._beside:
            await asyncio.wait(self._beside)
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

    def _follow_account(self, settings: Settings) -> None:
        """Drop what was learnt of another account."""
        key = settings.api_key.fingerprint()
        account = (settings.base_url, key, settings.catalog.key_models_only)
        if self._account != account:
            self._drop_account()
            self._account = account

    def _close_when_done(self) -> None:
        if self._retired and not self._leases:
            self._drop_account()
            self._close_later(self._client, self._artifacts, self._ledger, self._session_archive)
            self._client, self._artifacts, self._ledger = None, None, None
            self._session_archive = None

    def _drop_account(self) -> None:
        self._close_later(self._sync, self._registry, self._key_limit)
        self._sync, self._registry, self._key_limit = None, None, None

    def _close_later(self, *services: Any) -> None:
        """Close in a task of its own: the caller may be cancelled, or not be async at all."""
        open_services = [service for service in services if service is not None]
        if not open_services or self._loop is None or self._loop.is_closed():
            return
        task = self._loop.create_task(_close_all(open_services))
        self._process.closing.add(task)
        task.add_done_callback(self._process.closing.discard)


def known_vendors(function_id: str) -> list[str]:
    """Whose models the catalog in memory lists, by the newest copy of a function."""
    runtime = process_state().current.get(function_id)
    return runtime.vendors() if runtime is not None else []


async def _close_all(services: list[Any]) -> None:
    for service in services:
        match service:
            case httpx.AsyncClient():
                await service.aclose()
            case _:
                await service.close()


################################
# attempts.py
#
# One request on its way: repaired, redirected or repeated until an answer comes of it.
################################

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


################################
# resuming.py
#
# Videos outlive the worker that asked for them: the next one sees them to their end.
################################

def resume_videos(runtime: Runtime, function_id: str, settings: Settings) -> None:
    """Look for such videos beside what a call does: once a minute, and on while there are any."""
    if settings.api_key and time.monotonic() >= runtime.look_at:
        runtime.look_at = math.inf
        runtime.run_beside(_resume_all(runtime, function_id, settings))


async def _resume_all(runtime: Runtime, function_id: str, settings: Settings) -> None:
    try:
        while runtime.is_newest:
            jobs, are_left = await whole_step(runtime.video_jobs.take_free(function_id))
            for job in jobs:
                LOG.info("videos: taking up the unfinished job %s", job.id)
                runtime.run_beside(_finish(runtime, job, settings))
            if not are_left:
                break
            await asyncio.sleep(CLAIM_SECONDS)
    except Exception:  # noqa: BLE001 - a background job is contained
        LOG.debug("videos: the list of unfinished ones could not be read", exc_info=True)
    runtime.look_at = time.monotonic() + CLAIM_SECONDS


async def _finish(runtime: Runtime, job: VideoJob, settings: Settings) -> None:
    fields = asdict(job)
    host = HostHandles(metadata=fields, event_emitter=emitter_for(fields))
    del fields["id"]
    context = RequestContext(request_id=new_request_id(), settings=settings, host=host, **fields)
    with runtime.lease(job.function_id, settings):
        is_there = await contained(has_message(context), None)
        if is_there is None:
            return  # the claim runs out, and a worker asks again
        try:
            if is_there:
                await _see_to_its_end(runtime, context, job)
        except Exception:  # noqa: BLE001 - a background job is contained
            LOG.exception("videos: the job %s could not be finished", job.id)
        # One try: what fails for good must not store a video every minute.
        with suppress(SQLAlchemyError):
            await runtime.video_jobs.forget(job.id)


async def _see_to_its_end(runtime: Runtime, context: RequestContext, job: VideoJob) -> None:
    """Do what the stream and Open WebUI would have done: statuses as they come, then the message.

    The job is held until the message is saved.
    """
    note = partial(runtime.ledger().note, context)
    watch = VideoWatch(context, runtime.video_jobs, note, job.id, is_kept=True)
    followed = follow_video(runtime.client(), context.settings, job.id, job.model)
    renderer = ResponseEvents(show_usage=context.settings.show_final_usage)
    ended: JsonObject = {"output": [], "done": True}
    async with aclosing(keep_files(watch.follow(followed), context)) as batches:
        async for batch in batches:
            for event in batch:
                if isinstance(event, ItemFinished) and isinstance(item := event.item, MessageItem):
                    ended["content"] = item.text
            for shown in renderer.render(batch):
                match shown:
                    case {"event": {"type": str(kind), "data": data}}:
                        await contained(send_event(context.host, kind, data), None)
                    case {"type": "response.output_item.done", "item": stored}:
                        ended["output"].append(stored)
                    case {"response": {"usage": usage}} | {"usage": usage}:
                        ended["usage"] = usage
                    case _:
                        pass
            end = batch[-1]
            if isinstance(end, ResponseFinished | ResponseFailed) and watch.is_ours:
                failure = end.error.for_person() if isinstance(end, ResponseFailed) else ""
                await finish_message(context, ended, failure)


################################
# rounds.py
#
# The rounds of one answer: the model calls tools, reads what they brought back, and goes on.
################################

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


################################
# orchestrator.py
#
# The turn: a slot, a request, its Events, and what the caller sees of them.
################################

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


################################
# pipe.py
#
# The entrance: what Open WebUI calls.
################################

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


################################
# Which source line stands where, for error messages: (here, there, count) in a file's entry says
# that `count` lines from line `here` of this file are the lines from `there` of that file.
################################

BUNDLE_MAP: dict[str, tuple[tuple[int, int, int], ...]] = {
    "core/ids.py": ((315, 9, 39),),
    "core/redaction.py": ((362, 9, 69),),
    "core/errors.py": ((459, 31, 181),),
    "storage/payload_codec.py": ((652, 26, 194),),
    "storage/archive_file.py": ((856, 20, 91),),
    "storage/unlock.py": ((957, 22, 112),),
    "core/circuit_breaker.py": ((1120, 8, 48),),
    "core/json_codec.py": ((1176, 11, 29),),
    "core/json_values.py": ((1213, 8, 31),),
    "core/hand_over.py": ((1252, 11, 31),),
    "core/media_types.py": ((1291, 5, 64),),
    "core/money.py": ((1363, 8, 15),),
    "core/process.py": ((1386, 10, 13),),
    "core/addresses.py": ((1410, 17, 170),),
    "core/admission.py": ((1588, 12, 50),),
    "core/retry.py": ((1646, 7, 33),),
    "core/secrets.py": ((1687, 19, 86),),
    "core/session_records.py": ((1781, 11, 45),),
    "core/source_map.py": ((1834, 7, 24),),
    "core/template_language.py": ((1866, 8, 56),),
    "core/valve_types.py": ((1932, 17, 63),),
    "core/archive_valves.py": ((2003, 13, 65),),
    "core/attachment_valves.py": ((2076, 13, 113),),
    "core/catalog_valves.py": ((2197, 12, 136),),
    "core/companion_valves.py": ((2341, 13, 71),),
    "core/metadata_valves.py": ((2420, 13, 87),),
    "core/personal_valves.py": ((2515, 11, 108),),
    "core/spend_valves.py": ((2631, 12, 71),),
    "core/storage_valves.py": ((2710, 13, 130),),
    "core/template_valves.py": ((2848, 13, 87),),
    "core/tool_valves.py": ((2943, 11, 76),),
    "core/config.py": ((3027, 25, 431),),
    "core/context.py": ((3466, 16, 61),),
    "core/logging_system.py": ((3535, 11, 105),),
    "core/error_templates.py": ((3648, 28, 176),),
    "core/timing_logger.py": ((3834, 21, 137),),
    "api/bodies.py": ((3979, 8, 80),),
    "api/error_figures.py": ((4067, 8, 38),),
    "api/errors.py": ((4113, 18, 188),),
    "api/events.py": ((4309, 13, 316),),
    "api/exchange_log.py": ((4633, 17, 15),),
    "api/gateway/batch.py": ((4659, 14, 47),),
    "api/gateway/items.py": ((4714, 22, 145),),
    "api/gateway/parsed_files.py": ((4867, 12, 36),),
    "api/gateway/part_ends.py": ((4911, 8, 58),),
    "api/gateway/payloads.py": ((4977, 14, 31),),
    "api/gateway/selection.py": ((5016, 15, 56),),
    "api/gateway/sound.py": ((5080, 11, 22),),
    "api/gateway/text_run.py": ((5110, 10, 70),),
    "api/pacing.py": ((5188, 7, 19),),
    "api/sse.py": ((5215, 5, 60),),
    "api/gateway/chat_reader.py": ((5283, 34, 230),),
    "api/gateway/responses_reader.py": ((5521, 34, 202),),
    "api/transport.py": ((5731, 18, 176),),
    "api/http.py": ((5915, 23, 176),),
    "api/catalog.py": ((6099, 22, 138),),
    "api/gateway/stream.py": ((6245, 33, 124),),
    "api/gateway/chat_completions.py": ((6377, 19, 16),),
    "api/gateway/images.py": ((6401, 19, 32),),
    "api/gateway/responses.py": ((6441, 15, 12),),
    "api/gateway/videos.py": ((6461, 37, 118),),
    "host/blocking.py": ((6587, 12, 57),),
    "host/columns.py": ((6656, 20, 88),),
    "host/data_folder.py": ((6752, 9, 7),),
    "host/database.py": ((6767, 16, 88),),
    "host/departure.py": ((6863, 11, 30),),
    "host/events.py": ((6901, 12, 19),),
    "host/chats.py": ((6928, 14, 100),),
    "host/functions.py": ((7039, 20, 87),),
    "host/kept_ids.py": ((7136, 11, 23),),
    "host/middleware.py": ((7167, 8, 7),),
    "host/citing.py": ((7182, 15, 25),),
    "host/redis.py": ((7215, 13, 83),),
    "host/single_worker.py": ((7306, 15, 30),),
    "host/users.py": ((7344, 14, 95),),
    "host/call.py": ((7447, 16, 64),),
    "host/files.py": ((7519, 19, 101),),
    "host/models.py": ((7628, 17, 133),),
    "host/tools.py": ((7772, 23, 241),),
    "host/versions.py": ((8021, 10, 30),),
    "filters/direct_uploads.py": ((8061, 2, 208),),
    "filters/provider_routing.py": ((8271, 2, 177),),
    "filters/search_toggle.py": ((8450, 2, 153),),
    "models/catalog_shelf.py": ((8615, 30, 138),),
    "models/key_limit.py": ((8761, 13, 43),),
    "models/pricing.py": ((8812, 12, 106),),
    "models/family.py": ((8926, 14, 147),),
    "models/icons.py": ((9081, 15, 44),),
    "models/variants.py": ((9133, 11, 67),),
    "models/known.py": ((9208, 12, 33),),
    "models/companions.py": ((9249, 17, 111),),
    "models/metadata_sync.py": ((9371, 25, 226),),
    "models/registry.py": ((9605, 22, 174),),
    "models/visibility.py": ((9787, 16, 219),),
    "models/entries.py": ((10014, 25, 66),),
    "models/sync_job.py": ((10088, 34, 191),),
    "storage/artifact_table.py": ((10287, 27, 103),),
    "storage/cost_snapshots.py": ((10398, 16, 41),),
    "storage/downloads.py": ((10451, 25, 186),),
    "storage/encoded_files.py": ((10645, 23, 134),),
    "storage/generated.py": ((10787, 16, 46),),
    "storage/artifact_cache.py": ((10844, 17, 68),),
    "storage/pictures.py": ((10920, 20, 137),),
    "storage/keeping.py": ((11065, 26, 80),),
    "storage/session_archive.py": ((11155, 43, 206),),
    "storage/spend_table.py": ((11369, 25, 98),),
    "storage/spend_ledger.py": ((11475, 24, 215),),
    "storage/budgets.py": ((11698, 18, 109),),
    "storage/spend_report.py": ((11815, 27, 112),),
    "storage/spending.py": ((11935, 20, 77),),
    "storage/video_jobs.py": ((12023, 19, 72),),
    "storage/video_watch.py": ((12103, 21, 98),),
    "storage/write_behind.py": ((12213, 25, 169),),
    "storage/artifacts.py": ((12393, 47, 407),),
    "storage/kept_thinking.py": ((12808, 15, 37),),
    "requests/allow_list.py": ((12853, 10, 28),),
    "requests/caching.py": ((12889, 15, 44),),
    "requests/content_parts.py": ((12941, 10, 76),),
    "requests/fallbacks.py": ((13025, 12, 13),),
    "requests/identifiers.py": ((13046, 11, 46),),
    "requests/modalities.py": ((13100, 12, 40),),
    "requests/old_texts.py": ((13148, 11, 65),),
    "requests/parameters.py": ((13221, 12, 59),),
    "requests/parsed_files.py": ((13290, 16, 44),),
    "requests/plugins.py": ((13342, 13, 20),),
    "requests/reasoning.py": ((13370, 13, 87),),
    "requests/references.py": ((13465, 12, 30),),
    "requests/replay.py": ((13503, 14, 124),),
    "requests/chat_body.py": ((13635, 16, 146),),
    "requests/history.py": ((13789, 14, 118),),
    "requests/next_round.py": ((13915, 22, 83),),
    "requests/recovery.py": ((14006, 16, 107),),
    "requests/retention.py": ((14121, 13, 86),),
    "requests/attachments.py": ((14215, 27, 322),),
    "requests/routing_table.py": ((14545, 14, 38),),
    "requests/routing.py": ((14591, 13, 39),),
    "requests/tasks.py": ((14638, 11, 35),),
    "requests/studio.py": ((14681, 16, 73),),
    "requests/tools.py": ((14762, 13, 41),),
    "requests/web_search.py": ((14811, 15, 62),),
    "requests/normalise.py": ((14881, 29, 44),),
    "streaming/collector.py": ((14933, 32, 266),),
    "streaming/completion_notes.py": ((15207, 12, 46),),
    "streaming/open_calls.py": ((15261, 10, 25),),
    "streaming/renderer.py": ((15294, 9, 13),),
    "streaming/citations.py": ((15315, 13, 57),),
    "streaming/layout.py": ((15384, 18, 61),),
    "streaming/output_items.py": ((15453, 20, 88),),
    "streaming/server_tools.py": ((15549, 15, 46),),
    "streaming/status.py": ((15603, 10, 47),),
    "streaming/think_tags.py": ((15658, 20, 134),),
    "streaming/thinking_status.py": ((15800, 11, 53),),
    "streaming/usage.py": ((15861, 10, 92),),
    "streaming/completion_chunks.py": ((15961, 31, 101),),
    "streaming/completion_dict.py": ((16070, 38, 113),),
    "streaming/response_events.py": ((16191, 48, 279),),
    "streaming/transcript.py": ((16478, 30, 130),),
    "tools/policy.py": ((16616, 13, 47),),
    "tools/results.py": ((16671, 11, 116),),
    "tools/schema.py": ((16798, 15, 298),),
    "tools/arguments.py": ((17104, 13, 113),),
    "tools/definitions.py": ((17225, 13, 76),),
    "tools/executor.py": ((17309, 55, 194),),
    "tools/toolbox.py": ((17511, 23, 130),),
    "runtime.py": ((17649, 38, 217),),
    "attempts.py": ((17874, 41, 90),),
    "resuming.py": ((17972, 31, 70),),
    "rounds.py": ((18050, 32, 192),),
    "orchestrator.py": ((18250, 55, 206),),
    "pipe.py": ((18464, 31, 115),),
}
