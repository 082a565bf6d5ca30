"""Keys typed while an answer is drawn: left for the shell, not shown, because their echo would move the cursor."""

from __future__ import annotations

import os
from typing import Any, BinaryIO


class Echo:
    """The echo of one terminal. Where there is no terminal, or it belongs to somebody else just now, nothing happens."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._usual: list[Any] | None = None

    def silence(self) -> None:
        """Switch it off."""
        try:
            import termios
        except ImportError:
            return
        try:
            descriptor = self._stream.fileno()
            # A process in the background that touches the terminal is stopped.
            if os.tcgetpgrp(descriptor) != os.getpgrp():
                return
            mode = termios.tcgetattr(descriptor)
            if mode[3] & termios.ECHO:
                silent = [*mode[:3], mode[3] & ~termios.ECHO, *mode[4:]]
                termios.tcsetattr(descriptor, termios.TCSANOW, silent)
                self._usual = mode
        except (OSError, termios.error):
            return

    def restore(self) -> None:
        """Switch it on again."""
        usual, self._usual = self._usual, None
        if usual is None:
            return
        import contextlib
        import termios

        with contextlib.suppress(OSError, termios.error):
            termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, usual)
