"""How far a sync is: a bar on stderr, only where somebody watches and it takes long enough to be seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aichat_cli.core.sync import SyncProgress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SHOWN_AFTER_SECONDS = 0.5
_LABELS = {"receiving": "Receiving", "applying": "Applying", "sending": "Sending"}


class SyncBar:
    """One bar for each phase; `Connecting` until the first."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._lock = threading.Lock()
        self._is_over = False
        self._phase = ""
        self._task: TaskID = progress.add_task("Connecting", total=None, count="")
        self._timer = threading.Timer(SHOWN_AFTER_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()

    def update(self, now: SyncProgress) -> None:
        """How far it is."""
        if now.phase != self._phase:
            self._phase = now.phase
            self._progress.update(self._task, visible=False)
            self._task = self._progress.add_task(_LABELS[now.phase], total=None, count="")
        count = f"{now.done:,} of {now.total:,}" if now.total else ""
        self._progress.update(self._task, completed=now.done, total=now.total or None, count=count)

    def close(self) -> None:
        """Take it away, or never show it."""
        self._timer.cancel()
        with self._lock:
            self._is_over = True
            self._progress.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._is_over:
                self._progress.start()


@contextmanager
def sync_progress(*, is_quiet: bool = False) -> Iterator[Callable[[SyncProgress], None]]:
    """A function that is told how far a sync is; it draws where stderr is a terminal."""
    from aichat_cli.core.interrupts import shielded

    if is_quiet or not _is_watched():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"))
    bar = SyncBar(Progress(*columns, console=Console(stderr=True), transient=True))
    try:
        yield bar.update
    finally:
        with shielded():
            bar.close()


def _is_watched() -> bool:
    import os
    import sys

    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
