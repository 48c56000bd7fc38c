"""The settings: what the admin sees in Open WebUI's form, and the snapshot a request works with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from .secrets import EncryptedStr
from .template_valves import ErrorTemplates, ErrorTemplateValves, read_error_templates
from .valve_types import Secret, Switch, Text, amount, one_of, whole_number

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"

_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


LogLevel = Annotated[
    Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], one_of(*_LOG_LEVELS, fallback="INFO")
]
ReasoningEffort = Literal["auto", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
SummaryMode = Literal["auto", "concise", "detailed", "disabled"]
EndpointChoice = Literal["responses", "chat_completions"]
CacheTtl = Literal["off", "5m", "1h"]
OwnEffort = Literal["inherit", "none", "minimal", "low", "medium", "high", "xhigh", "max"]
OwnSummaryMode = Literal["inherit", "auto", "concise", "detailed", "disabled"]
OwnSwitch = Literal["inherit", "on", "off"]
ToolExecutionMode = Literal["auto", "Pipeline", "Open-WebUI"]
OwnToolExecutionMode = Literal["inherit", "auto", "Pipeline", "Open-WebUI"]
ThinkingOutput = Literal["open_webui", "status", "both"]
OwnThinkingOutput = Literal["inherit", "open_webui", "status", "both"]
ReasoningRetention = Literal["disabled", "next_reply", "conversation"]
MetadataSyncMode = Literal["on", "dry_run", "off"]
NewModelAccess = Literal["private", "public"]
OwnReasoningRetention = Literal["inherit", "disabled", "next_reply", "conversation"]


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
        json_schema_extra={"input": {"type": "text"}},
    )
    FORCE_CHAT_COMPLETIONS_MODELS: Text = Field(
        default="",
        title="Models on /chat/completions",
        description="Comma-separated ids or patterns, such as `mistralai/*`.",
        json_schema_extra={"input": {"type": "text"}},
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
        json_schema_extra={"input": {"type": "text"}},
    )


# Pydantic collects fields from the last base to the first: the form shows the connection first.
class SystemValves(
    ErrorTemplateValves,
    LoggingValves,
    ConcurrencyValves,
    DisplayValves,
    ServerToolValves,
    ToolValves,
    CachingValves,
    HistoryValves,
    ReasoningValves,
    MetadataValves,
    CatalogValves,
    EndpointValves,
    ConnectionValves,
):
    """Everything an admin can set."""

    model_config = ConfigDict(extra="ignore")


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
    SHOW_FINAL_USAGE_STATUS: Annotated[
        OwnSwitch, one_of(*get_args(OwnSwitch), fallback="inherit")
    ] = Field(
        default="inherit",
        title="Closing status",
        description="Whether time, tokens and cost are told with each answer.",
    )


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
    metadata_sync: str
    update_capabilities: bool
    update_images: bool
    update_descriptions: bool
    update_tags: bool
    new_models_are_public: bool
    default_endpoint: str
    force_responses: tuple[str, ...]
    force_chat_completions: tuple[str, ...]
    anthropic_cache_ttl: str
    """Empty for no caching."""
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
    show_final_usage: bool
    low_credit: float
    """USD; 0 for no warning."""
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
        model_ids=_read_model_ids(valves.MODEL_ID),
        catalog_refresh=float(valves.MODEL_CATALOG_REFRESH_SECONDS),
        metadata_sync=valves.MODEL_METADATA_SYNC,
        update_capabilities=valves.UPDATE_MODEL_CAPABILITIES,
        update_images=valves.UPDATE_MODEL_IMAGES,
        update_descriptions=valves.UPDATE_MODEL_DESCRIPTIONS,
        update_tags=valves.UPDATE_MODEL_TAGS,
        new_models_are_public=valves.NEW_MODEL_ACCESS == "public",
        default_endpoint=valves.DEFAULT_LLM_ENDPOINT,
        force_responses=_read_list(valves.FORCE_RESPONSES_MODELS),
        force_chat_completions=_read_list(valves.FORCE_CHAT_COMPLETIONS_MODELS),
        anthropic_cache_ttl=valves.ANTHROPIC_PROMPT_CACHE_TTL.replace("off", ""),
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
        show_final_usage=_own_switch(own.SHOW_FINAL_USAGE_STATUS, valves.SHOW_FINAL_USAGE_STATUS),
        low_credit=float(valves.LOW_CREDIT_WARNING_USD),
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


def _read_list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (part.strip() for part in text.replace("\n", ",").split(","))))


def _read_model_ids(text: str) -> tuple[str, ...]:
    ids = _read_list(text)
    return () if not ids or any(model_id.lower() == "auto" for model_id in ids) else ids
