"""A terminal with the program in it: a real pty, and pyte for its screen and scrollback."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyte

from tests import starting
from tests.runner import PROGRAM, Cli


class Terminal:
    """Types keys and reads the screen. `sent` holds every byte the program wrote."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int, columns: int, rows: int) -> None:
        self.process = process
        self.sent = b""
        self.tells_position = True
        self._descriptor = descriptor
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._stream = pyte.ByteStream(self._screen)

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._descriptor, text.encode())

    def type_slowly(self, text: str) -> None:
        """Send what is more than the line discipline holds, reading what is shown meanwhile."""
        data = text.encode()
        os.set_blocking(self._descriptor, False)
        try:
            while data:
                try:
                    data = data[os.write(self._descriptor, data[:4096]) :]
                except BlockingIOError:
                    self._read(0.01)
        finally:
            os.set_blocking(self._descriptor, True)

    def resize(self, columns: int, rows: int) -> None:
        """Change the window's size, as a user dragging its corner does."""
        fcntl.ioctl(self._descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._screen.resize(rows, columns)
        self.process.send_signal(signal.SIGWINCH)

    def make_usual(self) -> None:
        """Put the terminal into its usual mode, as a shell does when it suspends a program."""
        mode = termios.tcgetattr(self._descriptor)
        mode[0] |= termios.ICRNL
        mode[3] |= termios.ECHO | termios.ICANON
        termios.tcsetattr(self._descriptor, termios.TCSANOW, mode)

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as a shell expects it to."""
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    @property
    def text(self) -> str:
        """Scrollback and screen, line by line, without blanks at the ends of lines."""
        past = ["".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top]
        return "\n".join(line.rstrip() for line in [*past, *self._screen.display]).rstrip()

    def wait_for(self, expected: str | Callable[[str], bool], timeout: float = 20.0) -> str:
        """Read until the text shows something; the text."""
        deadline = time.monotonic() + timeout
        shows = expected if callable(expected) else lambda text: expected in text
        while not shows(self.text):
            has_ended = self.process.poll() is not None
            if not self._read(0.1) and (has_ended or time.monotonic() > deadline):
                raise AssertionError(f"waited in vain for {expected!r}; the terminal shows:\n{self.text}")
        return self.text

    def wait_for_exit(self, timeout: float = 20.0) -> int:
        """Read until the program has ended; its exit code."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            self._read(0.05)
            assert time.monotonic() < deadline, f"still running; the terminal shows:\n{self.text}"
        while self._read(0.05):
            pass
        return self.process.returncode

    def settle(self, quiet: float = 0.25) -> str:
        """Read until the program has been silent for a while; the text."""
        while self._read(quiet):
            pass
        return self.text

    def _read(self, timeout: float) -> bool:
        """Take in what is there; False where nothing came within `timeout` seconds, or ever will."""
        if not select.select([self._descriptor], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._descriptor, 65536)
        except OSError:
            return False
        self.sent += data
        if b"\x1b[6n" in data and self.tells_position:
            # The program asks where the cursor is; a terminal answers.
            position = f"\x1b[{self._screen.cursor.y + 1};{self._screen.cursor.x + 1}R"
            os.write(self._descriptor, position.encode())
        # pyte does not know private sequences such as CSI > 4 ; 1 m and would print them.
        self._stream.feed(re.sub(rb"\x1b\[[>=][0-9;]*[a-zA-Z]", b"", data))
        return bool(data)


@contextmanager
def terminal(
    cli: Cli,
    *arguments: str,
    columns: int = 80,
    rows: int = 24,
    program: Sequence[str] = PROGRAM,
    folder: Path | None = None,
    **environ: str,
) -> Iterator[Terminal]:
    """Run the program, in a folder, on a terminal of its own; it is killed at the end of the block if need be."""
    controller, terminal_side = pty.openpty()
    fcntl.ioctl(terminal_side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    process = starting.start(
        [*program, *arguments],
        {**cli.environment, **environ},
        on_terminal=True,
        stdin=terminal_side,
        stdout=terminal_side,
        stderr=terminal_side,
        cwd=folder,
    )
    os.close(terminal_side)
    try:
        yield Terminal(process, controller, columns, rows)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
        os.close(controller)
