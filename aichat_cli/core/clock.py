"""Time as aichat stores it: UTC, ISO 8601, milliseconds, a trailing Z."""

from __future__ import annotations

import time


def utc_now() -> str:
    """The current time, such as `2026-11-22T21:59:33.120Z`; text order is time order."""
    return utc_text(now_ms())


def utc_text(ms: int) -> str:
    """A moment in milliseconds of Unix time, as it is stored."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03d}Z"


def now_ms() -> int:
    """The current Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def today_began() -> str:
    """Midnight of the user's own day, as UTC."""
    today = time.localtime()
    return _local_midnight(today.tm_year, today.tm_mon, today.tm_mday)


def month_began() -> str:
    """The first midnight of the user's own month, as UTC."""
    today = time.localtime()
    return _local_midnight(today.tm_year, today.tm_mon, 1)


def _local_midnight(year: int, month: int, day: int) -> str:
    midnight = time.mktime((year, month, day, 0, 0, 0, 0, 0, -1))
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(midnight))
