"""The words of the persona: deterministic answers that show a person what the lab can do."""

from __future__ import annotations

import re
from typing import Any

import orjson

from .conversation import Conversation
from .task_prompts import answer_task
from .tool_arguments import arguments_for

_COUNT = re.compile(r"\bcount (?:up )?to (\d+)", re.IGNORECASE)
_WORDS = re.compile(r"\b(\d+) words\b", re.IGNORECASE)
_EARLIER = re.compile(r"what did i (?:say|ask|write)|my (?:first|last|previous) message", re.I)
_ALPHABET = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")

# How many words of a prompt are echoed.
_ECHOED = 60

MARKDOWN = """# A short tour of Markdown

A paragraph with **bold**, *italic*, ~~struck~~ and `inline code`, and a [link](https://example.com/).

## A list

1. First things first
2. Then the second
   - with a point below it
   - and another

> A quotation, to see how it is set.

- [x] a task that is done
- [ ] a task that is not

$$ e^{i\\pi} + 1 = 0 $$

---

The end.
"""
TABLE = """Here is a table:

| Planet | Moons | Day (h) | Note |
|:-------|------:|--------:|:-----|
| Mercury | 0 | 4223 | closest to the sun |
| Venus | 0 | 2802 | turns the other way |
| Earth | 1 | 24 | home |
| Mars | 2 | 25 | red |

Four rows, four columns.
"""
CODE = """Here is a function, and how to call it:

```python
def fibonacci(count: int) -> list[int]:
    numbers = [0, 1]
    while len(numbers) < count:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers[:count]


print(fibonacci(10))
```

It prints `[0, 1, 1, 2, 3, 5, 8, 13, 21, 34]`.
"""
HELP = """I am a simulator, and this is what I do:

- `count to 20`, `write 300 words`, `table`, `code`, `markdown`
- `what did I say before?`, to see that I get the whole chat
- `think about …` on a model that reasons; `draw …` on one that makes pictures
- `search for …`, with citations; name a tool, and I call it
- lines such as `#call add {"a": 1, "b": 2}`: these calls, all at once
- `#stream deltas=2000 pause_ms=5`, `#error 429`, `#fail`, `#stall`, `#truncate`
"""
REFUSAL = "I'm sorry, but I can't help with that."
CITED = "The lab is an example of a reserved domain [1], as the registry explains [2]."
CITED_URLS = ("https://example.com/", "https://www.iana.org/help/example-domains")


def text_for(asked: Conversation, name: str) -> str:
    """The text of an answer, chosen by what the prompt asks for."""
    prompt = asked.prompt
    for answer in (answer_task(prompt), _structured(asked), _outputs(asked), _made(prompt)):
        if answer is not None:
            return answer
    if _EARLIER.search(prompt):
        return _remembered(asked.earlier)
    return _echo(asked, name)


def thought_for(asked: Conversation) -> str:
    """What the persona thinks before it answers."""
    wanted = " ".join(asked.prompt.split()[:12]) or "nothing in particular"
    steps = [
        f"The user wants: “{wanted}”.",
        f"Earlier messages to keep in mind: {len(asked.earlier)}.",
        "A short and friendly answer is best.",
    ]
    return "**Reading the question**\n\n" + " ".join(steps)


def _structured(asked: Conversation) -> str | None:
    kind = asked.response_format.get("type")
    if kind == "json_schema":
        schema = asked.response_format.get("schema") or {}
        return orjson.dumps(arguments_for(schema, asked.prompt)).decode()
    if kind == "json_object":
        return orjson.dumps({"answer": asked.prompt}).decode()
    return None


def _outputs(asked: Conversation) -> str | None:
    if not asked.tool_outputs:
        return None
    lines = [f"- `{output.name}` returned: {output.output}" for output in asked.tool_outputs]
    return "\n".join(["I called the tools, and this is what came back:", "", *lines])


def _made(prompt: str) -> str | None:
    if count := _COUNT.search(prompt):
        return ", ".join(str(number) for number in range(1, min(int(count[1]), 5000) + 1)) + "."
    if words := _WORDS.search(prompt):
        number = min(int(words[1]), 20_000)
        return " ".join(_ALPHABET[place % len(_ALPHABET)] for place in range(number)) + "."
    lowered = prompt.lower()
    texts = {"help": HELP, "markdown": MARKDOWN, "table": TABLE, "code": CODE}
    for keyword, text in texts.items():
        if re.search(rf"\b{keyword}\b", lowered):
            return text
    return None


def _remembered(earlier: list[str]) -> str:
    if not earlier:
        return "This is your first message; you said nothing before it."
    quoted = "\n".join(f"{number}. “{text}”" for number, text in enumerate(earlier, start=1))
    return f"Before this you said:\n\n{quoted}"


def _echo(asked: Conversation, name: str) -> str:
    earlier = len(asked.earlier)
    seen = {
        0: "This is the first message of our chat.",
        1: "I remember one earlier message of yours.",
    }.get(earlier, f"I remember {earlier} earlier messages of yours.")
    words = asked.prompt.split()
    said = " ".join(words[:_ECHOED]) + (" …" if len(words) > _ECHOED else "")
    attached = _attached(asked)
    return f"Hello! I am {name}, played by the simulator. You said: “{said}”. {attached}{seen}"


def _attached(asked: Conversation) -> str:
    last: Any = next((turn for turn in reversed(asked.turns) if turn.role == "user"), None)
    if last is None or not last.attachments:
        return ""
    kinds = ", ".join(
        f"{last.attachments.count(kind)} {kind}" for kind in sorted({*last.attachments})
    )
    return f"With it came: {kinds}. "
