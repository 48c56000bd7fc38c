"""The services of the process: made when first needed, replaced on reload, gone when idle."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import httpx

from .api.catalog import fetch_credit_left, fetch_models, fetch_provider_slugs, fetch_zdr_ids
from .api.http import open_client
from .core.admission import Gate
from .core.config import Settings
from .core.logging_system import LOG, install_session_logger
from .core.process import shared_by_process
from .core.timing_logger import TIMING
from .filters.sources import FILTER_SOURCES
from .host.data_folder import own_file
from .host.redis import SharedRedis
from .models.catalog_shelf import CatalogShelf
from .models.icons import ICON_DOWNLOAD
from .models.key_limit import KeyLimit
from .models.registry import OpenRouterModelRegistry
from .models.sync_job import MetadataSync
from .storage.artifacts import ArtifactStore
from .storage.downloads import Downloads
from .storage.encoded_files import EncodedFiles
from .storage.session_archive import SessionArchive
from .storage.spend_ledger import SpendLedger
from .storage.video_jobs import VideoJobs


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
