"""Answers Open WebUI's own task prompts: title, tags, follow-ups, search queries."""

from __future__ import annotations

import re

import orjson

# The key that a task's JSON must have tells the tasks apart, whatever their wording.
_KEYS = re.compile(r'"(title|tags|follow_ups|queries|text|prompt)"\s*:')
_SAID = re.compile(r"(?:USER|user):\s*(.+)")


def answer_task(prompt: str) -> str | None:
    """The JSON that a task prompt asks for, or None when this is no task."""
    if not prompt.lstrip().startswith("### Task:"):
        return None
    history = prompt.partition("<chat_history>")[2] or prompt
    said = _SAID.search(history)
    topic = (said[1].strip() if said else "Chat")[:40]
    keys = _KEYS.findall(prompt)
    if not keys:
        return "💬" if "emoji" in prompt.lower() else topic
    return orjson.dumps(_fields(keys[0], topic)).decode()


def _fields(key: str, topic: str) -> dict[str, object]:
    short = " ".join(topic.split()[:5])
    return {
        "title": {"title": f"💬 {short}"},
        "tags": {"tags": ["Technology", "Testing", "Chat"]},
        "follow_ups": {
            "follow_ups": [
                f"Tell me more about {short}.",
                "Write it as a table.",
                "Count to 10.",
            ]
        },
        "queries": {"queries": [short]},
        "text": {"text": " and so on."},
        "prompt": {"prompt": f"A picture of {short}"},
    }[key]
