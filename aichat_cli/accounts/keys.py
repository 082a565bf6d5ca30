"""API keys of a gateway: made, recognised and hashed. Nothing here is kept.

A key is `aichat-`, eight characters that find it, and 32 random bytes: `aichat-k3vq7m2a-` and 52 characters of base32. With
so much chance in it a plain SHA-256 is as good as a slow hash.
"""

from __future__ import annotations

import os
import re
from base64 import b32encode
from hashlib import sha256

from aichat_cli.core.secret import Secret
from aichat_cli.core.struct import Struct

PREFIX_LENGTH = 15
_SECRET_BYTES = 32
_PATTERN = re.compile(r"aichat-[a-z2-7]{8}-[a-z2-7]{52}")


class FreshKey(Struct, frozen=True):
    """A key that was just made: to be shown once, and to be kept as prefix and hash."""

    secret: Secret
    prefix: str
    key_hash: bytes


def new_key() -> FreshKey:
    """A key nobody has."""
    value = f"aichat-{_random_text(5)}-{_random_text(_SECRET_BYTES)}"
    return FreshKey(Secret(value, "new"), value[:PREFIX_LENGTH], hash_of(value))


def is_key(text: str) -> bool:
    """Whether a text has the form of a key."""
    return _PATTERN.fullmatch(text) is not None


def prefix_of(presented: str) -> str:
    """The part of a key that finds it, whatever was presented."""
    return presented[:PREFIX_LENGTH]


def hash_of(presented: str) -> bytes:
    """What a key is kept as."""
    return sha256(presented.encode("utf-8", "surrogatepass")).digest()


def _random_text(count: int) -> str:
    return b32encode(os.urandom(count)).decode().rstrip("=").lower()
