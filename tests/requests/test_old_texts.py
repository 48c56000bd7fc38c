"""What other programs left in old answers does not go back; code that looks like it does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.requests.old_texts import clean_answer, clean_text
from open_webui_openrouter_pipe.requests.retention import remember
from tests.requests.contexts import settings

MARKER = "[01J9ZK4M7QWERTY2X3AB]: #"
CARD = '<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n> Hm.\n'
CARDS = (
    f'{CARD}> </details\n</details>\n<details type="tool_calls" id="x">\n...\n</details>\nParis.'
)


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"Hello\n\n{MARKER}\n", "Hello"),
        (f"{MARKER}\nHello\n[01J9ZK4M7QWERTY2X3ABCDEFGH]: #\nthere", "Hello\nthere"),
        ("[P:commentary]: #\nI look.\n[P:null]: # ", "I look."),
        (CARDS, "Paris."),
        ("Before\n" + CARD + "</details> After", "Before\nAfter"),
        (f"```md\n{MARKER}\n```\n{MARKER}\nEnd", f"```md\n{MARKER}\n```\nEnd"),
        (f"~~~\n```\n{MARKER}\n~~~\n{MARKER}", f"~~~\n```\n{MARKER}\n~~~"),
        (f"````\n```\n{MARKER}\n````", f"````\n```\n{MARKER}\n````"),
        (f"```\n{CARDS}", f"```\n{CARDS}"),
        ("Hi.\n\n<audio>\n/api/v1/files/a-1/content\n</audio>\n", "Hi."),
        ("<video>\n/api/v1/files/a-1/content\n</video>\n\nDone.", "\nDone."),
        ("<audio>\nhttps://a.example/files/1\n</audio>", None),
        ("[short]: #\n[01J9ZK4M7QWERTY2X3AB]: https://x", None),
        ("[ILOUILOUILOUILOUILOU]: #", None),
        (f"Look at {MARKER}", None),
        ("<details>\n<summary>Mine</summary>\n</details>", None),
        ('<details type="code_interpreter">\n</details>', None),
        (CARD, None),
        ("", None),
    ],
)
def test_a_text_is_freed_of_marks_and_cards(text: str, cleaned: str | None) -> None:
    assert clean_text(text) == (text if cleaned is None else cleaned)


def test_only_answers_are_cleaned_in_whatever_form_they_come() -> None:
    text = f"Hello\n{MARKER}"
    user: dict[str, Any] = {"role": "user", "content": text}
    parts = [{"type": "text", "text": text}, {"type": "other", "x": 1}]
    answers: list[dict[str, Any]] = [
        {"role": "assistant", "content": text},
        {"role": "assistant", "content": parts},
        {"role": "assistant", "content": None},
    ]
    assert remember([user, *answers], settings()) == [
        user,
        {"role": "assistant", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}, parts[1]]},
        answers[2],
    ]
    assert answers[0]["content"] == text


PIECES = st.sampled_from([MARKER, "```", "~~~", "word", "", CARD, "</details>", "<details>"])


@given(st.lists(PIECES, max_size=12))
def test_a_clean_text_stays_as_it_is(lines: list[str]) -> None:
    answer = clean_answer({"content": "\n".join(lines)})
    assert clean_answer(answer) == answer
    assert answer["content"].count("word") <= lines.count("word")
