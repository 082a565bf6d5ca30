"""Progress bars on stderr; nothing where nobody watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aichat_cli.core.ingest import IngestProgress
from aichat_cli.render.sanitize import safe_line

if TYPE_CHECKING:
    from rich.progress import Progress

NAME_CELLS = 40


@contextmanager
def byte_progress(label: str, total: int) -> Iterator[Callable[[int, int], None]]:
    """A bar that is told (bytes done, bytes in all)."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)


@contextmanager
def import_progress(label: str) -> Iterator[Callable[[int, int, int], None]]:
    """A bar that is told (done, in all, conversations read), with the conversations a second."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[conversations]:,} conversations, {task.fields[rate]:,.0f}/s"),
    )
    began = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(label, total=None, conversations=0, rate=0.0)

        def update(done: int, total: int, conversations: int) -> None:
            rate = conversations / max(time.monotonic() - began, 0.001)
            progress.update(task, completed=done, total=total or None, conversations=conversations, rate=rate)

        yield update


@contextmanager
def spinner(label: str) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Something that turns while nothing is known; it steps aside for what is given to the function it yields."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda write: write()
        return
    with console.status(label, spinner="dots") as status:

        def aside(write: Callable[[], None]) -> None:
            status.stop()
            try:
                write()
            finally:
                status.start()

        yield aside


class FileBar:
    """A bar of files, which can step aside for a question."""

    def __init__(self, progress: Progress, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=None, name="", rate="")
        self._began = time.monotonic()

    def update(self, now: IngestProgress) -> None:
        """How far it is."""
        rate = now.bytes / max(time.monotonic() - self._began, 0.001) / 1_000_000
        self._progress.update(
            self._task,
            completed=now.done,
            total=now.total,
            name=safe_line(now.name)[-NAME_CELLS:],
            rate=f"{rate:,.1f} MB/s" if now.bytes else "",
        )

    def paused(self, question: Callable[[], bool]) -> bool:
        """Ask with the bar out of the way."""
        self._progress.stop()
        try:
            return question()
        finally:
            self._progress.start()


@contextmanager
def file_progress(label: str) -> Iterator[FileBar]:
    """A bar that is told of an ingest."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[name]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield FileBar(progress, label)
