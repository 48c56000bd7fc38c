"""What a person waits for: the first word, and the list of models."""

from __future__ import annotations

import time

from pipe_lab.host.client import OpenWebUIClient

from .server_cost import Site

PROMPT = "#stream deltas=200 pause_ms=0"


async def first_word_in_chat(site: Site, model: str) -> float:
    """Seconds from sending a message to its first word on the page."""
    started = time.perf_counter()
    turn = await site.page.send(model, PROMPT)
    await turn.reply.first_word()
    waited = time.perf_counter() - started
    await turn.done()
    return waited


async def first_word_over_api(site: Site, model: str) -> float:
    """Seconds from the request to the first chunk with text."""
    body = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    started = time.perf_counter()
    waited = 0.0
    async for chunk in site.client.stream(body):
        if not waited and any(c["delta"].get("content") for c in chunk.get("choices") or ()):
            waited = time.perf_counter() - started
    return waited


async def model_list(client: OpenWebUIClient) -> float:
    """Seconds for the list a page asks for when it opens."""
    started = time.perf_counter()
    await client.get("/api/models")
    return time.perf_counter() - started
