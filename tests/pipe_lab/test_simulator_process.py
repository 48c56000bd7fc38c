"""The simulator as a process of its own, scripted and asked from here."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import httpx
import pytest

from pipe_lab.simulator import RemoteSimulator, Reply, text_reply

BODY = {"model": "openai/gpt-4o", "input": "hi", "stream": True}


@pytest.fixture
async def process() -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipe_lab.simulator", "--pace", "0", "--deltas", "12"),
        stdout=asyncio.subprocess.PIPE,
    )
    yield running
    if running.returncode is None:
        running.terminate()
    await running.wait()


@pytest.fixture
async def remote(process: asyncio.subprocess.Process) -> AsyncIterator[RemoteSimulator]:
    assert process.stdout
    address = (await process.stdout.readline()).decode().strip()
    async with RemoteSimulator(address) as simulator:
        yield simulator


@pytest.fixture
async def client(remote: RemoteSimulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer sk-test"}
    http = httpx.AsyncClient(base_url=remote.base_url, headers=headers, verify=False)
    async with http:
        yield http


async def test_scripts_requests_release_and_reset_work_from_outside(
    remote: RemoteSimulator, client: httpx.AsyncClient
) -> None:
    await remote.script(text_reply("scripted"), model="openai/gpt-4o")
    await remote.script(Reply(status=418, body=b"\xff"), path="/responses")
    assert "scripted" in (await client.post("/responses", json=BODY)).text
    teapot = await client.post("/responses", json=BODY)
    assert (teapot.status_code, teapot.content) == (418, b"\xff")

    await remote.script(Reply(events=["a\n", b"\xfe\n"], stall_after=1))
    async with client.stream("POST", "/responses", json=BODY) as response:
        await remote.wait_for(lambda s: s.open_streams == 1)
        await remote.release()
        assert await response.aread() == b"a\n\xfe\ndata: [DONE]\n\n"
    await remote.wait_for(lambda s: s.requests[2].finished)
    assert remote.requests[0].body == BODY
    assert remote.requests[0].headers["authorization"] == "Bearer sk-test"

    await remote.reset()
    assert (await remote.refresh()).requests == []
    # With nothing scripted, `--deltas` shapes the answer.
    answer = await client.post("/responses", json=BODY)
    assert answer.text.count('"response.output_text.delta"') == 12


async def test_the_process_ends_on_sigterm(
    process: asyncio.subprocess.Process, remote: RemoteSimulator
) -> None:
    await remote.refresh()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 5) == 0
