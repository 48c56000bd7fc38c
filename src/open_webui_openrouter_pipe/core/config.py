"""The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from .archive_valves import ArchiveRules, ArchiveValves, read_archive_rules
from .attachment_valves import AttachmentRules, AttachmentValves, read_attachment_rules
from .catalog_valves import CatalogRules, CatalogValves, read_catalog_rules
from .companion_valves import CompanionRules, CompanionValves, read_companion_rules
from .metadata_valves import MetadataRules, MetadataValves, read_metadata_rules
from .personal_valves import PersonalValves
from .secrets import EncryptedStr
from .spend_valves import SpendRules, SpendValves, read_spend_rules
from .storage_valves import ArtifactRules, StorageValves, read_artifact_rules
from .template_valves import ErrorTemplates, ErrorTemplateValves, read_error_templates
from .tool_valves import ServerToolValves, ToolValves
from .valve_types import Secret, Switch, Text, one_of, split_list, whole_number

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
