"""Files of Open WebUI: what a user has uploaded, or a model has made for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from starlette.datastructures import Headers, UploadFile
from starlette.exceptions import HTTPException

from ..core.context import RequestContext
from ..core.errors import FileNotStoredError
from .users import load_user


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as Open WebUI knows it."""

    id: str
    name: str

    @property
    def url(self) -> str:
        """Its address on the same server, for whoever is signed in."""
        return f"/api/v1/files/{self.id}/content"


async def store_file(
    context: RequestContext, content: bytes, name: str, media_type: str
) -> StoredFile:
    """Store a file for the person who asks; raises `FileNotStoredError` with the host's reason."""
    user = await load_user(context.host)
    if user is None:
        raise FileNotStoredError("The file belongs to nobody: the call names no user.")
    return await _upload(
        file=UploadFile(BytesIO(content), filename=name, headers=_headers(media_type)),
        request=context.host.request,
        metadata={"chat_id": context.chat_id, "message_id": context.message_id},
        user=user,
    )


async def remove_file(file_id: str) -> None:
    """Delete a file that was of use for a moment only."""
    from open_webui.models.files import Files  # pyright: ignore[reportMissingImports]
    from open_webui.storage.provider import Storage  # pyright: ignore[reportMissingImports]

    file = await Files.get_file_by_id(file_id)
    if file is not None and await Files.delete_file_by_id(file_id):
        await asyncio.to_thread(Storage.delete_file, file.path)


def _headers(media_type: str) -> Headers:
    return Headers({"content-type": media_type})


async def _upload(**what: Any) -> StoredFile:
    from open_webui.routers.files import (  # pyright: ignore[reportMissingImports]
        upload_file_handler,
    )

    try:
        # Every argument: what is left out becomes a marker object of FastAPI, which counts as true.
        stored = await upload_file_handler(
            **what, process=False, process_in_background=False, background_tasks=None, db=None
        )
    except HTTPException as error:
        raise FileNotStoredError(
            f"Open WebUI did not store the file: {error.detail}",
            "The admin should check the disk, and the size limit of files.",
        ) from error
    return StoredFile(stored.id, stored.filename)
