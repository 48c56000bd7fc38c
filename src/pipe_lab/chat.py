"""The pipe in a terminal, without Open WebUI: `python -m pipe_lab.chat [--model M] [PROMPT]`."""

from __future__ import annotations

import argparse
import asyncio
import inspect
import logging
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from pipe_lab.load_pipe import load_pipe
from pipe_lab.simulator import Simulator

Event = dict[str, Any]
Entry = dict[str, str]

BUNDLE = Path(__file__).resolve().parents[2] / "dist" / "pipe.py"
FUNCTION_ID = "openrouter"
_PREFERRED = "openai/gpt-4o"
_PACE = 0.015
_USER = {"id": "lab-user", "name": "Lab", "email": "lab@localhost", "role": "admin"}
_METADATA = {"chat_id": "lab-chat", "message_id": "lab-message", "session_id": "lab-session"}
_DIM, _PLAIN = "\033[2m", "\033[0m"
_REASONING = ("response.reasoning_summary_text.delta", "response.reasoning_text.delta")


class ChatError(Exception):
    """Something the person at the terminal should read; the text is the whole message."""


@dataclass
class Screen:
    """Prints one answer as it comes: words plain, everything else dimmed."""

    out: TextIO
    color: bool
    text: str = ""
    usage: Event = field(default_factory=dict)
    _dimmed: bool = False
    # 0 at the beginning of a line.
    _column: int = 0

    def show(self, event: Event) -> None:
        """Print what one event of the pipe adds; raises `ChatError` when it is a failure."""
        kind = event.get("type", "")
        if failure := _failure(event):
            self.end_line()
            self.stop_dimming()
            raise ChatError(failure)
        if kind == "response.output_text.delta":
            self.text += event["delta"]
            self._write(event["delta"], dim=False)
        elif kind in _REASONING:
            self._write(event["delta"], dim=True)
        elif kind == "response.output_item.done":
            self._show_item(event["item"])
        elif kind == "response.completed":
            self.usage = event["response"].get("usage") or {}
        elif event.get("event", {}).get("type") == "status":
            self.note(event["event"]["data"].get("description", ""))

    def note(self, line: str) -> None:
        """Print a dimmed line of its own."""
        self.end_line()
        self._write(f"{line}\n", dim=True)

    def end_line(self) -> None:
        """Go to the next line, unless one has just begun."""
        if self._column:
            self._write("\n", dim=self._dimmed)

    def stop_dimming(self) -> None:
        """Leave the terminal as it was."""
        self._write("", dim=False)

    def _show_item(self, item: Event) -> None:
        match item.get("type"):
            case "reasoning":
                self.end_line()
            case "function_call":
                self.note(f"→ {item.get('name')}({item.get('arguments')})")
            case "function_call_output":
                self.note(f"← {_text_of(item.get('output'))}")
            case "image_generation_call":
                self.note(f"[picture, {len(item.get('result') or '')} characters]")
            case _:
                pass

    def _write(self, text: str, dim: bool) -> None:
        if dim is not self._dimmed:
            # What is said after a thought begins on a line of its own.
            self._dimmed = dim
            self.out.write("\n" if self._column else "")
            self.out.write((_DIM if dim else _PLAIN) if self.color else "")
            self._column = 0
        self.out.write(text)
        if text:
            self._column = 0 if text.endswith("\n") else 1
        self.out.flush()


def main(arguments: list[str] | None = None) -> int:
    """Run one answer, or a conversation on a terminal; 0 when all went well."""
    options = _parse(arguments)
    # The pipe's own log would say every failure a second time.
    logging.getLogger().addHandler(logging.NullHandler())
    try:
        asyncio.run(_run(options))
    except ChatError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipe_lab.chat", description=__doc__)
    parser.add_argument("prompt", nargs="?", help="what to say; without it: a conversation")
    parser.add_argument("--model", help="a model's id, or a part of it that fits only one")
    parser.add_argument("--list", action="store_true", help="list the models and stop")
    parser.add_argument("--pipe", type=Path, default=BUNDLE, help="the bundle to load")
    return parser.parse_args(arguments)


async def _run(options: argparse.Namespace) -> None:
    async with _openrouter() as saved_valves:
        pipe = _load(options.pipe, saved_valves)
        try:
            await _talk(pipe, options)
        finally:
            await pipe.close()


async def _talk(pipe: Any, options: argparse.Namespace) -> None:
    entries: list[Entry] = await pipe.pipes()
    if options.list:
        for entry in entries:
            print(f"{entry['id']:<48} {entry['name']}")
        return
    model = choose_model(entries, options.model)
    if options.prompt is None and not sys.stdin.isatty():
        options.prompt = sys.stdin.read().strip()
    if options.prompt is None:
        await _converse(pipe, model)
    elif options.prompt:
        await answer(pipe, model, [{"role": "user", "content": options.prompt}])
    else:
        raise ChatError("nothing was asked: give a PROMPT")


