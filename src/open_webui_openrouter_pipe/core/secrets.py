"""Text that is encrypted at rest and never prints itself."""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from .errors import ApiKeyError

_CIPHERTEXT_PREFIX = "encrypted:"
_MASK = "********"


class EncryptedStr(str):
    """A secret valve: ciphertext once validated, where `WEBUI_SECRET_KEY` exists to encrypt it.

    Open WebUI stores what validation returns, so the plain text never reaches its database.
    """

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Stay a plain string in the schema, so that the host's form offers a masked field."""
        return core_schema.no_info_after_validator_function(cls.seal, core_schema.str_schema())

    @classmethod
    def seal(cls, text: str) -> EncryptedStr:
        """Encrypt plain text; what is empty or encrypted already stays as it is."""
        text = str.__str__(text).strip()
        if not text or text.startswith(_CIPHERTEXT_PREFIX):
            return cls(text)
        cipher = _cipher(_secret())
        if cipher is None:
            return cls(text)
        return cls(_CIPHERTEXT_PREFIX + cipher.encrypt(text.encode("utf-8", "replace")).decode())

    def reveal(self) -> str:
        """The plain text; raises `ApiKeyError` when the key it was sealed with is gone."""
        text = str.__str__(self)
        if not text.startswith(_CIPHERTEXT_PREFIX):
            return text
        try:
            return _decrypt(text.removeprefix(_CIPHERTEXT_PREFIX), _secret())
        except InvalidToken as error:
            raise _unreadable() from error

    def fingerprint(self) -> str:
        """A name for this secret that gives nothing of it away; equal secrets have equal names."""
        try:
            secret = self.reveal()
        except ApiKeyError:
            secret = str.__str__(self)
        return sha256(secret.encode("utf-8", "replace")).hexdigest()

    def __repr__(self) -> str:
        return f"EncryptedStr({_MASK!r})" if len(self) else "EncryptedStr('')"

    def __str__(self) -> str:
        return _MASK if len(self) else ""

    def __format__(self, format_spec: str) -> str:
        return format(str(self), format_spec)


def _unreadable() -> ApiKeyError:
    return ApiKeyError(
        "The saved OpenRouter API key cannot be decrypted: WEBUI_SECRET_KEY has changed.",
        "The admin should enter `API_KEY` again in the settings of the OpenRouter function.",
    )


def _secret() -> str:
    return os.environ.get("WEBUI_SECRET_KEY", "")


@lru_cache(maxsize=16)
def _decrypt(ciphertext: str, secret: str) -> str:
    """The plain text, which every request needs; raises `InvalidToken` when it cannot be had."""
    cipher = _cipher(secret)
    if cipher is None:
        raise InvalidToken
    return cipher.decrypt(ciphertext.encode()).decode()


@lru_cache(maxsize=4)
def _cipher(secret: str) -> Fernet | None:
    if not secret:
        return None
    # Our own context string: the host derives keys from the same secret for its own use.
    derivation = HKDF(SHA256(), length=32, salt=None, info=b"open-webui-openrouter-pipe/valves")
    key = derivation.derive(secret.encode("utf-8", "surrogateescape"))
    return Fernet(base64.urlsafe_b64encode(key))
