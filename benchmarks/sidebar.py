"""Measures the chats sidebar on a terminal, and the search, with a large history."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from dataclasses import dataclass
from pathlib import Path

from aichat_cli.storage import search
from aichat_cli.storage.database import Database
from tests.runner import PROGRAM, ROOT, Cli

FILTERS = ("kubernetes", "garden recipe", "zz top", "48213", "größe")
QUERIES = ("kubernetes", "garden recipe", "travel to italy", "python error", '"database error"', "48213", "music kuber")
COLUMNS, ROWS = 100, 40
WAIT_SECONDS = 60
QUIET_SECONDS = 0.4
ESC, CTRL_C, F2 = b"\x1b", b"\x03", b"\x1bOQ"
PROMPT = b"gpt-4o-mini |"
NOWHERE = "http://127.0.0.1:9/v1"


@dataclass(frozen=True, slots=True)
class Taken:
    """Seconds: from the key to the first screen, from a key in the filter to the whole result, of a search."""

    opened: list[float]
    keys: list[float]
    searches: list[float]


def measured(database: Path, home: Path, runs: int) -> Taken:
    """Open the sidebar on a terminal, type several filters into it, and search."""
    home.mkdir(parents=True, exist_ok=True)
    environ = {"AICHAT_DATABASE": str(database), "OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": NOWHERE}
    screen = _Screen(Cli(home, environ=environ).environment)
    try:
        screen.seconds_to(PROMPT)
        screen.seconds_to_rest()
        opened = []
        for number in range(runs + 1):
            seconds = screen.seconds_to(b"Today", after=F2)
            if number:
                opened.append(seconds)
            screen.seconds_to_rest()
            if number < runs:
                screen.seconds_to(PROMPT, after=CTRL_C)
                screen.seconds_to_rest()
        keys = []
        for text in FILTERS:
            for letter in text:
                keys.append(screen.seconds_to_rest(after=letter.encode()))
            screen.seconds_to_rest(after=ESC)
    finally:
        screen.close()
    with Database.open(database) as opened_database:
        searches = [_search_seconds(opened_database, query) for _ in range(runs) for query in QUERIES]
    return Taken(opened, keys, searches)


class _Screen:
    """The program on a terminal, read as bytes: drawing them would take longer than what is measured."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._controller, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            PROGRAM,
            cwd=ROOT, env=environment, stdin=side, stdout=side, stderr=side, start_new_session=True,
        )  # fmt: skip
        os.close(side)

    def seconds_to(self, wanted: bytes, *, after: bytes = b"") -> float:
        """Type a key, and wait until something is written."""
        started = time.monotonic()
        os.write(self._controller, after)
        seen = b""
        while wanted not in seen:
            if time.monotonic() - started > WAIT_SECONDS:
                raise SystemExit(f"{wanted!r} did not come after {after!r}:\n{seen!r}")
            if select.select([self._controller], [], [], 0.1)[0]:
                seen += self._read()
        return time.monotonic() - started

    def seconds_to_rest(self, *, after: bytes = b"") -> float:
        """Type a key, and wait until the screen no longer changes; the time of the last change."""
        started = last = time.monotonic()
        os.write(self._controller, after)
        while select.select([self._controller], [], [], QUIET_SECONDS)[0]:
            self._read()
            last = time.monotonic()
        return last - started

    def _read(self) -> bytes:
        piece = os.read(self._controller, 65536)
        if b"\x1b[6n" in piece:
            os.write(self._controller, b"\x1b[1;1R")
        return piece

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        os.close(self._controller)


def _search_seconds(database: Database, query: str) -> float:
    started = time.perf_counter()
    search.search(database, query, limit=50)
    return time.perf_counter() - started