@asynccontextmanager
async def _openrouter() -> AsyncIterator[dict[str, str]]:
    """The valves that lead to OpenRouter, or to a simulator when there is no key."""
    if os.environ.get("OPENROUTER_API_KEY"):
        yield {}
        return
    async with Simulator(pace=_PACE if sys.stdout.isatty() else 0) as simulator:
        print("no OPENROUTER_API_KEY: the simulator answers", file=sys.stderr)
        yield {"API_KEY": "sk-lab", "BASE_URL": simulator.base_url}


def _load(bundle: Path, saved_valves: dict[str, str]) -> Any:
    if not bundle.exists():
        raise ChatError(f"{bundle} does not exist: run `make bundle` first")
    try:
        return load_pipe(bundle, saved_valves, FUNCTION_ID)
    except Exception as error:
        raise ChatError(f"{bundle.name} does not load: {error!r}") from error


def choose_model(entries: list[Entry], wanted: str | None) -> Entry:
    """The entry a person means, by id in OpenRouter's or the host's form, or by a part of it."""
    by_slug = {entry["id"].replace(".", "/", 1): entry for entry in entries}
    by_slug |= {entry["id"]: entry for entry in entries}
    if wanted is None:
        return by_slug.get(_PREFERRED) or entries[0]
    if wanted in by_slug:
        return by_slug[wanted]
    slugs = sorted({entry["id"].replace(".", "/", 1) for entry in entries})
    fitting = [slug for slug in slugs if wanted.lower() in slug.lower()]
    if len(fitting) == 1:
        return by_slug[fitting[0]]
    if len(entries) == 1:
        # Where there are no models, one entry stands in for them and says why.
        raise ChatError(entries[0]["name"])
    if fitting:
        raise ChatError(f"{wanted!r} fits several models: {', '.join(fitting[:8])}")
    raise ChatError(f"no model is called {wanted!r}; --list shows all {len(entries)}")


async def _converse(pipe: Any, model: Entry) -> None:
    print(f"{model['name']} — an empty line ends the chat", file=sys.stderr)
    messages: list[Event] = []
    while said := (await asyncio.to_thread(_ask)).strip():
        messages.append({"role": "user", "content": said})
        try:
            text = await answer(pipe, model, messages)
        except ChatError as error:
            messages.pop()
            print(f"error: {error}", file=sys.stderr)
        else:
            messages.append({"role": "assistant", "content": text})


def _ask() -> str:
    try:
        return input("> ")
    except EOFError:
        return ""


async def answer(pipe: Any, model: Entry, messages: list[Event]) -> str:
    """Print one answer and its price; returns its text."""
    started = time.monotonic()
    screen = Screen(sys.stdout, sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    reply = await pipe.pipe(**_arguments_for(pipe, model, messages))
    if isinstance(reply, dict | str):
        raise ChatError(_failure(reply) if isinstance(reply, dict) else reply)
    async for event in reply:
        screen.show(event)
    screen.note(closing_line(model, screen.usage, time.monotonic() - started))
    screen.stop_dimming()
    return screen.text


def _arguments_for(pipe: Any, model: Entry, messages: list[Event]) -> Event:
    """What Open WebUI passes, reduced like there to what the pipe's signature names."""
    offered = {
        "body": {
            "model": f"{FUNCTION_ID}.{model['id']}",
            "messages": [dict(message) for message in messages],
            "stream": True,
        },
        "__user__": dict(_USER),
        "__metadata__": dict(_METADATA),
        "__task__": None,
        "__id__": FUNCTION_ID,
        "__chat_id__": _METADATA["chat_id"],
        "__message_id__": _METADATA["message_id"],
        "__session_id__": _METADATA["session_id"],
        "__event_emitter__": None,
        "__event_call__": None,
        "__tools__": {},
        "__files__": [],
    }
    named = inspect.signature(pipe.pipe).parameters
    return {name: value for name, value in offered.items() if name in named}


def closing_line(model: Entry, usage: Event, seconds: float) -> str:
    """The model, the tokens, the time and the cost, on one line."""
    output_details = usage.get("output_tokens_details") or {}
    input_details = usage.get("input_tokens_details") or {}
    parts = [f"{usage.get('output_tokens', '?')} out"]
    for count, word in (
        (output_details.get("reasoning_tokens"), "reasoning"),
        (input_details.get("cached_tokens"), "cached"),
    ):
        if count:
            parts.append(f"{count} {word}")
    cost = usage.get("cost")
    price = "cost unknown" if cost is None else f"${cost:.6f}"
    tokens = f"{usage.get('input_tokens', '?')} in, {', '.join(parts)}"
    return f"{model['name']} · {tokens} · {seconds:.1f} s · {price}"


def _failure(event: Event) -> str:
    """The message of an event that ends the answer with an error; empty when it does not."""
    error = event.get("error")
    if event.get("type") in ("response.failed", "response.error"):
        error = error or (event.get("response") or {}).get("error") or "the answer failed"
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or str(error)
    return " ".join(str(error).split()) if error else ""


def _text_of(output: Any) -> str:
    if isinstance(output, list):
        return " ".join(part.get("text", "") for part in output if isinstance(part, dict))
    return str(output)


if __name__ == "__main__":
    sys.exit(main())
