"""When the prompt's screen is drawn, and how it survives resizes and suspension. Runs in the prompt's event loop."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.renderer import CPR_Support

from aichat_cli.repl.feed import Feed
from aichat_cli.repl.output import WholeOutput, erase_after_resize, print_above

SHORTEST_FRAME = 1 / 30
RESIZE_SECONDS = 0.1
PATIENCE_SECONDS = 0.5
"""How long a terminal may take to tell where the cursor is; some never do."""
MENU_ROWS = 8


class Painter:
    """Draws what the feed holds: finished lines above the prompt, the open ones as part of it.

    Args:
        reflows: whether the terminal wraps its lines anew when its width changes.

    Attributes:
        is_due: whether what has come is about to be drawn.
    """

    def __init__(self, session: PromptSession[None], output: WholeOutput, feed: Feed, *, reflows: bool) -> None:
        self._session = session
        self._app = session.app
        self._output = output
        self._feed = feed
        self._reflows = reflows
        self.is_due = False
        self._last_drawn = 0.0
        self._drawn_width = 0
        self._patient_until = 0.0
        self._resize_timer: asyncio.TimerHandle | None = None
        self._app.terminal_size_polling_interval = None  # signals tell, and what they start comes first
        # A terminal that does not tell where the cursor is works just as well; nobody needs to be warned.
        self._app.renderer.cpr_not_supported_callback = self._app.invalidate
        self._app.before_render += lambda _: self._before_render()

    @property
    def width(self) -> int:
        """Cells in a line."""
        return max(self._output.get_size().columns, 1)

    def begin(self) -> None:
        """The prompt is about to run."""
        self.is_due = False
        self._drawn_width = self.width
        self._patient_until = time.monotonic() + PATIENCE_SECONDS

    def draw_soon(self) -> None:
        """Draw what has come, at most so many times a second."""
        if not self.is_due:
            self.is_due = True
            delay = max(0.0, self._last_drawn + SHORTEST_FRAME - time.monotonic())
            asyncio.get_running_loop().call_later(delay, self._draw)

    def flush_without_prompt(self) -> None:
        """Show what is finished where no prompt runs, in the caller's thread."""
        lines = self._feed.finished_lines()
        self._output.write_raw("".join(f"{line}\x1b[0m\r\n" for line in lines))
        self._output.flush()

    def resized(self) -> None:
        """Draw nothing until the window keeps its size: what is drawn at one size and arrives at another tears lines."""
        app = self._app
        if not app.is_running or (app._running_in_terminal and self._resize_timer is None):  # noqa: SLF001
            return
        app._running_in_terminal = True  # noqa: SLF001 (the one switch that keeps keys from drawing)
        if self._resize_timer is not None:
            self._resize_timer.cancel()
        self._resize_timer = asyncio.get_running_loop().call_later(RESIZE_SECONDS, self._draw_resized)

    def resumed(self) -> None:
        """The shell has put the terminal into its own mode while the program was stopped, and written on it."""
        app = self._app
        if app.is_running and not app._running_in_terminal:  # noqa: SLF001
            app.input.raw_mode().__enter__()
            app.renderer.reset()
            app._request_absolute_cursor_position()  # noqa: SLF001
            app._redraw()  # noqa: SLF001

    def _draw(self) -> None:
        app = self._app
        self.is_due = False
        if not app.is_running or app.is_done:
            return
        if self._resize_timer is None and self.width != self._drawn_width:
            self.resized()
        # An editor has the terminal, or the window changes its size; or the terminal has not told yet where the cursor
        # is: what is printed before it does would make its answer wrong.
        is_lost = app.renderer.waiting_for_cpr and time.monotonic() < self._patient_until
        if not app._running_in_terminal and not is_lost:  # noqa: SLF001
            self._draw_now(app)
        self._last_drawn = time.monotonic()
        if app._running_in_terminal or is_lost:  # noqa: SLF001
            self.draw_soon()

    def _draw_now(self, app: Any) -> None:
        try:
            lines = self._feed.finished_lines()
            if lines:
                print_above(app, self._output, lines)
            else:
                app.invalidate()
        except Exception as exc:  # noqa: BLE001 (ends the prompt, and with it the session)
            app.exit(exception=exc)

    def _draw_resized(self) -> None:
        app = self._app
        self._resize_timer = None
        app._running_in_terminal = False  # noqa: SLF001
        if app.is_running and not app.is_done:
            self._patient_until = time.monotonic() + PATIENCE_SECONDS
            with self._output.one_write():
                self._meet_size()
                app._on_resize()  # noqa: SLF001 (what prompt_toolkit does on SIGWINCH in a main thread)

    def _meet_size(self) -> None:
        """Before anything is drawn: the terminal may have another width now, and its signal still be on its way."""
        width = self.width
        if width != self._drawn_width:
            erase_after_resize(self._app, width, reflows=self._reflows)
            self._drawn_width = width
            self._feed.resize(width)

    def _before_render(self) -> None:
        self._meet_size()
        renderer = self._app.renderer
        if renderer.cpr_support is CPR_Support.NOT_SUPPORTED and not renderer.height_is_known:
            renderer._min_available_height = 1  # noqa: SLF001 (else the status line would wait for ever)
        room = max(self._output.get_size().rows - 2, 0)  # beside the input and the status line
        has_menu = self._session.default_buffer.complete_state is not None
        self._session.reserve_space_for_menu = min(MENU_ROWS, room) if has_menu else 0
