"""The secret valve: sealed at rest, revealed only on purpose, never printed."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from open_webui_openrouter_pipe.core.errors import SettingsError
from open_webui_openrouter_pipe.core.secrets import EncryptedStr

PLAIN = "sk-or-v1-violet"


class Form(BaseModel):
    key: EncryptedStr = EncryptedStr("")
    count: int = 0


@pytest.fixture(autouse=True)
def host_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBUI_SECRET_KEY", "one")


def test_validation_seals_and_a_second_validation_keeps_the_seal() -> None:
    sealed = Form(key=PLAIN).key  # pyright: ignore[reportArgumentType]
    assert isinstance(sealed, EncryptedStr)
    assert PLAIN not in sealed[:]
    assert sealed.startswith("encrypted:")
    assert Form(key=sealed).key[:] == sealed[:]
    assert sealed.reveal() == PLAIN


@given(st.text())
def test_any_text_survives_sealing(text: str) -> None:
    sealed = EncryptedStr.seal(text)
    expected = text.strip().encode("utf-8", "replace").decode()
    if not expected.startswith("encrypted:"):
        assert sealed.reveal() == expected
        assert bool(sealed) == bool(expected)


def test_half_an_emoji_is_sealed_as_a_question_mark() -> None:
    assert EncryptedStr.seal("sk-\ud83d").reveal() == "sk-?"


def test_without_a_host_secret_the_text_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WEBUI_SECRET_KEY")
    assert EncryptedStr.seal(PLAIN)[:] == PLAIN
    assert EncryptedStr(PLAIN).reveal() == PLAIN


@pytest.mark.parametrize("secret", ["another", ""])
def test_a_key_sealed_under_another_secret_asks_for_the_admin(
    secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = EncryptedStr.seal(PLAIN)
    monkeypatch.setenv("WEBUI_SECRET_KEY", secret)
    with pytest.raises(SettingsError, match="WEBUI_SECRET_KEY has changed") as caught:
        sealed.reveal()
    assert "enter `API_KEY` again" in caught.value.for_person()
    assert sealed.fingerprint()  # still tells accounts apart


def test_a_damaged_ciphertext_asks_for_the_admin() -> None:
    with pytest.raises(SettingsError):
        EncryptedStr("encrypted:ü…").reveal()


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        lambda s: f"{s} {s!r} {s:>40}",
        lambda s: "{} {!s:.30}".format(s, s),  # noqa: UP032
        lambda s: "%s %r" % (s, s),  # noqa: UP031
        lambda s: repr([s]) + str({"k": s}),
        lambda s: repr(Form.model_construct(key=s)) + str(Form.model_construct(key=s)),
        lambda s: logging.LogRecord("n", 20, "p", 1, "%s %r", (s, s), None).getMessage(),
    ],
)
def test_it_never_prints_itself(show: Callable[[EncryptedStr], str]) -> None:
    for secret in (EncryptedStr(PLAIN), EncryptedStr.seal(PLAIN)):
        assert secret[:] not in show(secret)
        assert "****" in show(secret)


def test_what_is_empty_shows_as_empty() -> None:
    assert (str(EncryptedStr()), repr(EncryptedStr())) == ("", "EncryptedStr('')")


def test_a_validation_error_elsewhere_does_not_show_it() -> None:
    with pytest.raises(ValidationError) as caught:
        Form(key=PLAIN, count="many")  # pyright: ignore[reportArgumentType]
    assert PLAIN not in str(caught.value)


@pytest.mark.parametrize(
    "store",
    [
        lambda form: form.model_dump_json(),
        lambda form: json.dumps(form.model_dump()),
        lambda form: orjson.dumps(form.model_dump()).decode(),
    ],
)
def test_what_the_host_stores_is_the_ciphertext(store: Callable[[Form], str]) -> None:
    stored = store(Form(key=PLAIN))  # pyright: ignore[reportArgumentType]
    assert PLAIN not in stored
    assert Form.model_validate_json(stored).key.reveal() == PLAIN


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy])
def test_a_copy_is_still_secret(clone: Callable[[EncryptedStr], EncryptedStr]) -> None:
    assert repr(clone(EncryptedStr(PLAIN))) == "EncryptedStr('********')"
    assert clone(EncryptedStr(PLAIN)).reveal() == PLAIN


def test_equal_secrets_have_equal_names_that_give_nothing_away() -> None:
    one, two = EncryptedStr.seal(PLAIN), EncryptedStr.seal(PLAIN)
    assert one[:] != two[:]
    assert one.fingerprint() == two.fingerprint() != EncryptedStr("other").fingerprint()
    assert PLAIN not in one.fingerprint()


def test_the_schema_stays_a_plain_string() -> None:
    assert TypeAdapter(EncryptedStr).json_schema() == {"type": "string"}
