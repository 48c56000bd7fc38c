"""Syncs inside the installed Open WebUI, on a database of their own; prints what they left.

Run by the host's own Python, with the bundle's path: `row_scenarios.py dist/pipe.py`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import open_webui.config  # pyright: ignore[reportMissingImports] # makes the tables
import open_webui.utils.redis  # pyright: ignore[reportMissingImports]
from open_webui.internal.db import async_engine  # pyright: ignore[reportMissingImports]
from open_webui.models.config import Config  # pyright: ignore[reportMissingImports]
from open_webui.models.models import ModelForm, Models  # pyright: ignore[reportMissingImports]
from open_webui.models.users import Users  # pyright: ignore[reportMissingImports]
from sqlalchemy import text

OURS = "openrouter.a.m0"


def flat_pipe(path: str) -> ModuleType:
    """The bundle as Open WebUI loads it."""
    module = ModuleType("function_openrouter")
    sys.modules[module.__name__] = module
    exec(Path(path).read_text(encoding="utf-8"), module.__dict__)
    return module


async def no_providers(settings: Any, models: Any) -> list[str]:
    return []


async def an_icon(address: str) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + address.encode()


class Stage:
    """A pipe, and the rows it keeps."""

    def __init__(self, pipe: ModuleType) -> None:
        self.pipe = pipe
        self.function_id = "openrouter"
        self.log: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.log.append(record.getMessage())
        pipe.LOG.addHandler(handler)
        pipe.LOG.setLevel("INFO")

    def new_job(self) -> Any:
        """A copy of the pipe that knows nothing of the ones before, as after a restart."""
        sources = self.pipe.FILTER_SOURCES
        return self.pipe.MetadataSync(self.function_id, sources, no_providers, an_icon)

    async def sync(self, count: int, description: str = "first", **valves: Any) -> None:
        """One sync by a new copy."""
        job = self.new_job()
        job.look(*self.occasion(count, description, **valves))
        await job.finished()

    async def picture_of_a_copy(self) -> str:
        """What stands in the row of a model whose icon is kept as a copy."""
        settings = self.pipe.take_snapshot(self.pipe.SystemValves(COPY_MODEL_IMAGES=True))
        job = self.new_job()
        job.look(self.pipe.know_models([self.pipe.ModelFamily("qwen/q", "Q")]), settings)
        await job.finished()
        row = await Models.get_model_by_id(f"{self.function_id}.qwen.q")
        return row.meta.profile_image_url

    async def stop_early(self, count: int) -> None:
        """A sync that is switched off after the first rows."""
        job = self.new_job()
        job.look(*self.occasion(count))
        while not any(row_id.startswith(self.function_id) for row_id in await look()):
            pass
        job.look(*self.occasion(count, MODEL_METADATA_SYNC="off"))
        await job.finished()

    def occasion(self, count: int, description: str = "first", **valves: Any) -> tuple[Any, Any]:
        """A catalog, and the settings."""
        pipe = self.pipe
        valves = {"UPDATE_MODEL_DESCRIPTIONS": True, **valves}
        families = tuple(
            pipe.ModelFamily(f"a/m{number}", f"A: M{number}", description=description)
            for number in range(count)
        )
        settings = pipe.take_snapshot(pipe.SystemValves.model_validate(valves))
        return pipe.know_models(families), settings

    async def save(self, row_id: str, description: str) -> None:
        """What the page of models sends when an admin has changed the description."""
        row = await Models.get_model_by_id(row_id)
        form = ModelForm(**{**row.model_dump(), "access_grants": None})
        form.meta.description = description
        await Models.update_model_by_id(row_id, form)


async def writes() -> int:
    """How many versions of rows there are; Open WebUI before 0.12 keeps none."""
    async with async_engine.connect() as connection:
        try:
            return (await connection.execute(text("SELECT count(*) FROM model_history"))).scalar()
        except Exception:  # noqa: BLE001 - there is no such table
            return 0


async def look() -> dict[str, Any]:
    rows = await Models.get_all_models()
    return {
        row.id: {
            "description": row.meta.description,
            "active": row.is_active,
            "grants": [(grant.principal_type, grant.principal_id) for grant in row.access_grants],
            "tags": [tag["name"] for tag in row.meta.model_dump().get("tags", [])],
        }
        for row in rows
    }


async def play(path: str) -> dict[str, Any]:
    await Users.insert_new_user("ada", "Ada", "ada@example.com", role="admin")
    stage = Stage(flat_pipe(path))
    seen: dict[str, Any] = {}
    await stage.sync(3, MODEL_METADATA_SYNC="dry_run")
    seen["dry_run"], seen["dry_log"] = await look(), list(stage.log)
    async with stage.pipe.only_worker("openrouter:rows", 60):
        await stage.sync(3)
    seen["at_work_elsewhere"] = await look()
    await stage.sync(3)
    seen["first"], seen["first_writes"] = await look(), await writes()
    await stage.sync(3)
    seen["second_writes"] = await writes()
    await stage.save(OURS, "the admin's")
    await Models.toggle_model_by_id("openrouter.a.m1")
    await Models.delete_model_by_id("openrouter.a.m2")
    for description in ("second", "third", "fourth"):
        await stage.sync(4, description, NEW_MODEL_ACCESS="public")
    seen["later"] = await look()
    await stage.sync(3, "fourth", KEY_MODELS_ONLY=True)
    seen["out_of_reach"] = await look()
    await stage.sync(3, "fourth")
    seen["vanished"] = await look()
    return seen | await play_on(stage)


async def play_on(stage: Stage) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    before = stage.pipe.ModelRow(OURS, "stale")
    seen["stale_written"] = await stage.pipe.update_model_row(before, before)
    seen["twice"] = await stage.pipe.insert_model_row(before, is_public=True)
    seen["end"] = await look()
    await stage.sync(3, "fourth", MODEL_ID="a/*, b/not an id, b/c")
    seen["refused"] = await look()
    open_webui.config.BYPASS_ADMIN_ACCESS_CONTROL = False
    await stage.sync(5, "fourth")
    seen["would_hide"] = await look()
    await stage.sync(5, "fourth", NEW_MODEL_ACCESS="public")
    seen["hides_nothing"] = await look()
    Config.PERSISTENT_ENABLED = False
    await Models.delete_model_by_id(OURS)
    await stage.sync(5, "fourth", NEW_MODEL_ACCESS="public")
    seen["deleted_again"] = await look()
    open_webui.utils.redis.REDIS_URL = "redis://127.0.0.1:1"  # where nobody listens
    await stage.sync(6, "fourth", NEW_MODEL_ACCESS="public")
    seen["without_redis"] = await look()
    stage.function_id = "large"
    await stage.sync(101, NEW_MODEL_ACCESS="public")
    seen["log"] = list(stage.log)
    open_webui.config.BYPASS_ADMIN_ACCESS_CONTROL = True
    stage.function_id = "pictured"
    seen["picture"] = await stage.picture_of_a_copy()
    stage.function_id = "halted"
    await stage.stop_early(50)
    seen["halted"] = [row_id for row_id in await look() if row_id.startswith("halted")]
    return seen


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(play(sys.argv[1]))) + "\n")
