"""The valves that say where what the chat needs again is kept, and the value object they become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, Field

from .secrets import EncryptedStr
from .valve_types import Secret, Switch, amount, one_of, whole_number

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
