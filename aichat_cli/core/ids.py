"""Identifiers: UUIDv7 text, ordered by creation time, and their types."""

from __future__ import annotations

import os
import threading
import time
from typing import NewType

ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
RequestId = NewType("RequestId", str)
ProfileId = NewType("ProfileId", str)

LOCAL_PROFILE = ProfileId("00000000-0000-7000-8000-000000000001")
"""The one profile of a database that belongs to one person."""

_lock = threading.Lock()
_last_value = 0


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562): 48 bits of milliseconds, 74 random bits.

    Ids made by one process are strictly increasing, also within a millisecond and when the clock steps back.
    """
    global _last_value
    random_bits = int.from_bytes(os.urandom(10), "big") & ((1 << 74) - 1)
    value = (time.time_ns() // 1_000_000) << 74 | random_bits
    with _lock:
        value = max(value, _last_value + 1)
        _last_value = value
    return id_at(value >> 74, value)


def id_at(milliseconds: int, chance: int) -> str:
    """The UUIDv7 of a moment; its 74 random bits are the lowest of `chance`."""
    low62 = chance & ((1 << 62) - 1)
    rand_a = (chance >> 62) & 0xFFF
    number = milliseconds << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | low62
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
