"""How long a key typed while an answer streams takes to show in the chat."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

from benchmarks.contenders import Contender

WAIT_SECONDS = 30
KEY = "Ж"
"""A letter that the answer does not contain."""


def seconds_to_show_keys(contender: Contender, question: str, keys: int) -> list[float]:
    """Ask, and type so many keys while the answer streams; the seconds until each shows.

    The answer must stream for as long as that takes, a tenth of a second a key.
    """
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        contender.command,
        env=dict(contender.environment),
        cwd=contender.environment["HOME"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        _read_until(controller, b"\x1b[?2004h")
        os.write(controller, f"{question}\r".encode())
        _read_until(controller, b"answering")
        delays = []
        for _ in range(keys):
            _read_for(controller, 0.1)
            typed = time.monotonic()
            os.write(controller, KEY.encode())
            _read_until(controller, KEY.encode())
            delays.append(time.monotonic() - typed)
        return delays
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(controller)


def _read_until(controller: int, wanted: bytes) -> None:
    seen, end = b"", time.monotonic() + WAIT_SECONDS
    while wanted not in seen:
        if time.monotonic() > end:
            raise SystemExit(f"Waited in vain for {wanted!r}:\n{seen!r}")
        seen += _read(controller, 0.1)


def _read_for(controller: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        _read(controller, left)


def _read(controller: int, timeout: float) -> bytes:
    if not select.select([controller], [], [], timeout)[0]:
        return b""
    piece = os.read(controller, 65536)
    if b"\x1b[6n" in piece:
        os.write(controller, b"\x1b[1;1R")
    return piece
