"""What a log or an error may hold: no key, no password, no file."""

from __future__ import annotations

import pytest

from open_webui_openrouter_pipe.core.redaction import redact_body, redact_text

KEY = "sk-or-v1-0123456789abcdef"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"key {KEY}, refused", "key [redacted], refused"),
        ("sk-proj-a_b-c", "[redacted]"),
        ("sk-0123456789abcdefXYZ", "[redacted]"),
        ("Authorization: Bearer abc12345.x", "Authorization: [redacted]"),
        ("http://me:pw@proxy.example/v1", "http://[redacted]@proxy.example/v1"),
        (
            "see data:image/png;base64,AAAABBBB==, then",
            "see data:image/png;base64,[10 characters], then",
        ),
        ("![a](data:image/png;base64,AAAA)", "![a](data:image/png;base64,[4 characters])"),
        (f"Invalid image: {'QUFB' * 300}!", "Invalid image: [1200 characters]!"),
        ("a task-or-chore, the bearer of news", "a task-or-chore, the bearer of news"),
        ("mail me@example.org about sk-learn", "mail me@example.org about sk-learn"),
    ],
)
def test_a_text_loses_its_secrets_only(text: str, redacted: str) -> None:
    assert redact_text(text) == redacted


def test_a_body_is_copied_without_secrets_and_files() -> None:
    body = {
        "input": [{"image_url": "data:image/png;base64,AAAA", "text": f"my key is {KEY}"}],
        "tools": ({"headers": {"Authorization": "secret words"}, "API_KEY": {"a": 1}},),
        "encrypted_content": "A" * 1_000,
        "text": "word " * 400,
        "password": "",
        "max_tokens": 7,
        "stream": True,
    }
    assert redact_body(body) == {
        "input": [
            {"image_url": "data:image/png;base64,[4 characters]", "text": "my key is [redacted]"}
        ],
        "tools": [{"headers": {"Authorization": "[redacted]"}, "API_KEY": "[redacted]"}],
        "encrypted_content": "[1000 characters]",
        "text": "word " * 400,
        "password": "",
        "max_tokens": 7,
        "stream": True,
    }
    assert body["input"] == [
        {"image_url": "data:image/png;base64,AAAA", "text": f"my key is {KEY}"}
    ]
