"""The valves for tools: who runs them, within which limits, and how far OpenRouter's own may go."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from .valve_types import Switch, amount, one_of, whole_number

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
