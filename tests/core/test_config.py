"""The valves: whatever the form sends becomes a setting; the snapshot never changes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.config import (
    DEFAULT_BASE_URL,
    Settings,
    SystemValves,
    take_snapshot,
)
from open_webui_openrouter_pipe.core.personal_valves import PersonalValves

FIELDS = [
    "API_KEY",
    "BASE_URL",
    "HTTP_CONNECT_TIMEOUT_SECONDS",
    "HTTP_TOTAL_TIMEOUT_SECONDS",
    "HTTP_SOCK_READ_SECONDS",
    "DEFAULT_LLM_ENDPOINT",
    "FORCE_RESPONSES_MODELS",
    "FORCE_CHAT_COMPLETIONS_MODELS",
    "MODEL_ID",
    "MODEL_VENDORS",
    "FREE_MODEL_FILTER",
    "TOOL_CALLING_FILTER",
    "MAX_PRICE_PER_MILLION_USD",
    "MODEL_SORT",
    "VARIANT_MODELS",
    "KEY_MODELS_ONLY",
    "ZDR_MODELS_ONLY",
    "ZDR_ENFORCE",
    "ALLOW_USER_ZDR_OVERRIDE",
    "MODEL_CATALOG_REFRESH_SECONDS",
    "MODEL_METADATA_SYNC",
    "UPDATE_MODEL_CAPABILITIES",
    "UPDATE_MODEL_IMAGES",
    "COPY_MODEL_IMAGES",
    "UPDATE_MODEL_DESCRIPTIONS",
    "UPDATE_MODEL_TAGS",
    "NEW_MODEL_ACCESS",
    "AUTO_INSTALL_ORS_FILTER",
    "AUTO_ATTACH_ORS_FILTER",
    "AUTO_DEFAULT_OPENROUTER_SEARCH_FILTER",
    "AUTO_INSTALL_PROVIDER_ROUTING_FILTER",
    "AUTO_ATTACH_PROVIDER_ROUTING_FILTER",
    "AUTO_DEFAULT_PROVIDER_ROUTING_FILTERS",
    "AUTO_INSTALL_DIRECT_UPLOADS_FILTER",
    "AUTO_ATTACH_DIRECT_UPLOADS_FILTER",
    "AUTO_DEFAULT_DIRECT_UPLOADS_FILTER",
    "ENABLE_REASONING",
    "REASONING_EFFORT",
    "REASONING_SUMMARY_MODE",
    "TASK_MODEL_REASONING_EFFORT",
    "THINKING_OUTPUT_MODE",
    "ENABLE_ANTHROPIC_INTERLEAVED_THINKING",
    "PERSIST_REASONING_TOKENS",
    "TOOL_OUTPUT_RETENTION_TURNS",
    "ARTIFACT_STORAGE",
    "ARTIFACT_ENCRYPTION_KEY",
    "ARTIFACT_ENCRYPTION_OLD_KEYS",
    "ENABLE_LZ4_COMPRESSION",
    "MIN_COMPRESS_BYTES",
    "DB_BATCH_SIZE",
    "ARTIFACT_CLEANUP_DAYS",
    "ARTIFACT_CLEANUP_INTERVAL_HOURS",
    "ENABLE_REDIS_CACHE",
    "REDIS_CACHE_TTL_SECONDS",
    "REDIS_WRITE_BEHIND",
    "REDIS_PENDING_WARN_THRESHOLD",
    "REDIS_FLUSH_FAILURE_LIMIT",
    "PROVIDER_ROUTING",
    "AUTO_CONTEXT_TRIMMING",
    "ANTHROPIC_PROMPT_CACHE_TTL",
    "HTTP_REFERER_OVERRIDE",
    "SEND_END_USER_ID",
    "SEND_SESSION_ID",
    "SEND_CHAT_ID",
    "SEND_MESSAGE_ID",
    "BASE64_MAX_SIZE_MB",
    "VIDEO_MAX_SIZE_MB",
    "MAX_INPUT_IMAGES_PER_REQUEST",
    "IMAGE_INPUT_SELECTION",
    "PDF_ENGINE",
    "REMOTE_FILE_MAX_SIZE_MB",
    "REMOTE_DOWNLOAD_TRUSTED_ORIGINS",
    "REMOTE_DOWNLOAD_MAX_RETRIES",
    "REMOTE_DOWNLOAD_INITIAL_RETRY_DELAY_SECONDS",
    "REMOTE_DOWNLOAD_MAX_RETRY_TIME_SECONDS",
    "TOOL_EXECUTION_MODE",
    "ENABLE_STRICT_TOOL_CALLING",
    "MAX_FUNCTION_CALL_LOOPS",
    "MAX_PARALLEL_TOOLS_PER_REQUEST",
    "MAX_PARALLEL_TOOLS_GLOBAL",
    "TOOL_TIMEOUT_SECONDS",
    "TOOL_BATCH_TIMEOUT_SECONDS",
    "BREAKER_MAX_FAILURES",
    "BREAKER_WINDOW_SECONDS",
    "PERSIST_TOOL_RESULTS",
    "SERVER_TOOLS_MAX_CALLS",
    "SERVER_TOOLS_MAX_COST_USD",
    "SHOW_FINAL_USAGE_STATUS",
    "LOW_CREDIT_WARNING_USD",
    "SPEND_LEDGER",
    "SPEND_RETENTION_DAYS",
    "BUDGETS_USD",
    "BUDGET_WARNING_PERCENT",
    "COSTS_REDIS_DUMP",
    "COSTS_REDIS_TTL_SECONDS",
    "MAX_CONCURRENT_REQUESTS",
    "MAX_QUEUED_REQUESTS",
    "LOG_LEVEL",
    "ENABLE_TIMING_LOG",
    "TIMING_LOG_FILE",
    "SESSION_LOG_STORE_ENABLED",
    "SESSION_LOG_PASSPHRASE",
    "SESSION_LOG_DIR",
    "SESSION_LOG_MAX_LINES",
    "SESSION_LOG_RETENTION_DAYS",
    "SESSION_LOG_CLEANUP_INTERVAL_SECONDS",
    "SUPPORT_EMAIL",
    "SUPPORT_URL",
    "OPENROUTER_ERROR_TEMPLATE",
    "AUTHENTICATION_ERROR_TEMPLATE",
    "INSUFFICIENT_CREDITS_TEMPLATE",
    "RATE_LIMIT_TEMPLATE",
    "SERVER_TIMEOUT_TEMPLATE",
    "PAYLOAD_TOO_LARGE_TEMPLATE",
    "NETWORK_TIMEOUT_TEMPLATE",
    "CONNECTION_ERROR_TEMPLATE",
    "SERVICE_ERROR_TEMPLATE",
    "INTERNAL_ERROR_TEMPLATE",
    "MODEL_RESTRICTED_TEMPLATE",
    "ENDPOINT_OVERRIDE_CONFLICT_TEMPLATE",
    "STREAM_INTERRUPTED_TEMPLATE",
]
SENT = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=20)
    | st.sampled_from(["1e999", "nan", " 7 ", "debug"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.delenv("OPENROUTER_API_BASE_URL", raising=False)


def snapshot(**valves: Any) -> Settings:
    return take_snapshot(SystemValves(**valves))


@given(st.dictionaries(st.sampled_from([*FIELDS, "UNKNOWN"]), SENT))
def test_valves_take_whatever_the_form_sends(sent: dict[str, Any]) -> None:
    valves = SystemValves(**sent)
    settings = take_snapshot(valves)
    assert 1 <= settings.connect_timeout <= 300
    assert 1 <= settings.max_concurrent_requests <= 2_000
    assert settings.log_level in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    stored = valves.model_dump(exclude_unset=True)
    assert stored.keys() == sent.keys() - {"UNKNOWN"}
    assert SystemValves(**stored).model_dump(exclude_unset=True) == stored


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (30, 30),
        ("30", 30),
        (" 30.9 ", 30),
        (0, 1),
        (-5.5, 1),
        (10**400, 10),
        (301, 300),
        ("", 10),
        (None, 10),
        ("soon", 10),
        (float("nan"), 10),
        (float("inf"), 10),
        ([3], 10),
    ],
)
def test_a_number_is_clamped_or_falls_back(sent: Any, read: int) -> None:
    assert snapshot(HTTP_CONNECT_TIMEOUT_SECONDS=sent).connect_timeout == read


@pytest.mark.parametrize(
    ("sent", "read"), [("debug", "DEBUG"), (" Error ", "ERROR"), ("loud", "INFO"), (None, "INFO")]
)
def test_a_log_level_is_read_or_falls_back(sent: Any, read: str) -> None:
    assert snapshot(LOG_LEVEL=sent).log_level == read


def test_the_form_shows_the_groups_in_reading_order_and_masks_the_key() -> None:
    properties = SystemValves.model_json_schema()["properties"]
    assert list(properties) == FIELDS
    assert all(field["title"] and field["description"] for field in properties.values())
    assert properties["API_KEY"]["type"] == "string"


def test_the_form_draws_every_field() -> None:
    """Open WebUI draws no field at all for a text with an input of a kind it does not know."""
    properties = SystemValves.model_json_schema()["properties"]
    own = PersonalValves.model_json_schema()["properties"]
    kinds = {
        field["input"]["type"]
        for field in [*properties.values(), *own.values()]
        if "input" in field
    }
    assert kinds <= {"password", "select", "multiselect", "color"}
    assert properties["API_KEY"]["input"] == {"type": "password"}
    assert {field["type"] for field in properties.values()} == {
        "string",
        "integer",
        "number",
        "boolean",
        "array",
    }


def test_the_templates_are_texts_of_many_lines_and_built_in_unless_written() -> None:
    properties = SystemValves.model_json_schema()["properties"]
    for name in (name for name in FIELDS if name.endswith("_TEMPLATE")):
        # Open WebUI shows a field that grows for a string without an input type.
        assert (properties[name]["type"], properties[name]["default"]) == ("string", "")
        assert "input" not in properties[name]
        key = name.removesuffix("_TEMPLATE").lower()
        assert getattr(snapshot().error_templates, key) == ""
        assert getattr(snapshot(**{name: " a\nb "}).error_templates, key) == "a\nb"
    settings = snapshot(SUPPORT_EMAIL="it@example.org", SUPPORT_URL=None)
    assert settings.error_templates.support_email == "it@example.org"
    assert settings.error_templates.support_url == ""


@pytest.mark.parametrize(
    ("admin", "own", "read"),
    [
        ({}, {}, "auto"),
        ({"TOOL_EXECUTION_MODE": "pipeline"}, {}, "Pipeline"),
        ({"TOOL_EXECUTION_MODE": "Pipeline"}, {"TOOL_EXECUTION_MODE": "inherit"}, "Pipeline"),
        ({"TOOL_EXECUTION_MODE": "Pipeline"}, {"TOOL_EXECUTION_MODE": "open-webui"}, "Open-WebUI"),
        ({"TOOL_EXECUTION_MODE": "Pipeline"}, {"TOOL_EXECUTION_MODE": "auto"}, "auto"),
    ],
)
def test_each_person_chooses_who_runs_their_tools(
    admin: dict[str, Any], own: dict[str, Any], read: str
) -> None:
    settings = take_snapshot(SystemValves(**admin), PersonalValves(**own))
    assert settings.tool_execution_mode == read


def test_the_limits_of_tools_are_read_and_kept_in_range() -> None:
    settings = snapshot(
        MAX_FUNCTION_CALL_LOOPS=0,
        MAX_PARALLEL_TOOLS_PER_REQUEST=99,
        MAX_PARALLEL_TOOLS_GLOBAL="7",
        TOOL_TIMEOUT_SECONDS=30,
        TOOL_BATCH_TIMEOUT_SECONDS=90,
        BREAKER_MAX_FAILURES=3,
        BREAKER_WINDOW_SECONDS=1,
        PERSIST_TOOL_RESULTS="false",
        ENABLE_STRICT_TOOL_CALLING="false",
    )
    assert settings.max_function_call_loops == 1
    assert settings.max_parallel_tools_per_request == 50
    assert settings.max_parallel_tools_global == 7
    assert (settings.tool_timeout, settings.tool_batch_timeout) == (30.0, 90.0)
    assert (settings.breaker_max_failures, settings.breaker_window) == (3, 5.0)
    assert not settings.persist_tool_results
    assert not settings.enable_strict_tool_calling


@pytest.mark.parametrize(
    ("sent", "read"),
    [("0.5", 0.5), (2, 2.0), (-1, 0.0), ("", 0.0), (None, 0.0), ("nan", 0.0), ("a lot", 0.0)],
)
def test_an_amount_of_money_is_read_or_falls_back(sent: Any, read: float) -> None:
    assert snapshot(SERVER_TOOLS_MAX_COST_USD=sent).server_tools_max_cost == read


def test_the_timing_log_has_a_file_only_while_it_is_on() -> None:
    assert snapshot().timing_file == ""
    assert snapshot(ENABLE_TIMING_LOG=True).timing_file == "logs/timing.jsonl"
    assert snapshot(ENABLE_TIMING_LOG="true", TIMING_LOG_FILE="/a/b").timing_file == "/a/b"


def test_the_schema_gives_nothing_of_the_environment_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-violet")
    assert "violet" not in str(SystemValves.model_json_schema())
    assert "violet" not in repr(SystemValves()) + repr(snapshot())


def test_the_defaults_make_usable_settings() -> None:
    settings = snapshot()
    assert settings.base_url == DEFAULT_BASE_URL
    assert settings.total_timeout is None
    assert settings.catalog.model_ids == ()
    assert not settings.api_key


def test_what_is_left_empty_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-from-env")
    monkeypatch.setenv("OPENROUTER_API_BASE_URL", "https://eu.example/v1/")
    for settings in (snapshot(), snapshot(API_KEY=" ", BASE_URL=" ")):
        assert settings.api_key.reveal() == "sk-from-env"
        assert settings.base_url == "https://eu.example/v1"
    own = snapshot(API_KEY="sk-own", BASE_URL=" https://own.example/v1// ")
    assert (own.api_key.reveal(), own.base_url) == ("sk-own", "https://own.example/v1")


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("auto", ()),
        ("", ()),
        (" , \n", ()),
        ("openai/a, AUTO", ()),
        ("openai/a,\n b/c:free ,", ("openai/a", "b/c:free")),
    ],
)
def test_the_list_of_models_is_read(text: str, ids: tuple[str, ...]) -> None:
    assert snapshot(MODEL_ID=text).catalog.model_ids == ids


def test_a_snapshot_keeps_its_values() -> None:
    valves = SystemValves(HTTP_TOTAL_TIMEOUT_SECONDS=60)
    settings = take_snapshot(valves)
    valves.HTTP_TOTAL_TIMEOUT_SECONDS = 5
    assert settings.total_timeout == 60
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.total_timeout = 5.0  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("name", "admin", "own", "value"),
    [
        ("thinking_output", {}, {}, "open_webui"),
        ("thinking_output", {"THINKING_OUTPUT_MODE": "status"}, {}, "status"),
        ("thinking_output", {}, {"THINKING_OUTPUT_MODE": "both"}, "both"),
        ("thinking_output", {"THINKING_OUTPUT_MODE": "loud"}, {}, "open_webui"),
        ("interleaved_thinking", {}, {}, True),
        ("interleaved_thinking", {}, {"ENABLE_ANTHROPIC_INTERLEAVED_THINKING": "off"}, False),
        ("reasoning_retention", {}, {}, "conversation"),
        ("reasoning_retention", {"PERSIST_REASONING_TOKENS": "disabled"}, {}, "disabled"),
        ("reasoning_retention", {}, {"PERSIST_REASONING_TOKENS": "next_reply"}, "next_reply"),
        ("reasoning_retention", {}, {"PERSIST_REASONING_TOKENS": "for ever"}, "conversation"),
        ("tool_output_retention", {}, {}, 10),
        ("tool_output_retention", {"TOOL_OUTPUT_RETENTION_TURNS": -1}, {}, 0),
    ],
)
def test_what_is_remembered_and_shown_is_chosen_by_admin_and_user(
    name: str, admin: dict[str, Any], own: dict[str, Any], value: Any
) -> None:
    valves = SystemValves.model_validate(admin)
    settings = take_snapshot(valves, PersonalValves.model_validate(own))
    assert getattr(settings, name) == value
