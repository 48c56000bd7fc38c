"""PDFs that OpenRouter reads for models that cannot: once, if the client sends back what it got."""

from __future__ import annotations

import hashlib
from typing import Any

Json = dict[str, Any]


def read_documents(body: Json, row: Json) -> list[Json]:
    """The annotations of the documents that have to be read for this request."""
    if "file" in row["architecture"]["input_modalities"]:
        return []
    entries = [entry for entry in body.get("messages") or body.get("input") or () if entry]
    entries = [entry for entry in entries if isinstance(entry, dict)]
    known = {
        note["file"]["hash"]
        for entry in entries
        for note in entry.get("annotations") or ()
        if note.get("type") == "file"
    }
    read = (_annotation(part) for entry in entries for part in _documents_in(entry))
    return list({note["hash"]: note for note in read if note["hash"] not in known}.values())


def _documents_in(entry: Json) -> list[Json]:
    content = entry.get("content")
    parts = content if isinstance(content, list) else []
    kinds = ("file", "input_file")
    files = [part.get("file") or part for part in parts if part.get("type") in kinds]
    return [file for file in files if file.get("file_data")]


def _annotation(file: Json) -> Json:
    name = file.get("filename", "")
    return {
        "type": "file",
        "hash": hashlib.sha256(file["file_data"].encode()).hexdigest(),
        "name": name,
        "content": [{"type": "text", "text": f'<file name="{name}">The fox is red.</file>'}],
    }
