"""Bytes that are kept: made small, and sealed so that only the right key opens them, and only
where they belong.

The format stands in docs/storage.md, byte by byte. Sealing and opening may take a while (scrypt, a
large payload): they belong in a thread.
"""

from __future__ import annotations

import hmac
import importlib
import os
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import blake2b
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ..core.errors import SealedPayloadError

LARGEST_PAYLOAD = 64 * 1024 * 1024
"""Bytes; what would become larger when it is opened is refused."""

_PAYLOAD_VERSION = 1
_COMPRESSIONS = ("plain", "zlib", "lz4")
_IS_ENCRYPTED = 0x80
_FIRST_BYTES = 2
_DIGEST_AT = slice(2, 18)
_SALT_AT, _KEY_ID_AT, _NONCE_AT = slice(2, 18), slice(18, 26), slice(26, 38)
_TAG_BYTES = 16
_FAST_ZLIB = 3


@dataclass(frozen=True, slots=True)
class PayloadLabel:
    """What a payload says of itself without being opened."""

    version: int
    compression: str
    key_id: str
    """Names the key, in hex; empty where the payload is not encrypted."""

    def __str__(self) -> str:
        cipher = "+aes256gcm" if self.key_id else ""
        return f"v{self.version}+{self.compression}{cipher}"


class PayloadCodec:
    """Seals what is kept with one key, and opens it with that one or an older one.

    `identity` says where a payload belongs (whose, in which chat, under which id): it is not stored
    in it, but without the very same one it does not open. Without a key nothing is encrypted.
    """

    def __init__(
        self,
        key: str = "",
        old_keys: Iterable[str] = (),
        *,
        compress_from: int = 1_024,
        use_lz4: bool = True,
    ) -> None:
        self._key = key
        self._keys = [known for known in (key, *old_keys) if known]
        self._compress_from = compress_from
        self._use_lz4 = use_lz4
        self._salt = os.urandom(16)

    def seal(self, content: bytes, identity: Sequence[str], *, encrypt: bool = True) -> bytes:
        """The payload to keep; with `encrypt` off it is only made small."""
        compression, body = self._compressed(content)
        if not (self._key and encrypt):
            header = bytes((_PAYLOAD_VERSION, compression))
            return header + _payload_digest(header, identity, body) + body
        salt, nonce = self._salt, os.urandom(12)  # another thread may put another salt there
        key, key_id = _derive_key(self._key, salt)
        first = bytes((_PAYLOAD_VERSION, compression | _IS_ENCRYPTED))
        header = first + salt + key_id + nonce
        return header + AESGCM(key).encrypt(nonce, body, header + _identity_bytes(identity))

    def open(
        self, payload: bytes, identity: Sequence[str], largest: int = LARGEST_PAYLOAD
    ) -> bytes:
        """What was sealed; raises `SealedPayloadError` for everything but exactly that."""
        label = read_label(payload)
        if label.key_id:
            body = self._decrypted(payload, identity)
        else:
            body = payload[_DIGEST_AT.stop :]
            digest = _payload_digest(payload[:_FIRST_BYTES], identity, body)
            if not hmac.compare_digest(payload[_DIGEST_AT], digest):
                raise _not_as_sealed()
        return _decompressed(label.compression, body, largest)

    def _compressed(self, content: bytes) -> tuple[int, bytes]:
        """The shorter form and its number: what does not get shorter stays as it is."""
        if len(content) < max(self._compress_from, 1):
            return 0, content
        lz4 = _lz4_block() if self._use_lz4 else None
        body = lz4.compress(content) if lz4 else zlib.compress(content, _FAST_ZLIB)
        return (2 if lz4 else 1, body) if len(body) < len(content) else (0, content)

    def _decrypted(self, payload: bytes, identity: Sequence[str]) -> bytes:
        header, ciphertext = payload[: _NONCE_AT.stop], payload[_NONCE_AT.stop :]
        salt = header[_SALT_AT]
        for known in self._keys:
            key, key_id = _derive_key(known, salt)
            if hmac.compare_digest(header[_KEY_ID_AT], key_id):
                break
        else:
            raise SealedPayloadError("It was sealed with a key that is not known here.")
        try:
            place = header + _identity_bytes(identity)
            body = AESGCM(key).decrypt(header[_NONCE_AT], ciphertext, place)
        except InvalidTag as error:
            raise _not_as_sealed() from error
        if known == self._key:
            # One salt for many payloads: each new one costs its first reader a derivation.
            self._salt = salt
        return body


