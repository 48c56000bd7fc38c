"""What a model is told of its calls: results no longer than the chat has room for, and failures."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.json_codec import encode_json
from ..core.json_values import JsonObject
from ..host.tools import ToolResult

_CHARACTERS_PER_TOKEN = 4
_UNKNOWN_ROOM = 100_000
"""Tokens: for a model of which nobody says how much it can read."""
_LEAST_CHARACTERS = 400
_NOTE_LENGTH = 150
_SHOWN_ARGUMENTS = 500
_SHOWN_NAMES = 30


class OutputRoom:
    """The tokens that are left for a round's outputs, shared fairly as the calls finish."""

    def __init__(self, tokens: int | None, calls: int) -> None:
        self._characters = (_UNKNOWN_ROOM if tokens is None else tokens) * _CHARACTERS_PER_TOKEN
        self._calls = calls

    def fit(self, text: str) -> str:
        """The text of the next call, shortened where it is longer than its share."""
        share = max(self._characters // max(self._calls, 1), _LEAST_CHARACTERS)
        fitting = shorten(text, share)
        self._calls -= 1
        self._characters -= len(fitting)
        return fitting


def shorten(text: str, limit: int) -> str:
    """Beginning and end of a text that is too long, with a note between them."""
    if len(text) <= limit:
        return text
    room = max(limit - _NOTE_LENGTH, 0)
    tail = room // 3
    note = (
        f"\n\n[{len(text) - room} characters are left out here: the result was longer than this "
        "chat has room for. Ask for a part of it, or for less.]\n\n"
    )
    return text[: room - tail] + note + text[len(text) - tail :]


def failed(text: str) -> ToolResult:
    """A call that came to nothing, in words the model can act on."""
    return ToolResult(text=f"Error: {text}", failed=True)


def cut_off(name: str) -> ToolResult:
    """The answer ended in the middle of the call."""
    return failed(
        f"The call of `{name}` was cut off before it was complete, so it was not run. "
        "If it is still needed, call it again with all its arguments."
    )


def unknown_tool(name: str, known: Sequence[str]) -> ToolResult:
    """There is no such tool."""
    listed = ", ".join(f"`{entry}`" for entry in sorted(known)[:_SHOWN_NAMES])
    choice = f"The tools are: {listed}." if listed else "There are no tools in this chat."
    return failed(f"There is no tool named `{name}`. {choice}")


def unreadable_arguments(name: str, sent: str) -> ToolResult:
    """What was sent is no JSON object, nor anything that can only mean one."""
    return failed(
        f"The arguments of `{name}` are not a JSON object, so it was not run. "
        f"Call it again with one JSON object. This was sent: {shorten(sent, _SHOWN_ARGUMENTS)}"
    )


def not_approved(name: str) -> ToolResult:
    """The chat asks a person before a tool runs, and here nobody can be asked."""
    return failed(
        f"`{name}` was not run: in this chat a person must approve each call, and none has "
        "approved this one."
    )


def paused(name: str, seconds: float) -> ToolResult:
    """The breaker is open."""
    return failed(
        f"`{name}` has failed several times in a row and was not run. It can be tried again in "
        f"{seconds:.0f} seconds; until then go on without it, and say so."
    )


def not_begun(name: str) -> ToolResult:
    """The round's time was over before the call's turn came."""
    return failed(
        f"`{name}` was not run: the other calls of this round took all the time there was. "
        "Call it again, with fewer calls at once."
    )


def timed_out(name: str, seconds: float) -> ToolResult:
    """The tool did not come back in time."""
    return failed(
        f"`{name}` did not finish within {seconds:.0f} seconds and was stopped. What it had begun "
        "may have been done. Do not simply repeat the call; ask for less, or go on without it."
    )


def raised(name: str, cause: str) -> ToolResult:
    """The tool raised an exception."""
    return failed(f"`{name}` failed: {cause}")


def join_results(results: Sequence[tuple[JsonObject, ToolResult]]) -> ToolResult:
    """One output for a call that held several argument objects, each of which was run."""
    joined = ToolResult(text="", failed=all(result.failed for _, result in results))
    parts: list[str] = []
    for number, (arguments, result) in enumerate(results, 1):
        shown = shorten(encode_json(arguments).decode(), _SHOWN_ARGUMENTS)
        parts.append(f"Result {number} of {len(results)}, for {shown}:\n{result.text}")
        joined.images += result.images
        joined.files += result.files
        joined.embeds += result.embeds
        joined.sources += result.sources
    joined.text = "\n\n".join(parts)
    return joined
