"""Payloads: they come out as they went in, or not at all."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from open_webui_openrouter_pipe.core.errors import SealedPayloadError
from open_webui_openrouter_pipe.storage.payload_codec import PayloadCodec, read_label

HERE = ("openrouter", "user-1", "chat-1", "item-1")
CONTENT = b'{"data": "' + b"thinking " * 40 + b'"}'
# Deriving a key is slow on purpose: the tests share the salts of these.
SEALING = PayloadCodec("a passphrase", compress_from=64, use_lz4=False)
PLAIN = PayloadCodec(compress_from=64, use_lz4=False)
CODECS = st.sampled_from([SEALING, PLAIN])
IDENTITIES = st.lists(st.text(), max_size=5)


def refused(codec: PayloadCodec, payload: bytes, where: Sequence[str] = HERE) -> str:
    with pytest.raises(SealedPayloadError) as refusal:
        codec.open(payload, where)
    return refusal.value.cause


@given(CODECS, st.binary(max_size=4_000), IDENTITIES, st.booleans())
def test_a_payload_opens_to_what_was_sealed(
    codec: PayloadCodec, content: bytes, identity: list[str], encrypt: bool
) -> None:
    payload = codec.seal(content, identity, encrypt=encrypt)
    assert codec.open(payload, identity) == content


@given(CODECS, st.data())
def test_no_bit_of_a_payload_can_be_changed(codec: PayloadCodec, data: st.DataObject) -> None:
    payload = bytearray(codec.seal(CONTENT, HERE))
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8
    assert refused(codec, bytes(payload))


@given(CODECS, st.data())
def test_a_payload_cut_anywhere_is_refused(codec: PayloadCodec, data: st.DataObject) -> None:
    payload = codec.seal(CONTENT, HERE)
    assert refused(codec, payload[: data.draw(st.integers(0, len(payload) - 1))])


@given(CODECS, st.binary(max_size=200))
def test_any_other_bytes_are_refused(codec: PayloadCodec, noise: bytes) -> None:
    assert refused(codec, noise)


@given(CODECS, IDENTITIES, IDENTITIES)
def test_a_payload_opens_nowhere_else(
    codec: PayloadCodec, home: list[str], elsewhere: list[str]
) -> None:
    payload = codec.seal(CONTENT, home)
    if home != elsewhere:
        assert "put elsewhere" in refused(codec, payload, elsewhere)


@pytest.mark.parametrize("place", range(len(HERE)))
def test_pipe_user_chat_and_item_each_bind_a_payload(place: int) -> None:
    moved = [*HERE]
    moved[place] = "another"
    assert "put elsewhere" in refused(SEALING, SEALING.seal(CONTENT, HERE), moved)


def test_neighbouring_parts_of_an_identity_do_not_run_together() -> None:
    payload = SEALING.seal(CONTENT, ("ab", "c"))
    assert "put elsewhere" in refused(SEALING, payload, ("a", "bc"))


def test_an_older_key_still_opens_and_the_new_one_seals() -> None:
    before = SEALING.seal(CONTENT, HERE)
    rotated = PayloadCodec("another passphrase", ["a passphrase"])
    after = rotated.seal(CONTENT, HERE)
    assert rotated.open(before, HERE) == rotated.open(after, HERE) == CONTENT
    assert read_label(before).key_id != read_label(after).key_id
    assert "a key that is not known here" in refused(SEALING, after)
    assert "a key that is not known here" in refused(PLAIN, after)


def test_without_its_key_a_payload_tells_nothing_of_its_content() -> None:
    payload = PayloadCodec("a passphrase", compress_from=10_000).seal(CONTENT, HERE)
    assert b"thinking" not in payload
    assert payload != SEALING.seal(CONTENT, HERE)
    assert len(payload) == 38 + len(CONTENT) + 16


def test_what_need_not_be_secret_is_left_unencrypted() -> None:
    label = read_label(SEALING.seal(CONTENT, HERE, encrypt=False))
    assert (label.key_id, str(label)) == ("", "v1+zlib")
    assert str(read_label(SEALING.seal(CONTENT, HERE))) == "v1+zlib+aes256gcm"


def test_every_other_copy_seals_so_that_this_one_derives_no_further_key() -> None:
    another = PayloadCodec("a passphrase")
    another.open(SEALING.seal(CONTENT, HERE), HERE)
    assert another.seal(b"", HERE)[2:18] == SEALING.seal(b"", HERE)[2:18]


def test_an_unknown_version_is_named() -> None:
    payload = SEALING.seal(CONTENT, HERE)
    assert "format 2" in refused(SEALING, b"\x02" + payload[1:])


def test_what_is_short_or_does_not_get_shorter_is_not_compressed() -> None:
    assert read_label(PLAIN.seal(b"a" * 63, HERE)).compression == "plain"
    assert read_label(PLAIN.seal(b"a" * 64, HERE)).compression == "zlib"
    assert read_label(PLAIN.seal(bytes(range(256)), HERE)).compression == "plain"


def test_what_grows_beyond_the_bound_is_refused_before_it_has_grown() -> None:
    bomb = SEALING.seal(bytes(10_000_000), HERE)
    assert len(bomb) < 60_000
    with pytest.raises(SealedPayloadError, match="more than 1,000 bytes"):
        SEALING.open(bomb, HERE, largest=1_000)
    assert len(SEALING.open(bomb, HERE, largest=10_000_000)) == 10_000_000


def test_lz4_is_used_where_it_is_installed() -> None:
    codec = PayloadCodec("a passphrase", compress_from=1)
    payload = codec.seal(CONTENT, HERE)
    assert codec.open(payload, HERE) == CONTENT
    try:
        import lz4.block  # noqa: F401
    except ImportError:
        assert read_label(payload).compression == "zlib"
        foreign = PLAIN.seal(zlib.compress(CONTENT), HERE)
        assert "more than" not in refused(PLAIN, b"\x01\x02" + foreign[2:])
    else:
        assert read_label(payload).compression == "lz4"
        with pytest.raises(SealedPayloadError, match="more than 10 bytes"):
            codec.open(payload, HERE, largest=10)