def is_encrypted(payload: bytes) -> bool:
    """Whether a payload can be read by those alone who have its key."""
    return payload[1:_FIRST_BYTES] >= bytes((_IS_ENCRYPTED,))


def read_label(payload: bytes) -> PayloadLabel:
    """What the payload's head says; raises `SealedPayloadError` where there is no such head."""
    if len(payload) < _DIGEST_AT.stop:
        raise SealedPayloadError("It is cut short.")
    version, flags = payload[0], payload[1]
    if version != _PAYLOAD_VERSION:
        raise SealedPayloadError(f"It has format {version}, which this version cannot read.")
    compression = flags & ~_IS_ENCRYPTED
    if compression >= len(_COMPRESSIONS):
        raise _not_as_sealed()
    if not flags & _IS_ENCRYPTED:
        return PayloadLabel(version, _COMPRESSIONS[compression], "")
    if len(payload) < _NONCE_AT.stop + _TAG_BYTES:
        raise SealedPayloadError("It is cut short.")
    return PayloadLabel(version, _COMPRESSIONS[compression], payload[_KEY_ID_AT].hex())


def _not_as_sealed() -> SealedPayloadError:
    return SealedPayloadError("It is not as it was sealed: damaged, changed, or put elsewhere.")


def _decompressed(compression: str, body: bytes, largest: int) -> bytes:
    """The content; it is never grown beyond the limit to find out that it is too large."""
    match compression:
        case "zlib":
            content = _inflated(body, largest)
        case "lz4":
            content = _unpacked(body, largest)
        case _:
            content = body
    if len(content) > largest:
        raise _payload_too_large(largest)
    return content


def _inflated(body: bytes, largest: int) -> bytes:
    reader = zlib.decompressobj()
    try:
        content = reader.decompress(body, largest + 1)
    except zlib.error as error:
        raise _not_as_sealed() from error
    if not reader.eof and len(content) <= largest:
        raise SealedPayloadError("It is cut short.")
    return content


def _unpacked(body: bytes, largest: int) -> bytes:
    lz4 = _lz4_block()
    if lz4 is None:
        raise SealedPayloadError("It is compressed with lz4, which is not installed here.")
    if int.from_bytes(body[:4], "little") > largest:
        raise _payload_too_large(largest)
    try:
        return lz4.decompress(body)
    except (lz4.LZ4BlockError, ValueError) as error:
        raise _not_as_sealed() from error


def _payload_too_large(largest: int) -> SealedPayloadError:
    return SealedPayloadError(f"It holds more than {largest:,} bytes.")


def _identity_bytes(identity: Sequence[str]) -> bytes:
    """The parts with their lengths, so that no two identities look alike."""
    parts = [part.encode("utf-8", "surrogatepass") for part in identity]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _payload_digest(header: bytes, identity: Sequence[str], body: bytes) -> bytes:
    """Finds damage and mistakes; only a key keeps out someone who means it."""
    return blake2b(header + _identity_bytes(identity) + body, digest_size=16).digest()


@lru_cache(maxsize=128)
def _derive_key(passphrase: str, salt: bytes) -> tuple[bytes, bytes]:
    """The key and its id; it takes some 50 ms and 16 MB, which is what protects a weak one."""
    derivation = Scrypt(salt=salt, length=32 + 8, n=2**14, r=8, p=1)
    derived = derivation.derive(passphrase.encode("utf-8", "surrogatepass"))
    return derived[:32], derived[32:]


@cache
def _lz4_block() -> Any:
    try:
        return importlib.import_module("lz4.block")
    except ImportError:
        return None
