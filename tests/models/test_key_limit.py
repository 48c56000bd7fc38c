"""What is left on the key: asked beside the answers, every few minutes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from open_webui_openrouter_pipe.core.config import Settings, SystemValves, take_snapshot
from open_webui_openrouter_pipe.core.errors import ConnectionFailedError
from open_webui_openrouter_pipe.models.key_limit import KeyLimit

SETTINGS = take_snapshot(SystemValves.model_validate({"API_KEY": "sk-test"}))


@dataclass
class Upstream:
    answers: list[Any]
    now: float = 0.0
    asked: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    async def fetch(self, settings: Settings) -> float | None:
        self.asked += 1
        if not self.answers:
            await asyncio.Event().wait()
        answer = self.answers.pop(0)
        self.answered.set()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask(self, limit: KeyLimit) -> float | None:
        """Look, and let the question be answered."""
        self.answered.clear()
        limit.look(SETTINGS)
        await self.answered.wait()
        await asyncio.sleep(0)
        return limit.left


async def test_nobody_waits_for_the_answer_and_it_stays_fresh_for_minutes() -> None:
    upstream = Upstream([8.75, None])
    limit = KeyLimit(upstream.fetch, clock=lambda: upstream.now)
    limit.look(SETTINGS)
    assert limit.left is None
    await upstream.answered.wait()
    await asyncio.sleep(0)
    limit.look(SETTINGS)
    assert (limit.left, upstream.asked) == (8.75, 1)

    upstream.now = 301.0
    assert await upstream.ask(limit) is None
    assert upstream.asked == 2


@pytest.mark.parametrize("failure", [ConnectionFailedError("x"), RuntimeError("x")])
async def test_a_failure_keeps_what_was_known(failure: Exception) -> None:
    upstream = Upstream([3.0, failure])
    limit = KeyLimit(upstream.fetch, clock=lambda: upstream.now)
    await upstream.ask(limit)
    upstream.now = 301.0
    assert await upstream.ask(limit) == 3.0


async def test_closing_stops_the_question() -> None:
    upstream = Upstream([])
    limit = KeyLimit(upstream.fetch, clock=lambda: upstream.now)
    limit.look(SETTINGS)
    await asyncio.sleep(0)
    await limit.close()
    limit.look(SETTINGS)
    assert (upstream.asked, len(asyncio.all_tasks())) == (1, 1)
