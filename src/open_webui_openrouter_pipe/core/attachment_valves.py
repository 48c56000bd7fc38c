"""The valves for what people attach and link to, and the value object they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from .addresses import AddressRules, read_origins
from .valve_types import Text, one_of, split_list, whole_number

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
