"""The chat an answer belongs to: its files, and what its answers have taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from ..core.context import RequestContext
from ..core.json_values import JsonObject, as_object, objects_in
from .events import send_event

# Temporary chats (the second prefix is the older one) and channels (`utils/chat_id.py`).
_WITHOUT_ROW = ("temporary:", "local:", "channel:")


def is_saved_chat(chat_id: str) -> bool:
    """Whether the chat has a row in the database."""
    return bool(chat_id) and not chat_id.startswith(_WITHOUT_ROW)


async def link_file(context: RequestContext, file_id: str) -> None:
    """Let everyone who may read the chat read the file: people it is shared with, above all."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    await Chats.insert_chat_files(context.chat_id, context.message_id, [file_id], context.user_id)


async def add_message_files(
    context: RequestContext, files: Sequence[JsonObject]
) -> list[JsonObject]:
    """Save the files with the message; gives all it has now, empty where there is no message."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    return objects_in(
        await Chats.add_message_files_by_id_and_message_id(
            context.chat_id, context.message_id, list(files)
        )
    )


async def read_message_files(context: RequestContext) -> list[tuple[str, list[JsonObject]]]:
    """Role and files of each message up to the one that is answered, oldest first.

    Only these columns are read. What the page sends along is the newest message itself.
    """
    metadata = context.host.metadata
    newest = as_object(metadata.get("user_message"))
    chain = [("user", objects_in(newest.get("files")))]
    if not newest.get("parentId") or not is_saved_chat(context.chat_id):
        return chain
    try:
        from open_webui.internal.db import (  # pyright: ignore[reportMissingImports]
            get_async_db_context,
        )
        from open_webui.models.chat_messages import (  # pyright: ignore[reportMissingImports]
            ChatMessage,
        )

        columns = (ChatMessage.id, ChatMessage.parent_id, ChatMessage.role, ChatMessage.files)
    except (ImportError, AttributeError):
        return chain
    async with get_async_db_context() as session:
        chosen: Any = select(*columns).where(ChatMessage.chat_id == context.chat_id)
        rows = {row[0]: row[1:] for row in (await session.execute(chosen)).all()}
    parent: Any = newest.get("parentId")
    while row := rows.pop(f"{context.chat_id}-{parent}", None):
        parent, role, files = row
        chain.append((role, objects_in(files)))
    return chain[::-1]


async def has_message(context: RequestContext) -> bool:
    """Whether the message is still there; it may have been deleted meanwhile."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    find = Chats.get_message_by_id_and_message_id
    return bool(await find(context.chat_id, context.message_id))


async def finish_message(context: RequestContext, ended: JsonObject, failure: str) -> None:
    """End a message whose stream is long gone, in the database and in the pages that show it."""
    from open_webui.models.chats import Chats  # pyright: ignore[reportMissingImports]

    error = {"error": {"content": failure}} if failure else {}
    save = Chats.upsert_message_to_chat_by_id_and_message_id
    await save(context.chat_id, context.message_id, {**ended, **error})
    await send_event(context.host, "chat:completion", ended)
    if error:
        await send_event(context.host, "chat:message:error", error)


async def read_saved_usage(context: RequestContext) -> list[JsonObject]:
    """The usage saved with each answer of the chat; an empty object where there is none.

    Only that column is read: the answers themselves may be megabytes.
    """
    from open_webui.internal.db import (  # pyright: ignore[reportMissingImports]
        get_async_db_context,
    )
    from open_webui.models.chat_messages import (  # pyright: ignore[reportMissingImports]
        ChatMessage,
    )

    answers: Any = select(ChatMessage.id, ChatMessage.usage).where(
        ChatMessage.chat_id == context.chat_id, ChatMessage.role == "assistant"
    )
    async with get_async_db_context() as session:
        rows = (await session.execute(answers)).all()
    # The row of the answer that is being given has usage only where it continues an older one.
    own = f"{context.chat_id}-{context.message_id}"
    return [as_object(usage) for row_id, usage in rows if usage or row_id != own]
