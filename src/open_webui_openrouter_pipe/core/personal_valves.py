"""What each user can set for themselves."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from .valve_types import Switch, Text, one_of

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
