"""The language of the error templates: placeholders, lines that vanish, blocks with a condition."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_TAG = re.compile(r"\{\{(?:#if\s+(?P<name>\w+)|/if)\s*\}\}")
_BLOCK_IN_LINE = re.compile(r"\{\{#if\s+(\w+)\s*\}\}((?:(?!\{\{[#/]).)*)\{\{/if\s*\}\}")
_ANY_TAG = re.compile(r"\{\{\s*(?:[#/]|else\b)")
_BLANK_LINES = re.compile(r"\n{3,}")


class BrokenTemplateError(Exception):
    """A template that cannot be read."""


def render_template(template: str, values: Mapping[str, str]) -> str:
    """Fill in the values; a line with an empty or unknown placeholder is left out.

    `{{#if name}}` and `{{/if}}` stand on lines of their own and may be nested, or together inside
    one line. Raises `BrokenTemplateError` when a block is not closed, or a tag is not known.
    """
    shown: list[str] = []
    blocks: list[bool] = []
    for number, line in enumerate(template.splitlines(), start=1):
        if tag := _TAG.fullmatch(line.strip()):
            _enter_or_leave(tag, blocks, values, number)
        elif (filled := _fill_line(line, values, number)) is not None and all(blocks):
            shown.append(filled.rstrip())
    if blocks:
        raise BrokenTemplateError("a block is opened and not closed")
    return _BLANK_LINES.sub("\n\n", "\n".join(shown)).strip()


def _enter_or_leave(
    tag: re.Match[str], blocks: list[bool], values: Mapping[str, str], number: int
) -> None:
    if tag["name"]:
        blocks.append(bool(values.get(tag["name"])))
    elif blocks:
        blocks.pop()
    else:
        raise BrokenTemplateError(f"line {number} closes a block that none opened")


def _fill_line(line: str, values: Mapping[str, str], number: int) -> str | None:
    """The line with its values, or `None` when it has nothing to say."""
    text, found = _BLOCK_IN_LINE.subn(lambda block: _inside(block, values), line)
    while found:
        text, found = _BLOCK_IN_LINE.subn(lambda block: _inside(block, values), text)
    if _ANY_TAG.search(text):
        raise BrokenTemplateError(f"line {number} holds a tag that is not understood")
    if text != line and not text.strip():
        return None
    if not all(values.get(name) for name in _PLACEHOLDER.findall(text)):
        return None
    return _PLACEHOLDER.sub(lambda place: values[place[1]], text)


def _inside(block: re.Match[str], values: Mapping[str, str]) -> str:
    return block[2] if values.get(block[1]) else ""
