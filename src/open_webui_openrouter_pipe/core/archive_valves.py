"""The valves of the session archives, and the value object they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, Field

from .secrets import EncryptedStr
from .valve_types import Secret, Switch, Text, whole_number

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
