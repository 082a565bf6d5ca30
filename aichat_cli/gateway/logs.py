"""What the gateway logs: one line for each thing that happens, JSON for programs, words for a terminal.

Whoever logs never waits: lines are put into a queue, and a thread of their own writes them. Where nobody reads, as from a pipe
that is full, lines are dropped and counted. No line holds what was asked or answered, a query, a key, or an address, unless
addresses are asked for.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from aichat_cli.core.clock import utc_now
from aichat_cli.core.interrupts import leave_signals_to_the_main_thread
from aichat_cli.core.struct import to_json

LEVELS = ("debug", "info", "warning", "error")
MOST_WAITING = 10_000
"""Lines: at 300 requests a second half a minute of a disk that does nothing."""
LAST_SECONDS = 2.0
"""How long the end of the program waits for the last lines."""
_BATCH = 500
_KEY = re.compile(r"(aichat-[a-z2-7]{8})-[a-z2-7]{52}")
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class GatewayLog:
    """Takes lines from any thread. Open it to have them written, and close it.

    Args:
        level: the least that is written, one of `LEVELS`.
        is_text: words in place of JSON.
        redact: takes secrets out of a line.
    """

    def __init__(
        self,
        descriptor: int = 2,
        *,
        level: str = "info",
        is_text: bool = False,
        redact: Callable[[str], str] = str,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._descriptor = descriptor
        self._least = LEVELS.index(level)
        self._is_text = is_text
        self._redact = redact
        self._most_waiting = most_waiting
        self._waiting: deque[dict[str, Any]] = deque()
        self._awake = threading.Event()
        self._is_ending = False
        self._thread: threading.Thread | None = None
        self.dropped = 0
        """Lines that nobody will read."""

    def open(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._work, name="log", daemon=True)
        self._thread.start()

    def write(self, level: str, event: str, **fields: Any) -> None:
        """Log a line; never waits. What is None is left out."""
        if LEVELS.index(level) < self._least or self._thread is None:
            return
        if len(self._waiting) >= self._most_waiting:
            self.dropped += 1
            return
        line = {"time": utc_now(), "level": level, "event": event}
        line.update((name, value) for name, value in fields.items() if value is not None)
        self._waiting.append(line)
        if not self._awake.is_set():
            self._awake.set()

    def failure(self, event: str, error: BaseException, **fields: Any) -> None:
        """Log what nobody expected, with its traceback."""
        trace = "".join(traceback.format_exception(error))
        self.write("error", event, error=f"{type(error).__name__}: {error}", traceback=trace, **fields)

    def close(self) -> None:
        """Write what waits, for at most two seconds."""
        self._is_ending = True
        self._awake.set()
        if self._thread is not None:
            self._thread.join(LAST_SECONDS)
            self._thread = None

    def _work(self) -> None:
        leave_signals_to_the_main_thread()
        told = 0
        while True:
            self._awake.wait()
            self._awake.clear()
            while self._waiting:
                lines = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH))]
                if self.dropped > told:
                    lines.append(
                        {"time": utc_now(), "level": "warning", "event": "log.dropped", "lines": self.dropped - told}
                    )
                    told = self.dropped
                if not self._put("".join(self._line(fields) for fields in lines).encode("utf-8", "replace")):
                    self.dropped += len(lines)
            if self._is_ending:
                return

    def _put(self, data: bytes) -> bool:
        """Write all of it; whether it could be written."""
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except BlockingIOError:
            time.sleep(0.05)
            return False
        except OSError:
            return False
        return True

    def _line(self, fields: dict[str, Any]) -> str:
        try:
            text = self._text(fields) if self._is_text else to_json(fields).decode()
            return _KEY.sub(r"\1-***", self._redact(text)) + "\n"
        except Exception as exc:  # noqa: BLE001 (what a library logs may be anything, and the log goes on)
            lost = {"time": utc_now(), "level": "error", "event": "log.unwritable", "error": type(exc).__name__}
            return to_json(lost).decode() + "\n"

    def _text(self, fields: dict[str, Any]) -> str:
        told = dict(fields)
        trace = told.pop("traceback", "")
        head = f"{told.pop('time')[11:19]} {told.pop('level'):7} {told.pop('event')}"
        rest = " ".join(f"{name}={_UNSAFE.sub('?', str(value))}" for name, value in told.items())
        lines = "".join(f"\n  {_UNSAFE.sub('?', line)}" for line in trace.splitlines())
        return f"{head} {rest}{lines}"


_KNOWN = "ASGI callable returned without completing response"
"""What uvicorn says of an answer that broke off, of which there is a line already."""


class LogHandler(logging.Handler):
    """What libraries log, as lines of the gateway's: warnings and worse."""

    def __init__(self, log: GatewayLog) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record of the standard library's."""
        if str(record.msg).startswith(_KNOWN):
            return
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else None
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.write(level, "library", name=record.name, message=record.getMessage(), traceback=trace)
