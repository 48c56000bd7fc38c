"""The lab's own server: what it tells when it cannot start, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pipe_lab.host.install import ensure_open_webui
from pipe_lab.host.server import OpenWebUIServer, ServerError, ServerSettings
from tests.live.stage import Stage

pytestmark = [pytest.mark.live, pytest.mark.asyncio(loop_scope="session")]


async def test_a_server_that_cannot_start_shows_the_end_of_its_log(tmp_path: Path) -> None:
    python = await asyncio.to_thread(ensure_open_webui)
    unusable = {"DATABASE_URL": "sqlite:////nowhere/webui.db"}
    server = OpenWebUIServer(python, ServerSettings(tmp_path, environment=unusable))

    with pytest.raises(ServerError, match="unable to open database file"):
        await server.start()


async def test_the_server_serves_from_one_process_of_its_own_group(stage: Stage) -> None:
    assert os.getpgid(stage.server.pid) == stage.server.pid != os.getpgid(0)


async def test_an_attached_pdf_is_read_without_any_embedding_model(
    stage: Stage, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(pdf_with("Dear reader"))

    stored = await stage.admin.upload(letter)

    assert (stored["data"]["status"], stored["data"]["content"]) == ("completed", "Dear reader")


def pdf_with(text: str) -> bytes:
    """The smallest PDF that says something."""
    drawing = f"BT /F1 12 Tf 10 100 Td ({text}) Tj ET"
    font = "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
    page = (
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
        f"/Resources<</Font<</F1 {font}>>>>>>"
    )
    objects = (
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        page,
        f"<</Length {len(drawing)}>>stream\n{drawing}\nendstream",
    )
    body, places = "%PDF-1.4\n", ""
    for number, content in enumerate(objects, start=1):
        places += f"{len(body):010d} 00000 n \n"
        body += f"{number} 0 obj{content}endobj\n"
    table = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{places}"
    trailer = f"trailer<</Root 1 0 R/Size {len(objects) + 1}>>\nstartxref\n{len(body)}\n%%EOF"
    return (body + table + trailer).encode()
