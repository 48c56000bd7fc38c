"""The template language: what is empty disappears, what is broken is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.template_language import (
    BrokenTemplateError,
    render_template,
)

VALUES = {"who": "Acme", "what": "full", "none": "", "braces": "{who} {{#if who}}"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{who} is {what}.", "Acme is full."),
        ("One\nTwo {none}\nThree", "One\nThree"),
        ("One\nTwo {unheard_of}\nThree", "One\nThree"),
        ("{who} {none}\nkept", "kept"),
        ("a\n\n{none}\n\nb", "a\n\nb"),
        ('{"json": 1} { who } {}', '{"json": 1} { who } {}'),
        ("{braces}", "{who} {{#if who}}"),
        ("{{#if who}}\nyes\n{{/if}}\nend", "yes\nend"),
        ("{{#if none}}\nyes\n{{/if}}\nend", "end"),
        ("  {{#if who }}  \n{{#if none}}\na\n{{/if}}\nb\n{{/if}}", "b"),
        ("{{#if none}}\n{{#if who}}\na\n{{/if}}\nb\n{{/if}}\nc", "c"),
        ("Try{{#if what}} later, {who}{{/if}}.", "Try later, Acme."),
        ("Try{{#if none}} later, {none}{{/if}}.", "Try."),
        ("a\n{{#if none}}gone{{/if}}\nb", "a\nb"),
        ("{{#if who}}a{{#if what}}b{{/if}}{{#if none}}c{{/if}}{{/if}}", "ab"),
        ("a\r\nb\r\n", "a\nb"),
        ("", ""),
    ],
)
def test_a_template_is_filled_in(template: str, text: str) -> None:
    assert render_template(template, VALUES) == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{#if who}}\nnever closed", "not closed"),
        ("text\n{{/if}}", "line 2"),
        ("{{#if}}\nx\n{{/if}}", "line 1"),
        ("a {{#if who}} b", "line 1"),
        ("{{#unless who}}\nx\n{{/unless}}", "line 1"),
        ("{{#if who}}\na\n{{else}}\nb\n{{/if}}", "line 3"),
        ("{{#if none}}\n{{#each who}}\n{{/if}}", "line 2"),
    ],
)
def test_a_broken_template_says_where(template: str, problem: str) -> None:
    with pytest.raises(BrokenTemplateError, match=problem):
        render_template(template, VALUES)


PIECES = st.sampled_from(
    ["{who}", "{none}", "{{#if who}}", "{{#if none}}", "{{/if}}", "{{", "}}", "{", "\n", " ", "x"]
)


@given(st.lists(PIECES | st.text(max_size=5), max_size=30), st.sampled_from(["", "word", " {who}"]))
def test_any_text_is_rendered_or_called_broken(pieces: list[str], value: str) -> None:
    try:
        text = render_template("".join(pieces), {"who": value})
    except BrokenTemplateError:
        return
    assert "\n\n\n" not in text
    assert text == text.strip()
