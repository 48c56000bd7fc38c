"""Files as people attach them."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pipe_lab.host.client import OpenWebUIClient

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"


async def attach(client: OpenWebUIClient, name: str, content: bytes) -> dict[str, Any]:
    """Upload a file, and give the entry that the page puts into the message."""
    path = Path(mkdtemp()) / name
    path.write_bytes(content)
    stored = await client.upload(path)
    shutil.rmtree(path.parent)
    is_image = stored["meta"]["content_type"].startswith("image/")
    url = f"/api/v1/files/{stored['id']}/content" if is_image else stored["id"]
    kind = "image" if is_image else "file"
    return {
        "type": kind, "id": stored["id"], "url": url, "name": name, "status": "uploaded",
        "content_type": stored["meta"]["content_type"],
    }  # fmt: skip


def data_url(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
