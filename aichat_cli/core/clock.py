"""Time as aichat stores it: UTC, ISO 8601, milliseconds, a trailing Z."""

from __future__ import annotations

import time


def utc_now() -> str:
    """The current time, such as `2026-11-22T21:59:33.120Z`; text order is time order."""
    now = time.time_ns() // 1_000_000
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now // 1000)) + f".{now % 1000:03d}Z"
