"""An answer's Markdown on a terminal, drawn while it arrives.

One thread renders and writes, at most 30 times a second, however fast the text comes; a pause in the text shows all of
it at once. The thread never gets a signal, so nothing is left half drawn. Whatever else is written to the same terminal
goes through `aside`, which takes the open lines away first.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, BinaryIO

from aichat_cli.core.errors import AichatError
from aichat_cli.core.interrupts import is_pending, leave_signals_to_the_main_thread, shielded
from aichat_cli.render.answer import ClosedPipe, write_all
from aichat_cli.render.echo import Echo
from aichat_cli.render.theme import Theme, reflows

if TYPE_CHECKING:
    from aichat_cli.render.screen import Screen

FRAME_SECONDS = 1 / 30
WARM_SECONDS = 0.1
"""How long the renderer waits with being imported, so that the request is sent first."""

BUSY_SECONDS = 0.5
"""How long Ctrl-Z waits for a redraw to be over; it may hang where the terminal takes nothing (Ctrl-S)."""


class LiveSink:
    """Takes the text of one answer and shows it rendered. `size` is asked before each redraw."""

    def __init__(
        self, stream: BinaryIO, theme: Theme, *, size: Callable[[], os.terminal_size] = shutil.get_terminal_size
    ) -> None:
        self._stream = stream
        self._theme = theme
        self._size = size
        self._echo = Echo(stream)
        self._screen: Screen | None = None
        self._drawing = threading.RLock()  # Ctrl-Z may come while the main thread has it
        self._deltas: list[str] = []
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._is_paused = False
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    def warm(self) -> None:
        """Make ready for text that will come."""
        if self._thread is None:
            self._echo.silence()
            if _suspension() is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTSTP, self._suspend)
            self._thread = threading.Thread(target=self._draw_until_ended, name="draw", daemon=True)
            self._thread.start()

    def write(self, text: str) -> None:
        """The next piece.

        Raises:
            ClosedPipe, AichatError: an earlier piece could not be written; or whatever else kept it from being shown.
        """
        if self._failure is not None:
            raise self._failure
        if self._thread is None:
            self.warm()
        self._deltas.append(text)
        self._wake.set()

    def end(self) -> None:
        """Show the rest and leave the cursor on a line of its own; raises as `write` does."""
        with shielded():
            self._ended.set()
            self._wake.set()
            while self._thread is not None and self._thread.is_alive() and not is_pending():
                self._thread.join(FRAME_SECONDS)
            self._echo.restore()
            if _suspension() == self._suspend:
                signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        if self._failure is not None:
            raise self._failure

    def aside(self, write: Callable[[], None], *, is_open: bool) -> None:
        """Let something else be written to the terminal, above the lines that are open.

        `is_open` tells that it leaves its line unfinished, so that nothing may be drawn before the next such call.
        """
        with shielded(), self._drawing:
            if self._screen is not None:
                self._put(self._screen.without_open_lines(self._taken()))
            write()
            self._is_paused = is_open
        self._wake.set()

    def _suspend(self, number: int, _frame: FrameType | None) -> None:
        """Ctrl-Z: leave the shell a fresh line and its echo; what was open is drawn again below what it said meanwhile."""
        is_free = self._drawing.acquire(timeout=BUSY_SECONDS)
        try:
            if is_free and self._screen is not None:
                self._put(self._screen.without_open_lines(self._taken()))
            self._echo.restore()
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)  # stops here, and goes on from here
            signal.signal(number, self._suspend)
            self._echo.silence()
        finally:
            if is_free:
                self._drawing.release()
        self._wake.set()

    def _draw_until_ended(self) -> None:
        leave_signals_to_the_main_thread()
        try:
            self._draw_frames()
        except Exception as exc:  # noqa: BLE001 (the main thread raises it)
            self._failure = exc
        finally:
            if self._failure is not None:
                self._echo.restore()

    def _draw_frames(self) -> None:
        self._wake.wait(WARM_SECONDS)
        from aichat_cli.render.markdown.inline import load_parser
        from aichat_cli.render.screen import Screen

        load_parser()
        with self._drawing:
            self._screen = Screen(self._theme, self._size, reflows=reflows(os.environ))
        is_last = False
        while not is_last and self._failure is None:
            self._wake.wait()
            self._wake.clear()
            is_last = self._ended.is_set()
            with self._drawing:
                if is_last:
                    self._put(self._screen.ended(self._taken()))
                elif not self._is_paused:
                    self._put(self._screen.grown(self._taken()))
            self._ended.wait(FRAME_SECONDS)

    def _taken(self) -> str:
        """The text that arrived since the last redraw."""
        count = len(self._deltas)
        text = "".join(self._deltas[:count])
        del self._deltas[:count]
        return text

    def _put(self, text: str) -> None:
        if not text or self._failure is not None:
            return
        try:
            write_all(self._stream, text.encode("utf-8", "replace"))
        except (ClosedPipe, AichatError) as exc:
            self._failure = exc


def _suspension() -> object:
    """What Ctrl-Z does now; None where there is no such thing."""
    return signal.getsignal(signal.SIGTSTP) if hasattr(signal, "SIGTSTP") else None
